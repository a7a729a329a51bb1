"""YAML text -> values and places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.definition import yaml
from orchestrator.definition.diagnostics import Code, Place
from orchestrator.definition.yaml import Document, read
from orchestrator.limits import DEFINITION_BYTES_MAX, DEFINITION_NODES_MAX


def document(text: str) -> Document:
    found, diagnostics = read(text, "x.yaml")
    assert diagnostics == []
    assert found is not None
    return found


def refusal(text: str) -> Code:
    found, diagnostics = read(text, "x.yaml")
    assert found is None
    assert len(diagnostics) == 1
    return diagnostics[0].code


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("0777", 777),
        ("0o17", 15),
        ("0xff", 255),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-7", -7),
        (".inf", float("inf")),
        ("-.inf", float("-inf")),
        ("'5'", "5"),
        ('"a\\tb"', "a\tb"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("[a, 1]", ["a", 1]),
        ("{a: 1}", {"a": 1}),
        ("9" * 401, "9" * 401),
        ("0x" + "f" * 500, "0x" + "f" * 500),
    ],
)
def test_scalars_are_read_by_the_core_schema_of_yaml_1_2(written: str, value: object) -> None:
    assert document(f"key: {written}\n").root == {"key": value}


def test_a_key_is_always_a_text() -> None:
    assert document("1: a\ntrue: b\n~: c\n").root == {"1": "a", "true": "b", "~": "c"}


def test_a_directive_that_says_yaml_1_2_is_allowed() -> None:
    assert document("%YAML 1.2\n---\na: on\n").root == {"a": "on"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: " + "[" * 40, Code.TOO_LARGE),
        ("a: [" + "1," * DEFINITION_NODES_MAX + "]", Code.TOO_LARGE),
        ("# " + "x" * DEFINITION_BYTES_MAX, Code.TOO_LARGE),
        ("a: \ud800", Code.SYNTAX),
        ("a: \x00", Code.SYNTAX),
        ("\t- x", Code.SYNTAX),
        ("a: @x", Code.SYNTAX),
        ("a: 'open", Code.SYNTAX),
        ('a: "\\q"', Code.SYNTAX),
        ('a: "\\Uffffffff"', Code.SYNTAX),
        ("%TAG ! x:\n---\na: 1", Code.FORBIDDEN_YAML),
        ("just a text", Code.NOT_A_MAPPING),
    ],
)
def test_what_cannot_be_read_is_one_finding(text: str, code: Code) -> None:
    assert refusal(text) is code


def test_an_alias_bomb_is_refused_at_its_first_anchor() -> None:
    bomb = "a: &a [x]\n" + "".join(f"{key}: &{key} [{', '.join(['*a'] * 9)}]\n" for key in "bcdefghi")

    _, diagnostics = read(bomb, "x.yaml")

    assert [found.render() for found in diagnostics] == [
        "x.yaml:1:4: error[E003]: a: anchors (&a) are not allowed (fix: write the value out)"
    ]


def test_every_key_and_value_has_its_place() -> None:
    found = document("a:\n  - b: 1\n    c: [x, 'yy']\n")

    assert found.key(("a",)) == Place("x.yaml", 1, 1)
    assert found.value(("a",)) == Place("x.yaml", 2, 3)
    assert found.key(("a", 0, "c")) == Place("x.yaml", 3, 5)
    assert found.value(("a", 0, "c", 1)) == Place("x.yaml", 3, 12)
    assert found.value(("a", 0, "nope", 3)) == Place("x.yaml", 2, 5)
    assert found.value(("nope",)) == Place("x.yaml", 1, 1)
    assert found.inside(("nope",), 3) == Place("x.yaml", 1, 1)


@pytest.mark.parametrize(
    ("text", "needle", "place"),
    [
        ("k: abc X", "X", (1, 8)),
        ("k: 'it''s X'", "X", (1, 11)),
        ('k: "a\\"b\\x41\\u0041\\U00000041 X"', "X", (1, 30)),
        ("k: |\n  one\n    X\n", "X", (3, 5)),
        ("k: |\n\n  one\n\n  two X\n", "X", (5, 7)),
        ("k: >\n  one\n  X\n", "X", (1, 4)),
        ("k: one\n  X\n", "X", (1, 4)),
        ("k: 'one\n  two\n  three X'\n", "X", (1, 4)),
        ('k: "one\n  two\n  three X"\n', "X", (1, 4)),
        ("k: one\n  two\n  three X\n", "X", (1, 4)),
    ],
)
def test_a_place_inside_a_text_is_found_for_every_style(text: str, needle: str, place: tuple[int, int]) -> None:
    found = document(text)
    assert isinstance(found.root, dict)

    at = found.inside(("k",), str(found.root["k"]).index(needle))

    assert (at.line, at.column) == place


def test_a_place_inside_a_list_of_texts_is_found() -> None:
    assert document("k:\n  - |\n    a\n    X\n").inside(("k", 0), 2) == Place("x.yaml", 4, 5)


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_raise(text: str) -> None:
    found, diagnostics = read(text, "x.yaml")

    assert (found is None) == bool(diagnostics)


_FRAGMENTS = st.sampled_from(
    ["a", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ",", "'", '"', "|", ">", "&x", "*x", "!t", "<<", "?", "#", "%",
     "---", "...", "\\", "\\x4", "\t", "${", "0x", "\ufeff", "\x85", "\u2028", "é", "\U0001f600", "@", "`", "null"]
)  # fmt: skip


@given(st.lists(_FRAGMENTS, max_size=40).map("".join))
def test_no_pieces_of_yaml_make_the_reader_raise(text: str) -> None:
    found, diagnostics = read(text, "x.yaml")

    assert (found is None) == bool(diagnostics)
    if found is not None:
        for path in found.spots:
            found.inside(path, 3)


def test_an_error_without_a_position_is_still_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __init__(self, **_: object) -> None: ...

        def parse(self, _: str) -> None:
            raise ValueError("odd")

    monkeypatch.setattr(yaml, "YAML", Broken)

    assert refusal("a: 1") is Code.SYNTAX


def test_brackets_that_are_opened_again_and_again_are_refused_before_they_cost_time() -> None:
    document, findings = read("a: 1\nb: " + "[" * 100_000, "saga.yaml")
    assert document is None
    (found,) = findings
    assert str(found).startswith("saga.yaml:2:36: error[E004]: more than 32 brackets are opened")
