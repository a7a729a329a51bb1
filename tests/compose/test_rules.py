"""The compose files keep the rules, and the rules notice who does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.compose.reading import FULL, SMALL, Tree, project, tree_of
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
        (lambda tree: tree["volumes"].update(more=None), "not on one volume"),
        (lambda tree: tree["secrets"].update(more={"file": "./secrets/more"}), "secret more:"),
    ],
)  # fmt: skip
def test_a_rule_that_is_broken_is_noticed(spoil: Callable[[Tree], None], found: str) -> None:
    tree = tree_of(FULL)
    spoil(tree)
    assert any(found in one for one in findings(project(tree))), findings(project(tree))
