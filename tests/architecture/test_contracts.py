"""The import contracts of pyproject.toml hold, and each would say so if it did not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# One module per ring and room, enough for every contract to have something to look at.
SKELETON = (
    "ids", "limits", "values", "errors", "saga.plan", "saga.decide", "ports.clock", "runtime.actor",
    "definition.yaml", "definition.expressions", "journal.memory", "journal.sqlite.store", "journal.postgres.store",
    "invoker.service", "telemetry.spans", "api.server", "config", "bootstrap", "cli.main", "v1.saga_pb2",
    "participant.rules", "proving.trials", "explore.search", "verify.walk",
)  # fmt: skip

GRPC_HOME = "gRPC lives in the invoker, the surfaces and generated code"
TELEMETRY_HOME = "OpenTelemetry and Prometheus live in telemetry"
STORES = "Stores do not know each other"
PROGRAMS = "The demo services and the orchestrator never meet"
RINGS = "Rings point inwards"


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [command, "--no-logo", "--no-cache"], cwd=root, capture_output=True, text=True, check=False, timeout=50
    )


def broken(result: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"^(.+?) BROKEN", result.stdout, re.MULTILINE)


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """A project of empty modules under this project's contracts."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(text[text.index("[tool.importlinter]") :], encoding="utf-8")
    for name in (*(f"orchestrator.{module}" for module in SKELETON), "services.scoring.server"):
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    for folder in (path for path in tmp_path.rglob("*") if path.is_dir()):
        (folder / "__init__.py").write_text("")
    return tmp_path


def test_the_project_keeps_every_contract() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_empty_project_keeps_every_contract(skeleton: Path) -> None:
    result = lint_imports(skeleton)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("orchestrator.saga.plan", "import time", "The saga machine is pure"),
        ("orchestrator.saga.plan", "import orchestrator.ports.clock", RINGS),
        ("orchestrator.errors", "import orchestrator.saga.plan", RINGS),
        ("orchestrator.ids", "import orchestrator.values", RINGS),
        ("orchestrator.runtime.actor", "import orchestrator.journal.memory", RINGS),
        ("orchestrator.definition.yaml", "import orchestrator.invoker.service", RINGS),
        ("orchestrator.explore.search", "import orchestrator.runtime.actor", RINGS),
        ("orchestrator.verify.walk", "import orchestrator.definition.yaml", RINGS),
        ("orchestrator.runtime.actor", "import grpc", GRPC_HOME),
        ("orchestrator.api.server", "from opentelemetry import trace", TELEMETRY_HOME),
        ("orchestrator.journal.memory", "import apsw", "A database driver lives in its store"),
        ("orchestrator.journal.sqlite.store", "import sqlite3", "A database driver lives in its store"),
        ("orchestrator.definition.expressions", "import ruamel.yaml", "YAML and CEL are read in one place each"),
        ("orchestrator.definition.yaml", "import cel_expr_python", "YAML and CEL are read in one place each"),
        ("orchestrator.runtime.actor", "import click", "Terminal and HTTP libraries live in the surfaces"),
        ("orchestrator.api.server", "import orchestrator.invoker.service", "Surfaces never touch an adapter"),
        ("orchestrator.journal.sqlite.store", "import orchestrator.journal.postgres.store", STORES),
        ("orchestrator.cli.main", "import services.scoring.server", PROGRAMS),
        ("services.scoring.server", "import orchestrator.ids", PROGRAMS),
        ("orchestrator.participant.rules", "import orchestrator.limits", RINGS),
        ("orchestrator.participant.rules", "import orchestrator.errors", RINGS),
    ],
)  # fmt: skip
def test_a_planted_import_breaks_its_contract(skeleton: Path, module: str, line: str, contract: str) -> None:
    skeleton.joinpath(*module.split(".")).with_suffix(".py").write_text(line + "\n")
    assert contract in broken(lint_imports(skeleton))


def test_an_import_for_types_alone_counts(skeleton: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import orchestrator.journal.memory\n"
    (skeleton / "orchestrator/runtime/actor.py").write_text(text)
    assert broken(lint_imports(skeleton)) == [RINGS]


def test_a_package_nobody_placed_breaks_the_rings(skeleton: Path) -> None:
    (skeleton / "orchestrator/toolbox.py").write_text("")
    assert broken(lint_imports(skeleton)) == [RINGS]


def test_a_cycle_inside_a_package_is_found(skeleton: Path) -> None:
    (skeleton / "orchestrator/saga/plan.py").write_text("import orchestrator.saga.decide\n")
    (skeleton / "orchestrator/saga/decide.py").write_text("import orchestrator.saga.plan\n")
    assert broken(lint_imports(skeleton)) == ["No cycles between sibling modules"]
