import io
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from orchestrator.cli import main
from orchestrator.cli.given import ATTRIBUTE, DURATION, INPUT, FiniteType
from tests.unit.cli.conftest import FakeServer, Saga


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("1.5m", 90), ("2h", 7_200), ("1d", 86_400), ("7", 7)]
)
def test_durations_are_read_with_their_unit(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 s", "1w", "1m30s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 500ms, 30s"):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize("text", ["36601d", "9" * 400])
def test_a_duration_that_no_clock_can_tell_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="at most 36,600 days"):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize("text", ["nan", "-nan", "inf", "-inf", "1e999", "1e12", "0.4", "many"])
def test_a_number_is_finite_and_within_its_bounds(text: str) -> None:
    assert FiniteType(0.5, 60.0).convert("0.5", None, None) == 0.5
    with pytest.raises(click.BadParameter):
        FiniteType(0.5, 60.0).convert(text, None, None)


@pytest.mark.parametrize(
    "line",
    [
        "top --interval nan",
        "top --once --interval nan",
        "top --interval inf",
        "top --interval 1e12",
        "debug profile nan",
        "debug profile --hz nan",
        "debug profile --hz 1e-320",
        "load --rate nan",
        "load --rate 1e-320",
        "start d --deadline 9999999999999d",
        "wait s --timeout 9999999999999d",
        "explore d.yaml --within 9999999999999d",
        "simulate d.yaml --latency 9999999999999d",
        "simulate d.yaml --cancel-at 9999999999999d",
        "verify-participant t --timeout 9999999999999d",
    ],
)
def test_no_command_takes_a_number_that_it_cannot_use(
    server: FakeServer, saga: Saga, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.yaml").write_text("name: d")
    ended = saga(*line.split())
    assert (ended.code, ended.out, server.asked) == (2, "", [])
    assert any(told in ended.err for told in ("is not in the range", "no number that", "at most 36,600", "less than"))


def test_every_number_that_an_option_takes_has_an_end() -> None:
    def numbers(command: click.Command) -> Iterator[click.Parameter]:
        for parameter in command.params:
            if isinstance(parameter.type, click.types.FloatParamType):
                yield parameter
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                yield from numbers(inner)

    found = list(numbers(main.saga))
    assert len(found) >= 4
    assert all(isinstance(parameter.type, FiniteType) for parameter in found)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=b", "b"),
        ("a=7", 7),
        ("a=7.5", 7.5),
        ("a=true", True),
        ('a="7"', "7"),
        ("a=", ""),
        ("a=x=y", "x=y"),
        ("a=[1]", "[1]"),
    ],
)
def test_attributes_keep_their_kind(text: str, value: object) -> None:
    read = ATTRIBUTE.convert(text, None, None)
    assert read == ("a", value)
    assert type(read[1]) is type(value)


def test_an_attribute_of_many_brackets_is_text() -> None:
    assert ATTRIBUTE.convert("a=" + "[" * 100_000, None, None) == ("a", "[" * 100_000)


def test_standard_input_that_is_no_text_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), "utf-8"))
    with pytest.raises(click.BadParameter, match="standard input: it is not UTF-8 text"):
        INPUT.convert("-", None, None)


def test_an_attribute_that_utf8_cannot_hold_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="a: a text that UTF-8 cannot hold"):
        ATTRIBUTE.convert('a="\\ud800"', None, None)


@pytest.mark.parametrize("text", ["a", "=b", ""])
def test_what_is_no_attribute_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not name=value"):
        ATTRIBUTE.convert(text, None, None)


def test_input_is_an_object_a_file_or_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.json").write_text('{"a": 1}')
    monkeypatch.setattr("sys.stdin", io.StringIO('{"b": 2}'))
    assert INPUT.convert('{"c": 3}', None, None) == {"c": 3}
    assert INPUT.convert(f"@{tmp_path}/in.json", None, None) == {"a": 1}
    assert INPUT.convert("-", None, None) == {"b": 2}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "the input:1:2: not JSON"),
        ("[]", "the input is not a JSON object"),
        ("@/nowhere/in.json", "cannot read /nowhere/in.json: No such file"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("9" * 5_000, "the input: a number of too many digits"),
        ('{"a": ["\\ud800"]}', "the input: a text that UTF-8 cannot hold"),
        ('{"\udcff": 1}', "the input: a text that UTF-8 cannot hold"),
    ],
)
def test_what_is_no_input_is_refused_with_its_place(text: str, why: str) -> None:
    with pytest.raises(click.BadParameter, match=why):
        INPUT.convert(text, None, None)
