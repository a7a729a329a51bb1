import click
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.cli.output import columns, duration, instant, paint, width_of, word


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 us"),
        (-1, "0 us"),
        (0.000_87, "870 us"),
        (0.000_999_6, "1 ms"),
        (0.012, "12 ms"),
        (0.999_4, "999 ms"),
        (0.999_6, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (125, "2 min 5 s"),
        (7_260, "2 h 1 min"),
    ],
)
def test_durations_have_the_unit_that_a_person_would_use(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_instants_are_utc_to_the_millisecond() -> None:
    assert instant(Timestamp(seconds=1_767_600_000, nanos=123_456_789)) == "2026-01-05 08:00:00.123Z"
    assert instant(Timestamp()) == ""


def test_columns_line_up_whatever_is_in_them() -> None:
    lines = [click.unstyle(line) for line in columns(("id", "status"), [("日本", "RUNNING"), ("a", "COMPLETED")])]
    assert lines == ["ID    STATUS", "日本  RUNNING", "a     COMPLETED"]
    assert width_of("日本") == 4


def test_long_cells_end_in_an_ellipsis_except_in_the_last_column() -> None:
    (_, line) = columns(("a", "b"), [("x" * 100, "y" * 100)])
    assert click.unstyle(line) == "x" * 59 + "…  " + "y" * 100


def test_no_rows_are_a_head_alone() -> None:
    assert [click.unstyle(line) for line in columns(("a", "b"), [])] == ["A  B"]


def test_status_words_have_colours_and_other_words_have_none() -> None:
    assert paint("COMPLETED") != "COMPLETED"
    assert click.unstyle(paint("COMPLETED")) == "COMPLETED"
    assert paint("anything") == "anything"


def test_enum_values_are_shown_by_their_word() -> None:
    assert word("SAGA_STATUS_RUNNING", "SAGA_STATUS_") == "RUNNING"
    assert word("SAGA_STATUS_UNSPECIFIED", "SAGA_STATUS_") == ""
