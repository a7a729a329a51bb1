"""Finding `${ … }` in texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.definition.holes import Hole, Unterminated, only, scan


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("plain $ {x}", ["plain $ {x}"]),
        ("${a}", [Hole("a", 2)]),
        ("x ${a} y ${b}", ["x ", Hole("a", 4), " y ", Hole("b", 11)]),
        ("$${a}", ["${a}"]),
        ("x$${a} ${b}", ["x${a} ", Hole("b", 9)]),
        ("$$${a}", ["$${a}"]),
        ("${ {'a': {'b': 1}}.a }", [Hole(" {'a': {'b': 1}}.a ", 2)]),
        ("${'}' + \"}\"}", [Hole("'}' + \"}\"", 2)]),
        (r"${'\'}'}", [Hole(r"'\'}'", 2)]),
        (r"${r'\'}", [Hole(r"r'\'", 2)]),
        ("${'''it's }'''}", [Hole("'''it's }'''", 2)]),
        ("${a}${b}", [Hole("a", 2), Hole("b", 6)]),
    ],
)
def test_a_text_is_split_into_literals_and_holes(text: str, parts: list[str | Hole]) -> None:
    assert list(scan(text)) == parts


@pytest.mark.parametrize(("text", "offset"), [("x ${a", 2), ("${'}", 0), ("${{}", 0), ("${a} ${", 5)])
def test_a_hole_that_is_not_closed_names_its_start(text: str, offset: int) -> None:
    with pytest.raises(Unterminated) as caught:
        scan(text)

    assert caught.value.offset == offset


def test_white_space_around_a_single_hole_does_not_count() -> None:
    assert only(scan("  ${a}\n")) == Hole("a", 4)
    assert only(scan("${a} ${b}")) is None
    assert only(scan("x")) is None


@given(st.text(alphabet="$${}'\"\\ra\n", max_size=30))
def test_scanning_is_total_and_loses_nothing(text: str) -> None:
    try:
        parts = scan(text)
    except Unterminated:
        return

    rebuilt = "".join(part.replace("${", "$${") if isinstance(part, str) else f"${{{part.source}}}" for part in parts)
    assert rebuilt == text
    assert all(text[part.offset :].startswith(part.source) for part in parts if isinstance(part, Hole))
