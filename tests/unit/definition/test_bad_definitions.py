"""Golden findings: every file in `bad/` and the exact lines an author sees for it.

After a wanted change, `python -m tests.unit.definition.test_bad_definitions` writes the `.txt` files anew; read the
difference before committing it.
"""

from pathlib import Path

import pytest
from pydantic import JsonValue

from orchestrator.definition.diagnostics import Code
from orchestrator.limits import ATTRIBUTES_MAX, STEPS_MAX
from tests.unit.definition.probe import PLACE, create, source
from tests.unit.definition.world import findings_of

FOLDER = Path(__file__).parent / "bad"
FILES = sorted(FOLDER.glob("*.yaml"))


def rendered(file: Path) -> str:
    return "".join(f"{found}\n" for found in findings_of(file.read_text(encoding="utf-8"), file.name))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_author_sees_exactly_these_findings(file: Path) -> None:
    assert rendered(file) == file.with_suffix(".txt").read_text(encoding="utf-8")


def test_every_code_is_provoked_by_a_file() -> None:
    seen = "".join(file.with_suffix(".txt").read_text(encoding="utf-8") for file in FILES)

    assert [code.value for code in Code if f"[{code.number}]" not in seen] == []


def test_a_definition_has_limits_in_number() -> None:
    steps: JsonValue = {f"s{number}": {"call": PLACE, "kind": "read"} for number in range(STEPS_MAX + 1)}
    attributes: JsonValue = {f"a{number}": number for number in range(ATTRIBUTES_MAX + 1)}

    _, found = create(source(steps=steps, attributes=attributes))

    assert [str(one).split(": ", 1)[1] for one in found] == [
        "error[E004]: attributes: 33 attributes, more than 32 (fix: keep those one searches for)",
        "error[E004]: steps: 1001 steps, more than the 1000 a saga may have (fix: split it into several sagas)",
    ]


def test_as_many_steps_as_allowed_are_compiled() -> None:
    steps: JsonValue = {
        f"s{number}": {"call": PLACE, "kind": "read", "after": [f"s{number - 1}"] if number else []}
        for number in range(STEPS_MAX)
    }

    made, found = create(source(steps=steps))

    assert found == []
    assert made is not None
    assert len(made.steps) == STEPS_MAX


if __name__ == "__main__":
    for found in FILES:
        found.with_suffix(".txt").write_text(rendered(found), encoding="utf-8")
