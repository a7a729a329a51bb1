"""What is published of the language: its schema, its page, its codes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.definition import schema
from orchestrator.definition.diagnostics import Code, Findings, Nowhere, Place, Severity
from orchestrator.definition.model import (
    AtLeast,
    Compensate,
    Compensation,
    Deadline,
    Definition,
    Probe,
    Retry,
    Scope,
    Step,
    Wait,
)
from orchestrator.limits import DIAGNOSTICS_MAX

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "definitions.md"


def test_the_committed_schema_is_current() -> None:
    assert schema.main(["--check"]) == 0


def test_a_schema_that_is_not_current_is_told_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(schema, "SCHEMA_FILE", tmp_path / "saga.schema.json")

    assert schema.main(["--check"]) == 1
    assert "is not current: run python -m orchestrator.definition.schema" in capsys.readouterr().err
    assert schema.main([]) == 0
    assert schema.main(["--check"]) == 0


def test_the_schema_is_a_program_too() -> None:
    command = [sys.executable, "-m", "orchestrator.definition.schema", "--check"]

    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_the_schema_names_itself_and_describes_every_key() -> None:
    found = json.loads(schema.schema_text())

    assert found["$schema"].endswith("2020-12/schema")
    assert found["$id"] == "urn:saga-orchestrator:definition"
    for part in [found, *found["$defs"].values()]:
        assert part["additionalProperties"] is False
        assert [name for name, key in part["properties"].items() if "description" not in key] == []


def test_every_key_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    parts = (Definition, Deadline, Step, Probe, Wait, Scope, Compensate, Retry, AtLeast, Compensation)
    keys = {field.alias or name for part in parts for name, field in part.model_fields.items()}

    missing = {key for key in keys if f"`{key}`" not in page}

    assert missing == set()


def test_every_code_is_documented_under_its_own_name() -> None:
    rows = re.findall(r"^\| `([EW]\d{3})` \| `([a-z-]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert [" ".join(row) for row in rows] == [code.value for code in Code]


def test_codes_are_unique_and_their_letter_is_their_severity() -> None:
    assert len({code.number for code in Code}) == len(Code)
    assert Code.UNKNOWN_KEY.severity is Severity.ERROR
    assert Code.UNUSED_TARGET.severity is Severity.WARNING


def test_findings_past_the_limit_are_counted() -> None:
    findings = Findings(origins=Nowhere("x.yaml"))
    for number in range(DIAGNOSTICS_MAX + 5):
        findings.add(Code.UNKNOWN_KEY, Place("x.yaml", number + 1, 1), (), f"finding {number}")

    found = findings.sorted()

    assert len(found) == DIAGNOSTICS_MAX + 1
    assert str(found[-1]) == "x.yaml:100:1: error[E004]: 5 more findings are not shown: mend these first"


def test_one_mistake_seen_twice_is_told_once() -> None:
    findings = Findings(origins=Nowhere("x.yaml"))
    for _ in range(2):
        findings.at_key(Code.UNKNOWN_KEY, ("steps", "a", "x"), "unknown", "remove it")

    assert [str(one) for one in findings.sorted()] == ["x.yaml:1:1: error[E101]: steps.a.x: unknown (fix: remove it)"]
    assert findings.kept[0].step == "a"
