"""What every container of the mesh keeps to. Each rule yields a sentence for what breaks it."""

import re
from collections.abc import Callable, Iterator

from tests.compose.reading import Project, Service

KEYS = (
    frozenset({"image", "build", "user", "entrypoint", "command", "environment", "profiles", "restart", "depends_on"})
    | {"volumes", "secrets", "tmpfs", "ports", "networks", "read_only", "cap_drop", "security_opt"}
    | {"mem_limit", "pids_limit", "shm_size", "stop_grace_period", "healthcheck"}
)
"""What a service may say. A key that is misspelt is not among them, and one that is added is thought about here."""
UNCHECKED = {"load": "a client: nobody waits for it"}
"""Services without a health check, and why."""
_PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?(@sha256:[0-9a-f]{64})?")
_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|API_?KEY|PASSFILE", re.IGNORECASE)
_URL_WITH_PASSWORD = re.compile(r"://[^/\s:@]+:[^/\s@]+@")

Rule = Callable[[Project, Service], Iterator[str]]


def keys_are_known(_: Project, service: Service) -> Iterator[str]:
    for key in service.tree:
        if key not in KEYS:
            yield f"{key} is not a key that is used here"


def runs_without_root(_: Project, service: Service) -> Iterator[str]:
    user = str(service.tree.get("user", ""))
    if not re.fullmatch(r"[1-9]\d*:\d+", user):
        yield f"user {user!r} is not a number other than 0, and a group's"


def cannot_change_itself(_: Project, service: Service) -> Iterator[str]:
    if service.tree.get("read_only") is not True:
        yield "its root file system is not read-only"
    for text in service.tree.get("tmpfs", []):
        if "size=" not in str(text):
            yield f"tmpfs {text} may grow without end"


def has_no_rights(_: Project, service: Service) -> Iterator[str]:
    if service.tree.get("cap_drop") != ["ALL"]:
        yield "it keeps capabilities"
    if "no-new-privileges:true" not in service.tree.get("security_opt", []):
        yield "its programs may gain rights"


def is_limited(_: Project, service: Service) -> Iterator[str]:
    for key in ("mem_limit", "pids_limit"):
        if key not in service.tree:
            yield f"{key} is not said"


def is_published_on_loopback_only(_: Project, service: Service) -> Iterator[str]:
    for port in service.tree.get("ports", []):
        if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", str(port)):
            yield f"port {port} is published beyond this machine, or on a port that nobody knows"


def has_a_check(_: Project, service: Service) -> Iterator[str]:
    if service.name in UNCHECKED:
        if service.check is not None:
            yield "it has a check, and a reason to have none"
        return
    if service.check is None:
        yield "it has no health check"
    elif service.check[0] != "CMD":
        yield "its check runs in a shell"
    missing = {"interval", "timeout", "start_period", "retries"} - service.tree.get("healthcheck", {}).keys()
    if missing:
        yield f"its check does not say {', '.join(sorted(missing))}"


def waits_for_health(project: Project, service: Service) -> Iterator[str]:
    needed = service.tree.get("depends_on", {})
    if not isinstance(needed, dict):
        yield "depends_on waits for a start, not for health"
        return
    for name, how in needed.items():
        if name not in project.services:
            yield f"it waits for {name}, which is not there"
        elif how.get("condition") != "service_healthy":
            yield f"it waits for {name} to be {how.get('condition')}"
        elif project.services[name].check is None:
            yield f"it waits for the health of {name}, which has no check"


def has_a_known_image(_: Project, service: Service) -> Iterator[str]:
    if service.is_ours:
        build = service.tree["build"]
        if build.get("args", {}).keys() != {"BASE"} or build.get("dockerfile") != "compose/Dockerfile":
            yield "it is not built from compose/Dockerfile with the base as an argument"
    elif not _PINNED.fullmatch(service.image):
        yield f"image {service.image!r} is not pinned to a release"


def mounts_what_is_there(project: Project, service: Service) -> Iterator[str]:
    for mount in service.mounts:
        if mount.path is None:
            if mount.source not in project.tree.get("volumes", {}):
                yield f"volume {mount.source} is not declared"
        elif not mount.path.exists():
            yield f"{mount.source} does not exist"
        elif not mount.is_read_only:
            yield f"{mount.source} is mounted to be written to"
    for name in service.tree.get("secrets", []):
        if name not in project.secrets:
            yield f"secret {name} is not declared"


def tells_no_secret(project: Project, service: Service) -> Iterator[str]:
    kept = [path.read_text(encoding="utf-8").strip() for path in project.secrets.values() if path.exists()]
    for name, value in service.environment.items():
        if _SECRET.search(name) and not (name.endswith("_FILE") and value.startswith("/run/secrets/")):
            yield f"{name} is a secret in its environment"
        if _URL_WITH_PASSWORD.search(value):
            yield f"{name} has a password in it"
    said = [*service.environment.values(), *service.words, *(service.check or [])]
    for secret in kept:
        if any(secret in text for text in said):
            yield "it is told the content of a secret"


RULES: tuple[Rule, ...] = (
    keys_are_known,
    runs_without_root,
    cannot_change_itself,
    has_no_rights,
    is_limited,
    is_published_on_loopback_only,
    has_a_check,
    waits_for_health,
    has_a_known_image,
    mounts_what_is_there,
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
    if len(project.tree.get("volumes", {})) != 1:
        found.append("what is to last is not on one volume")
    found += [f"secret {name}: {path} does not exist" for name, path in project.secrets.items() if not path.exists()]
    ports = [port for service in project.services.values() for port in service.tree.get("ports", [])]
    if len(ports) != len({port.rsplit(":", 1)[0] for port in ports}):
        found.append("two services publish one port")
    return found
