"""Golden findings: every file in `bad/` and the exact lines an author sees for it.

After a wanted change, `python -m tests.unit.definition.test_bad_definitions` writes the `.txt` files anew; read the
difference before committing it.
"""

from pathlib import Path

import pytest

from orchestrator.definition.diagnostics import Code
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


if __name__ == "__main__":
    for found in FILES:
        found.with_suffix(".txt").write_text(rendered(found), encoding="utf-8")
