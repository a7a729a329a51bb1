"""The compose files keep the rules, and the rules notice who does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.compose.images import dockerfile_findings
from tests.compose.reading import FOLDER, FULL, SMALL, Tree, project, tree_of
from tests.compose.rules import findings

BOTH = pytest.mark.parametrize("path", [FULL, SMALL], ids=lambda path: path.name)


@BOTH
def test_a_compose_file_keeps_every_rule(path: Path) -> None:
    assert findings(project(tree_of(path))) == []


def test_the_mesh_has_everybody() -> None:
    ours = {"orchestrator-one", "orchestrator-two", "validator", "scoring", "archive", "safety", "notifier"}
    assert set(tree_of(FULL)["services"]) == ours | {"postgres", "jaeger", "prometheus", "grafana", "load"}
    assert set(tree_of(SMALL)["services"]) == ours - {"orchestrator-one", "orchestrator-two"} | {
        "orchestrator",
        "jaeger",
    }


@BOTH
def test_services_are_the_same_in_both_files(path: Path) -> None:
    both = tree_of(FULL)["services"], tree_of(path)["services"]
    for name in ("validator", "scoring", "archive", "safety", "notifier", "jaeger"):
        first, second = (dict(each[name]) for each in both)
        assert first == second


def change(service: str, key: str, value: Any) -> Callable[[Tree], None]:
    def changed(tree: Tree) -> None:
        tree["services"][service] = {**tree["services"][service], key: value}

    return changed


def drop(service: str, key: str) -> Callable[[Tree], None]:
    def dropped(tree: Tree) -> None:
        tree["services"][service] = {k: each for k, each in tree["services"][service].items() if k != key}

    return dropped


def add(service: str, key: str, value: Any) -> Callable[[Tree], None]:
    """Give a mapping of a service one thing more, or another value of one."""

    def added(tree: Tree) -> None:
        told = tree["services"][service]
        tree["services"][service] = {**told, key: {**told[key], **value}}

    return added


def swap(service: str, old: str, new: str) -> Callable[[Tree], None]:
    """Replace one of a service's mounts."""

    def swapped(tree: Tree) -> None:
        told = tree["services"][service]
        assert old in told["volumes"]
        tree["services"][service] = {**told, "volumes": [new if each == old else each for each in told["volumes"]]}

    return swapped


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (change("archive", "helthcheck", {}), "archive: helthcheck is not a key"),
        (change("archive", "privileged", True), "archive: privileged is not a key"),
        (change("postgres", "user", "0:0"), "postgres: user '0:0' is not a number other than 0"),
        (drop("jaeger", "user"), "jaeger: user '' is not a number"),
        (drop("grafana", "read_only"), "grafana: its root file system"),
        (change("grafana", "tmpfs", ["/tmp"]), "grafana: tmpfs /tmp may grow"),
        (change("load", "cap_drop", ["NET_RAW"]), "load: it keeps capabilities"),
        (drop("load", "security_opt"), "load: its programs may gain rights"),
        (drop("scoring", "mem_limit"), "scoring: mem_limit is not said"),
        (drop("scoring", "pids_limit"), "scoring: pids_limit is not said"),
        (change("prometheus", "ports", ["9090:9090"]), "prometheus: port 9090:9090 is published beyond"),
        (change("prometheus", "ports", ["127.0.0.1:3000:9090"]), "two services publish one port"),
        (drop("safety", "healthcheck"), "safety: it has no health check"),
        (change("safety", "healthcheck", {"test": ["CMD-SHELL", "true"]}), "safety: its check runs in a shell"),
        (change("safety", "healthcheck", {"test": ["CMD", "true"]}), "safety: its check does not say interval"),
        (change("grafana", "depends_on", ["jaeger"]), "grafana: depends_on waits for a start"),
        (change("grafana", "depends_on", {"loki": {"condition": "service_healthy"}}), "which is not there"),
        (change("grafana", "depends_on", {"jaeger": {"condition": "service_started"}}), "jaeger to be service_started"),
        (change("grafana", "depends_on", {"load": {"condition": "service_healthy"}}), "load, which has no check"),
        (change("jaeger", "image", "jaegertracing/jaeger:latest"), "jaeger: image 'jaegertracing/jaeger:latest' is"),
        (change("jaeger", "image", "jaegertracing/jaeger"), "is not pinned"),
        (change("archive", "build", {"context": ".."}), "archive: it is not built from compose/Dockerfile"),
        (change("jaeger", "volumes", ["./jaeger/nothing.yaml:/x:ro"]), "jaeger: ./jaeger/nothing.yaml does not exist"),
        (change("jaeger", "volumes", ["./jaeger:/x"]), "jaeger: ./jaeger is mounted to be written to"),
        (change("archive", "volumes", ["ledgers:/x"]), "archive: volume ledgers is not declared"),
        (change("postgres", "secrets", ["root-password"]), "postgres: secret root-password is not declared"),
        (change("grafana", "environment", {"GF_SECURITY_ADMIN_PASSWORD": "x"}), "is a secret in its environment"),
        (change("load", "environment", {"ORCHESTRATOR_STORE": "postgres://a:b@c/d"}), "has a password in it"),
        (change("load", "command", ["--prefix=for-the-demo-only"]), "load: it is told the content of a secret"),
        (add("safety", "healthcheck", {"disable": True}), "safety: it has no health check"),
        (add("orchestrator-one", "healthcheck", {"test": ["CMD", "true"]}),
         "orchestrator-one: its check ['CMD', 'true']"),
        (add("archive", "healthcheck", {"test": ["CMD", "python3", "-m", "services.health", "127.0.0.1:1"]}),
         "asks some"),
        (add("scoring", "healthcheck", {"retries": 9999, "interval": "1h"}), "scoring: its check's interval 1h is not"),
        (add("scoring", "healthcheck", {"retries": 9999}), "scoring: its check's retries 9999 are not"),
        (add("scoring", "healthcheck", {"timeout": "0s"}), "scoring: its check's timeout 0s is not"),
        (add("scoring", "healthcheck", {"start_interval": "1s"}), "start_interval, which not every engine understands"),
        (add("load", "healthcheck", {"test": ["CMD", "true"]}), "load: it has a check, and a reason to have none"),
        (add("postgres", "environment", {"POSTGRES_HOST_AUTH_METHOD": "trust"}),
         "thought about: POSTGRES_HOST_AUTH_METHOD"),
        (add("postgres", "environment", {"POSTGRES_INITDB_ARGS": "--auth=trust"}),
         "thought about: POSTGRES_INITDB_ARGS"),
        (add("grafana", "environment", {"GF_AUTH_ANONYMOUS_ORG_ROLE": "Admin"}), "about: GF_AUTH_ANONYMOUS_ORG_ROLE"),
        (add("grafana", "environment", {"GF_AUTH_DISABLE_LOGIN_FORM": "false"}), "about: GF_AUTH_DISABLE_LOGIN_FORM"),
        (add("grafana", "environment", {"GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "false"}),
         "not the one that was"),
        (drop("grafana", "environment"), "grafana: its environment is not the one that was thought about"),
        (change("jaeger", "environment", {"SPAN_STORAGE_TYPE": "badger"}), "jaeger: its environment is not the one"),
        (add("archive", "environment", {"DB_HOST": "x"}), "archive: DB_HOST is nothing that it reads"),
        (add("archive", "environment", {"OTEL_DB_PWD": "hunter2"}),
         "archive: OTEL_DB_PWD is a secret in its environment"),
        (change("archive", "command", ["services.archive", "--password=hunter2"]),
         "password is a secret on its command"),
        (swap("postgres", "state:/var/lib/postgresql", "state:/var/lib/pg"), "postgres: it keeps /var/lib/postgresql"),
        (swap("postgres", "state:/var/lib/postgresql", "state:/var/lib/postgresql/data"),
         "it keeps /var/lib/postgresql,"),
        (swap("prometheus", "./prometheus/prometheus.yaml:/etc/prometheus/prometheus.yaml:ro",
              "./prometheus/prometheus.yaml:/etc/prom.yaml:ro"), "it reads /etc/prometheus/prometheus.yaml, and"),
        (swap("prometheus", "./prometheus/rules:/etc/prometheus/rules:ro", "./prometheus/rules:/etc/rules:ro"),
         "prometheus: it reads /etc/prometheus/rules, and"),
        (swap("grafana", "./grafana/provisioning:/etc/grafana/provisioning:ro", "./grafana/provisioning:/etc/prov:ro"),
         "grafana: it reads /etc/grafana/provisioning/dashboards, and"),
        (swap("grafana", "./grafana/provisioning:/etc/grafana/provisioning:ro",
              "./grafana/dashboards:/etc/grafana/provisioning:ro"), "grafana: it reads /etc/grafana/provisioning/data"),
        (swap("jaeger", "./jaeger/jaeger.yaml:/etc/jaeger/jaeger.yaml:ro", "./jaeger/jaeger.yaml:/etc/j.yaml:ro"),
         "jaeger: it reads /etc/jaeger/jaeger.yaml, and nothing"),
        (swap("orchestrator-two", "./orchestrator/saga.yaml:/etc/saga/saga.yaml:ro", "./orchestrator:/etc/x:ro"),
         "orchestrator-two: it reads /etc/saga/saga.yaml, and nothing"),
        (swap("archive", "state:/var/lib/saga", "state:/data"),
         "archive: it reads /var/lib/saga/services, and nothing"),
        (swap("archive", "state:/var/lib/saga", "state:/var/lib/saga:ro"),
         "archive: it keeps /var/lib/saga/services, which"),
        (change("postgres", "tmpfs", ["/var/lib/postgresql:size=1g"]), "postgres: it keeps /var/lib/postgresql, which"),
        (change("archive", "command", "services.archive"), "archive: its command is one text"),
        (change("archive", "command", ["services.archive", "--db-password", "x"]), "--db-password is a secret on its"),
        (drop("orchestrator-two", "secrets"), "orchestrator-two: it reads /run/secrets/store, and nothing"),
        (change("jaeger", "volumes", ["/etc:/x:ro"]), "jaeger: /etc is not one of the files of the mesh"),
        (change("jaeger", "volumes", ["../docs:/x:ro"]), "jaeger: ../docs is not one of the files of the mesh"),
        (change("jaeger", "volumes", [".:/x:ro"]), "jaeger: . is not one of the files of the mesh"),
        (change("load", "security_opt", ["no-new-privileges:true", "seccomp:unconfined"]),
         "load: its programs may gain"),
        (change("load", "networks", {"host": {}}), "load: it is on another network"),
        (change("scoring", "mem_limit", 0), "scoring: mem_limit 0 is no bound"),
        (change("scoring", "mem_limit", "64g"), "scoring: mem_limit 64g is no bound"),
        (change("scoring", "pids_limit", -1), "scoring: pids_limit -1 is no bound"),
        (change("scoring", "pids_limit", 100_000), "scoring: pids_limit 100000 is no bound"),
        (change("scoring", "user", "10001:0"), "scoring: user '10001:0' is in the group of root"),
        (drop("scoring", "restart"), "scoring: it is not started again"),
        (change("scoring", "restart", "no"), "scoring: it is not started again"),
        (drop("orchestrator-one", "depends_on"), "orchestrator-one: it does not wait for postgres"),
        (change("orchestrator-one", "depends_on", {"postgres": {"condition": "service_healthy"}}),
         "orchestrator-one: it does not wait for archive"),
        (change("load", "depends_on", {}), "load: it does not wait for archive"),
        (change("archive", "build", {"context": "/", "dockerfile": "compose/Dockerfile", "target": "services",
                                     "args": {"BASE": "x"}}), "archive: its build takes something else"),
        (add("archive", "build", {"target": "orchestrator"}), "archive: its image is named saga-services, and is orch"),
        (add("archive", "build", {"network": "host"}), "archive: its build takes something else"),
        (lambda tree: tree["volumes"].update(more=None), "not on one volume"),
        (lambda tree: tree["volumes"].update(state={"driver_opts": {"type": "none", "o": "bind", "device": "/"}}),
         "volume state is not the engine's own"),
        (lambda tree: tree.update(networks={"default": {"external": True, "name": "host"}}),
         "networks is not said here"),
        (lambda tree: tree.update(include=["x.yaml"]), "include is not said here"),
        (lambda tree: tree["secrets"].update(store={"environment": "STORE"}), "secret store is not a file"),
        (lambda tree: tree["secrets"].update(store=None), "secret store is not a file"),
        (lambda tree: tree["secrets"].update(store={"file": "/etc/passwd"}), "/etc/passwd is not one of the files"),
        (lambda tree: tree["secrets"].update(more={"file": "./secrets/more"}), "secret more:"),
    ],
)  # fmt: skip
def test_a_rule_that_is_broken_is_noticed(spoil: Callable[[Tree], None], found: str) -> None:
    tree = tree_of(FULL)
    spoil(tree)
    assert any(found in one for one in findings(project(tree))), findings(project(tree))


def test_the_dockerfile_keeps_every_rule() -> None:
    assert dockerfile_findings((FOLDER / "Dockerfile").read_text(encoding="utf-8")) == []


HASHED = "install --require-hashes --requirement .ci/lock/build.txt"


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (HASHED, HASHED.replace("--require-hashes ", ""), "build.txt' takes what no lock file names by hash"),
        (HASHED, "install --require-hashes --requirement other.txt", "other.txt' takes what no lock file names"),
        (HASHED, HASHED + " && tools/bin/pip install requests", "install requests' takes what no lock file names"),
        ("wheel --no-deps ", "wheel ", "takes what no lock file names by hash"),
        ("install --no-deps wheels/*.whl", "install --no-deps requests", "requests' takes what no lock file names"),
        ("RUN tools/bin", "RUN --mount=type=secret,id=x tools/bin", "RUN --mount=type=secret,id=x is given more"),
        ("WORKDIR /build\n", "ENV DB_PASSWORD=hunter2\n", "DB_PASSWORD is a secret that an image is told"),
        ("WORKDIR /build\n", "ENV A=1 \\\n    DB_PWD=hunter2\n", "DB_PWD is a secret that an image is told"),
        ("WORKDIR /build\n", "ENV TOKEN hunter2\n", "TOKEN is a secret that an image is told"),
        ("WORKDIR /build\n", "ARG INDEX=https://me:hunter2@host/\n", "has a password in it"),
        ("WORKDIR /build\n", "ADD https://host/x /x\n", "ADD is not an instruction that is used here"),
        ("WORKDIR /build\n", "RUN wget https://host/x\n", "'wget https://host/x' fetches something"),
        ("USER 10001:10001", "USER root", "user root is not a number other than 0"),
        ('["python3", "-IS", "/opt/saga/ready.py", "7401"]', '["true"]', "the check of orchestrator is not the one"),
        ("HEALTHCHECK --interval=5s", "HEALTHCHECK --interval=1h", "the check of orchestrator is not asked"),
    ],
)  # fmt: skip
def test_a_fault_of_the_dockerfile_is_noticed(old: str, new: str, found: str) -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    assert old in text
    told = dockerfile_findings(text.replace(old, new, 1))
    assert any(found in one for one in told), told
