"""What every container of the mesh keeps to. Each rule yields a sentence for what breaks it."""

import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from tests.compose.needs import CHECKS, ENVIRONMENTS, GROUPS, KEPT, OURS, READ
from tests.compose.reading import FOLDER, Project, Service, seconds, size

TOP_KEYS = frozenset({"name", "services", "volumes", "secrets"})
"""What a file may say beside what it says twice (`x-…`). Networks are not among them: there is the one of the mesh."""
KEYS = (
    frozenset({"image", "build", "user", "entrypoint", "command", "environment", "profiles", "restart", "depends_on"})
    | {"volumes", "secrets", "tmpfs", "ports", "networks", "read_only", "cap_drop", "security_opt"}
    | {"mem_limit", "pids_limit", "shm_size", "stop_grace_period", "healthcheck"}
)
"""What a service may say. A key that is misspelt is not among them, and one that is added is thought about here."""
UNCHECKED = {"load": "a client: nobody waits for it"}
"""Services without a health check, and why."""
MEMORY_MAX = 2**30
PIDS_MAX = 256
BOUNDS = {"interval": (1, 15), "timeout": (1, 5), "start_period": (10, 60)}
"""Of a health check, in seconds. Below `interval` it costs, above it nobody sees in time that a container hangs."""
RETRIES_MAX = 5
_PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?(@sha256:[0-9a-f]{64})?")
SECRET = re.compile(r"PASS(?!IVE)|PWD|SECRET|TOKEN|CREDENTIAL|(API|PRIVATE|ACCESS)_?KEY", re.IGNORECASE)
URL_WITH_PASSWORD = re.compile(r"://[^/\s:@]+:[^/\s@]+@")

Rule = Callable[[Project, Service], Iterator[str]]


def keys_are_known(_: Project, service: Service) -> Iterator[str]:
    for key in service.tree:
        if key not in KEYS:
            yield f"{key} is not a key that is used here"
    for key in ("entrypoint", "command"):
        if not isinstance(service.tree.get(key, []), list):
            yield f"its {key} is one text, for a shell to take apart"
    networks = service.tree.get("networks", {"default": {}})
    if networks.keys() != {"default"} or networks["default"].keys() - {"aliases"}:
        yield "it is on another network than that of the mesh"


def runs_without_root(_: Project, service: Service) -> Iterator[str]:
    user = str(service.tree.get("user", ""))
    if not re.fullmatch(r"[1-9]\d*:\d+", user):
        yield f"user {user!r} is not a number other than 0, and a group's"
    elif user.endswith(":0") and GROUPS.get(service.repository) != 0:
        yield f"user {user!r} is in the group of root"


def cannot_change_itself(_: Project, service: Service) -> Iterator[str]:
    if service.tree.get("read_only") is not True:
        yield "its root file system is not read-only"
    for text in service.tree.get("tmpfs", []):
        if "size=" not in str(text):
            yield f"tmpfs {text} may grow without end"


def has_no_rights(_: Project, service: Service) -> Iterator[str]:
    if service.tree.get("cap_drop") != ["ALL"]:
        yield "it keeps capabilities"
    if service.tree.get("security_opt") != ["no-new-privileges:true"]:
        yield "its programs may gain rights"


def is_limited(_: Project, service: Service) -> Iterator[str]:
    for key in ("mem_limit", "pids_limit"):
        if key not in service.tree:
            yield f"{key} is not said"
    memory, pids = service.tree.get("mem_limit", "1m"), service.tree.get("pids_limit", 1)
    if not 0 < size(memory) <= MEMORY_MAX:
        yield f"mem_limit {memory} is no bound, or one beyond reason"
    if not isinstance(pids, int) or not 0 < pids <= PIDS_MAX:
        yield f"pids_limit {pids} is no bound, or one beyond reason"


def comes_back(_: Project, service: Service) -> Iterator[str]:
    if service.tree.get("restart") != "unless-stopped":
        yield "it is not started again when it has died"


def is_published_on_loopback_only(_: Project, service: Service) -> Iterator[str]:
    for port in service.tree.get("ports", []):
        if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", str(port)):
            yield f"port {port} is published beyond this machine, or on a port that nobody knows"


def has_a_check(_: Project, service: Service) -> Iterator[str]:
    said = service.tree.get("healthcheck", {})
    if service.name in UNCHECKED:
        if said != {"disable": True}:
            yield "it has a check, and a reason to have none"
        return
    if service.check is None:
        yield "it has no health check"
        return
    if service.check[0] != "CMD":
        yield "its check runs in a shell"
    elif service.check != CHECKS.get(service.repository):
        yield f"its check {service.check} asks something else than whether it takes work"
    wanted = {"test", "retries", *BOUNDS}
    if missing := wanted - said.keys():
        yield f"its check does not say {', '.join(sorted(missing))}"
    if others := said.keys() - wanted:
        yield f"its check says {', '.join(sorted(others))}, which not every engine understands"
    for key in BOUNDS.keys() & said.keys():
        low, high = BOUNDS[key]
        if not low <= seconds(said[key]) <= high:
            yield f"its check's {key} {said[key]} is not from {low} s to {high} s"
    if said.get("retries") not in range(1, RETRIES_MAX + 1):
        yield f"its check's retries {said.get('retries')} are not from 1 to {RETRIES_MAX}"


def waits_for_health(project: Project, service: Service) -> Iterator[str]:
    needed = service.tree.get("depends_on", {})
    if not isinstance(needed, dict):
        yield "depends_on waits for a start, not for health"
        return
    for name, how in needed.items():
        if name not in project.services:
            yield f"it waits for {name}, which is not there"
        elif how != {"condition": "service_healthy"}:
            yield f"it waits for {name} to be {how.get('condition')}"
        elif project.services[name].check is None:
            yield f"it waits for the health of {name}, which has no check"
    for name in sorted(_served_by(project, service) - needed.keys()):
        yield f"it does not wait for {name}, without which it ends"


def _served_by(project: Project, service: Service) -> set[str]:
    """Give those whom it cannot begin without: its store, and who is asked for methods, or by a client for sagas."""
    if service.repository != "saga-orchestrator":
        return set()
    images = (
        {"saga-services", "saga-orchestrator"} if "ORCHESTRATOR_SERVER" in service.environment else {"saga-services"}
    )
    needed = {each.name for each in project.services.values() if each.repository in images} - UNCHECKED.keys()
    if "store" in service.tree.get("secrets", []) and "store" in project.secrets:
        needed.add(urlsplit(project.secrets["store"].read_text(encoding="utf-8").strip()).hostname or "")
    return needed


def has_a_known_image(_: Project, service: Service) -> Iterator[str]:
    if service.is_ours:
        build = service.tree["build"]
        if build.get("args", {}).keys() != {"BASE"} or build.get("dockerfile") != "compose/Dockerfile":
            yield "it is not built from compose/Dockerfile with the base as an argument"
        if build.keys() != {"context", "dockerfile", "target", "args"} or build["context"] != "..":
            yield "its build takes something else than this repository"
        elif service.repository != f"saga-{build['target']}":
            yield f"its image is named {service.repository}, and is {build['target']}"
    elif not _PINNED.fullmatch(service.image):
        yield f"image {service.image!r} is not pinned to a release"


def mounts_what_is_there(project: Project, service: Service) -> Iterator[str]:
    for mount in service.mounts:
        if mount.path is None:
            if mount.source not in project.tree.get("volumes", {}):
                yield f"volume {mount.source} is not declared"
        elif not mount.path.exists():
            yield f"{mount.source} does not exist"
        elif not mount.path.is_relative_to(FOLDER) or mount.path == FOLDER:
            yield f"{mount.source} is not one of the files of the mesh"
        elif not mount.is_read_only:
            yield f"{mount.source} is mounted to be written to"
    for name in service.tree.get("secrets", []):
        if name not in project.secrets:
            yield f"secret {name} is not declared"


def has_what_it_reads(_: Project, service: Service) -> Iterator[str]:
    """Whatever it is told to read or keeps is a mount, a file in one, or in memory."""
    secrets = {f"/run/secrets/{name}" for name in service.tree.get("secrets", [])}
    tmpfs = {str(text).partition(":")[0] for text in service.tree.get("tmpfs", [])}
    told = [*service.words, *service.environment.values()]
    named = {found[1] for text in told if (found := re.fullmatch(r"(?:--[\w.-]+=|sqlite:)?(/[\w./-]+)", text))}
    for path in sorted(named | READ.get(service.repository, frozenset())):
        inside = PurePosixPath(path)
        if {path, *map(str, inside.parents)} & (secrets | tmpfs):
            continue
        mounts = [mount for mount in service.mounts if inside.is_relative_to(mount.at)]
        if not any(mount.path is None or (mount.path / inside.relative_to(mount.at)).exists() for mount in mounts):
            yield f"it reads {path}, and nothing is mounted there"


def keeps_what_is_to_last(_: Project, service: Service) -> Iterator[str]:
    told = [*service.words, *service.environment.values()]
    kept = {found[1] for text in told if (found := re.fullmatch(r"(?:--data=|sqlite:)(.+)", text))}
    tmpfs = {str(text).partition(":")[0] for text in service.tree.get("tmpfs", [])}
    for path in sorted(kept | KEPT.get(service.repository, frozenset())):
        around = {path, *map(str, PurePosixPath(path).parents)}
        volumes = {mount.at for mount in service.mounts if mount.path is None and not mount.is_read_only}
        if not around & volumes or around & tmpfs:
            yield f"it keeps {path}, which is not on the volume"


def is_set_as_thought_out(_: Project, service: Service) -> Iterator[str]:
    """Third parties get the settings that were thought about, ours what is theirs."""
    if service.is_ours:
        for name in service.environment:
            if not name.startswith(OURS):
                yield f"{name} is nothing that it reads"
    elif service.environment != (wanted := ENVIRONMENTS.get(service.repository, {})):
        names = {name for name, _ in service.environment.items() ^ wanted.items()}
        yield f"its environment is not the one that was thought about: {', '.join(sorted(names))}"


def tells_no_secret(project: Project, service: Service) -> Iterator[str]:
    kept = [path.read_text(encoding="utf-8").strip() for path in project.secrets.values() if path.exists()]
    for name, value in service.environment.items():
        thought_out = ENVIRONMENTS.get(service.repository, {}).get(name) == value
        if SECRET.search(name) and not value.startswith("/run/secrets/") and not thought_out:
            yield f"{name} is a secret in its environment"
    said = [*service.environment.values(), *service.words, *(service.check or [])]
    for text in said:
        if URL_WITH_PASSWORD.search(text):
            yield f"{text} has a password in it"
        name, told, _ = text.partition("=")
        if (told or name.startswith("-")) and SECRET.search(name):
            yield f"{name} is a secret on its command line"
    for secret in kept:
        if any(secret in text for text in said):
            yield "it is told the content of a secret"


RULES: tuple[Rule, ...] = (
    keys_are_known,
    runs_without_root,
    cannot_change_itself,
    has_no_rights,
    is_limited,
    comes_back,
    is_published_on_loopback_only,
    has_a_check,
    waits_for_health,
    has_a_known_image,
    mounts_what_is_there,
    has_what_it_reads,
    keeps_what_is_to_last,
    is_set_as_thought_out,
    tells_no_secret,
)


def findings(project: Project) -> list[str]:
    """Return everything that is wrong with a project, each with its service and its rule."""
    found = [
        f"{service.name}: {sentence} ({rule.__name__})"
        for service in project.services.values()
        for rule in RULES
        for sentence in rule(project, service)
    ]
    found += [f"{key} is not said here" for key in project.tree if key not in TOP_KEYS and not key.startswith("x-")]
    volumes = project.tree.get("volumes", {})
    if len(volumes) != 1:
        found.append("what is to last is not on one volume")
    found += [f"volume {name} is not the engine's own: {how}" for name, how in volumes.items() if how]
    for name, how in project.tree.get("secrets", {}).items():
        if name not in project.secrets or how.keys() != {"file"}:
            found.append(f"secret {name} is not a file: {how}")
        elif not project.secrets[name].exists():
            found.append(f"secret {name}: {project.secrets[name]} does not exist")
        elif not project.secrets[name].is_relative_to(FOLDER):
            found.append(f"secret {name}: {project.secrets[name]} is not one of the files of the mesh")
    ports = [port for service in project.services.values() for port in service.tree.get("ports", [])]
    if len(ports) != len({port.rsplit(":", 1)[0] for port in ports}):
        found.append("two services publish one port")
    return found
