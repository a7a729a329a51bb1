"""What docs/examples.md shows of a definition is what the definition says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEFINITIONS = ROOT / "compose" / "definitions"
PAGE = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```yaml (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("name", "text"), SHOWN, ids=[name for name, _ in SHOWN])
def test_what_the_page_shows_stands_in_the_definition(name: str, text: str) -> None:
    assert text in (DEFINITIONS / name).read_text(encoding="utf-8")


def test_every_definition_is_told() -> None:
    told = set(re.findall(r"`(\w+)`", PAGE)) | {name.removesuffix(".yaml") for name, _ in SHOWN}
    children = set(re.findall(r"saga (book_\w+)", PAGE))
    assert {path.stem for path in DEFINITIONS.glob("*.yaml")} <= told | children
