"""One record is one line, and no message can forge another."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from orchestrator.limits import LOG_LINE_CHARS_MAX
from orchestrator.telemetry.logs import LogFormat, configure_logging, escaped

LOG = logging.getLogger("orchestrator.runtime.actor")


@pytest.fixture(autouse=True)
def own_root() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def lines(log_format: LogFormat, level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(log_format, level, stream)
    return stream


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_message_with_line_ends_is_one_line(log_format: LogFormat) -> None:
    stream = lines(log_format)
    LOG.info("peer said %s", "no\r\n2026-01-01 ERROR forged\x1b[31m\u2028end")
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert not {"\r", "\x1b", "\u2028"} & set(text)
    assert "forged" in text


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_traceback_is_on_the_line_of_its_record(log_format: LogFormat) -> None:
    stream = lines(log_format)
    try:
        int("gone")
    except ValueError:
        LOG.exception("it failed")
    assert stream.getvalue().count("\n") == 1
    assert "ValueError" in stream.getvalue()


def test_a_caller_who_left_while_it_was_answered_is_no_error_of_ours() -> None:
    grpc_server = logging.getLogger("grpc._cython.cygrpc")
    left = "ExecuteBatchError raised in core by servicer method [/orchestrator.v1.SagaService/WaitSaga]"
    stream = lines(LogFormat.HUMAN)
    grpc_server.error(left)
    assert stream.getvalue() == ""
    grpc_server.error("Exception raised by servicer method [/orchestrator.v1.SagaService/WaitSaga]")
    assert stream.getvalue().count("\n") == 1
    stream = lines(LogFormat.HUMAN, "DEBUG")
    grpc_server.error(left)
    assert left in stream.getvalue()


def test_a_line_names_the_saga_and_step_that_its_caller_gives() -> None:
    stream = lines(LogFormat.JSON)
    LOG.info("of a step", extra={"saga_id": "report-7", "step": "score"})
    LOG.info("of no saga")
    named, nameless = map(json.loads, stream.getvalue().splitlines())
    assert (named["saga_id"], named["step"], named["level"]) == ("report-7", "score", "INFO")
    assert "saga_id" not in nameless


def test_a_person_reads_the_saga_and_step_before_the_text() -> None:
    stream = lines(LogFormat.HUMAN)
    LOG.warning("moved", extra={"saga_id": "report-8", "step": "notify"})
    assert "saga=report-8  step=notify  moved" in stream.getvalue()


def test_a_line_below_the_level_is_not_written() -> None:
    stream = lines(LogFormat.HUMAN, "ERROR")
    LOG.warning("quiet")
    assert stream.getvalue() == ""


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging(level="LOUD")


def test_a_line_is_bounded() -> None:
    stream = lines(LogFormat.HUMAN)
    LOG.info("x" * (2 * LOG_LINE_CHARS_MAX))
    assert len(stream.getvalue()) < LOG_LINE_CHARS_MAX + 200


def test_printable_text_is_left_alone() -> None:
    assert escaped("Grüße, 世界 …") == "Grüße, 世界 …"
    assert escaped("a\tb\x00") == "a\\tb\\x00"
