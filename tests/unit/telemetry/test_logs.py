"""One record is one line, and no message can forge another."""

import asyncio
import io
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping

import pytest

from orchestrator import __version__, logscope
from orchestrator.errors import InputInvalid, JournalCorrupted
from orchestrator.limits import LOG_LINE_CHARS_MAX
from orchestrator.logscope import of_saga
from orchestrator.telemetry.logs import FIELDS, LogFormat, Speaker, configure_logging, escaped, speaker
from orchestrator.values import TraceContext

LOG = logging.getLogger("orchestrator.runtime.actor")
TRACE = TraceContext(trace_id=0xA1, span_id=0xB2, sampled=True)
CANARY = "canary-4111"


@pytest.fixture(autouse=True)
def own_root() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)


def lines(
    log_format: LogFormat, level: str = "INFO", monotonic: Callable[[], float] = time.perf_counter
) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(log_format, level, stream, monotonic=monotonic)
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
@pytest.mark.parametrize(
    "sign", [*"\n\r\0\b\x7f\x85\u2028\u2029\u202e\u2066\ufeff\ud800", "\x1b]0;title\x07", "\x9b2J"]
)
def test_no_sign_that_a_terminal_or_a_reader_acts_on_gets_into_a_line(log_format: LogFormat, sign: str) -> None:
    stream = lines(log_format)
    LOG.error("said %s", sign, extra={"saga_id": sign, "step": sign, "request_id": sign})
    text = stream.getvalue()
    assert text[:-1].isprintable(), ascii(text)
    assert text.count("\n") == 1
    assert len(text.encode()) > 0  # a lone surrogate would be no text at all


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


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_metadata_that_is_no_text_is_quoted_at_no_level(level: str) -> None:
    stream = lines(LogFormat.HUMAN, level)
    logging.getLogger("grpc._cython.cygrpc").error("Invalid encoding on b'\\xff secret'")
    assert stream.getvalue() == ""


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


# --- fields ----------------------------------------------------------------------------------------------------------


class Said:
    """Somebody who can say what the moment is about."""

    def __init__(self, **fields: str) -> None:
        self._fields = fields

    def about(self) -> Mapping[str, str]:
        return self._fields


@pytest.fixture
def in_turn() -> Iterator[None]:
    logscope.turn.subject = Said(saga_id="report-7", definition="report", **logscope.of_trace(TRACE))
    yield
    logscope.turn.subject = None


def only(stream: io.StringIO) -> dict[str, object]:
    (line,) = stream.getvalue().splitlines()
    found: dict[str, object] = json.loads(line)
    return found


@pytest.mark.usefixtures("in_turn")
def test_a_line_in_a_turn_says_which_saga_and_which_trace_without_being_told() -> None:
    stream = lines(LogFormat.JSON)
    logging.getLogger("grpc").error("odd")
    found = only(stream)
    assert (found["saga_id"], found["definition"]) == ("report-7", "report")
    assert (found["trace_id"], found["span_id"], found["trace_flags"]) == (f"{0xA1:032x}", f"{0xB2:016x}", "01")


@pytest.mark.usefixtures("in_turn")
def test_what_the_call_site_says_goes_before_what_the_moment_says() -> None:
    stream = lines(LogFormat.JSON)
    call = TraceContext(trace_id=0xA1, span_id=0xC3, sampled=True)
    LOG.info("called", extra=of_saga("report-7", "score", call))
    assert only(stream)["span_id"] == f"{0xC3:016x}"


@pytest.mark.usefixtures("in_turn")
def test_a_call_sites_trace_is_not_completed_with_the_span_of_another_one() -> None:
    stream = lines(LogFormat.JSON)
    later = TraceContext(trace_id=0xA2, span_id=0, sampled=False)
    LOG.info("rolled over", extra=of_saga("report-7", trace=later))
    found = only(stream)
    assert (found["trace_id"], found["trace_flags"]) == (f"{0xA2:032x}", "00")
    assert "span_id" not in found


@pytest.mark.usefixtures("in_turn")
def test_a_line_about_another_saga_gets_nothing_of_the_one_whose_turn_it_is() -> None:
    stream = lines(LogFormat.JSON)
    LOG.info("its child", extra=of_saga("report-7-child"))
    found = only(stream)
    assert found["saga_id"] == "report-7-child"
    assert not {"definition", "trace_id", "span_id"} & found.keys()


@pytest.mark.usefixtures("in_turn")
def test_every_field_is_one_of_the_published_ones_and_each_of_those_can_be_had() -> None:
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, "DEBUG", stream, Speaker(node="orc-1"))
    request = Said(request_id="r-1", method="/orchestrator.v1.SagaService/StartSaga")

    async def answered() -> None:
        token = logscope.begin(request)
        try:
            LOG.error("all of it", extra={"step": "score"}, exc_info=OSError("away"))
        finally:
            logscope.end(token)

    asyncio.run(answered())
    assert list(only(stream)) == list(FIELDS)


def test_a_machine_reads_who_says_it_and_how_bad_it_is() -> None:
    stream = io.StringIO()
    source = speaker({"OTEL_SERVICE_NAME": "sagas-eu"}, "orc-1")
    configure_logging(LogFormat.JSON, "INFO", stream, source)
    LOG.warning("odd")
    found = only(stream)
    assert (found["service"], found["version"], found["node"]) == ("sagas-eu", __version__, "orc-1")
    assert (found["level"], found["severity_number"]) == ("WARNING", 13)


def test_the_service_is_called_as_it_is_in_its_spans() -> None:
    listed = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=dev, service.name=sagas-eu"}
    assert speaker(listed, "").service == "sagas-eu"
    assert speaker({**listed, "OTEL_SERVICE_NAME": "sagas-us"}, "").service == "sagas-us"
    assert speaker({}, "").service == "saga-orchestrator"


def test_a_person_reads_saga_trace_and_request_before_the_text() -> None:
    stream = lines(LogFormat.HUMAN)
    LOG.warning("moved", extra={**of_saga("report-8", "notify", TRACE, definition="report"), "request_id": "r-1"})
    assert f"saga=report-8  step=notify  definition=report  trace={0xA1:032x}  request=r-1  moved" in stream.getvalue()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a saga=zz  message", '"a saga=zz  message"'),
        ('a"  saga="zz', r'"a\"  saga=\"zz"'),
        ("saga=zz", '"saga=zz"'),
        ('"', r'"\""'),
        ("a \\", r'"a \\"'),
        ("a b\n\x1b\u2028", r'"a b\n\x1b\u2028"'),
        ("a\u00a0saga", r"a\xa0saga"),
        ("7f3a-b_c.d:e/f", "7f3a-b_c.d:e/f"),
    ],
)
def test_no_value_a_caller_chose_reads_like_another_field(value: str, shown: str) -> None:
    stream = lines(LogFormat.HUMAN)
    LOG.warning("moved", extra={"saga_id": "report-8", "request_id": value})
    assert stream.getvalue().endswith(f"saga=report-8  request={shown}  moved\n")
    stream = lines(LogFormat.JSON)
    LOG.warning("moved", extra={"saga_id": "report-8", "request_id": value})
    assert only(stream)["request_id"] == value


# --- no payloads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_format", LogFormat)
def test_what_python_says_of_a_value_is_not_quoted(log_format: LogFormat) -> None:
    stream = lines(log_format)
    try:
        try:
            float(CANARY)
        except ValueError as error:
            raise KeyError(CANARY) from error
    except KeyError:
        LOG.exception("a turn failed")
    text = stream.getvalue()
    assert "KeyError" in text
    assert "ValueError" in text
    assert "test_logs.py" in text
    assert CANARY not in text


def test_an_error_of_our_own_is_told_with_its_words_unless_it_answers_a_request() -> None:
    stream = lines(LogFormat.JSON)
    LOG.error("one", exc_info=JournalCorrupted("record 3 cannot be read"))
    LOG.error("two", exc_info=InputInvalid("input.card", f"{CANARY} is no number"))
    LOG.error("three", exc_info=OSError(28, "No space left on device"))
    ours, theirs, systems = (json.loads(line)["exception"] for line in stream.getvalue().splitlines())
    assert ours == "orchestrator.errors.JournalCorrupted: record 3 cannot be read"
    assert theirs == "orchestrator.errors.InputInvalid"
    assert "No space left on device" in systems


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_task_that_nobody_asks_how_it_ended_quotes_nothing(log_format: LogFormat) -> None:
    stream = lines(log_format)

    async def main() -> None:
        async def fails() -> None:
            raise KeyError(CANARY)

        done = {"message": "Task exception was never retrieved"}
        task = asyncio.get_running_loop().create_task(fails(), name="call score")
        await asyncio.wait([task])
        asyncio.get_running_loop().call_exception_handler({**done, "exception": task.exception(), "future": task})

    asyncio.run(main())
    text = stream.getvalue()
    assert "Task exception was never retrieved (task call score)" in text
    assert "KeyError" in text
    assert CANARY not in text


def test_the_arguments_of_slow_work_are_not_shown() -> None:
    stream = lines(LogFormat.HUMAN)
    logging.getLogger("asyncio").warning("Executing %s took %.3f seconds", f"<Handle tell('{CANARY}') at x:1>", 0.2)
    assert "a piece of work took 0.200 seconds" in stream.getvalue()
    assert CANARY not in stream.getvalue()


def test_a_group_of_errors_is_told_part_by_part() -> None:
    stream = lines(LogFormat.JSON)
    LOG.error("both", exc_info=ExceptionGroup("tasks", [KeyError(CANARY), OSError("no route")]))
    told = str(only(stream)["exception"])
    assert "part 1 of 2:\nKeyError\n" in told
    assert "part 2 of 2:\nOSError: no route" in told
    assert CANARY not in told


def test_a_libraries_lines_below_warning_are_not_written() -> None:
    stream = lines(LogFormat.HUMAN, "DEBUG")
    for name in ("hpack.hpack", "asyncio", "grpc._cython.cygrpc", "uvicorn.access", "orchestrators"):
        logging.getLogger(name).info("Decoded (b'authorization', b'%s')", CANARY)
    assert stream.getvalue() == ""
    LOG.debug("decided")
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("name", ["grpc._cython.cygrpc", "asyncio", "uvicorn.error", "asyncpg", "opentelemetry.sdk"])
def test_a_librarys_complaint_is_a_line_like_any_other(name: str) -> None:
    stream = lines(LogFormat.JSON)
    logging.getLogger(name).warning("odd\nthing")
    assert only(stream)["logger"] == name


def test_pythons_own_warnings_are_lines() -> None:
    stream = lines(LogFormat.JSON)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old\nthing", DeprecationWarning, stacklevel=1)
    assert "old\nthing" in str(only(stream)["message"])


def test_a_line_whose_arguments_do_not_fit_is_said_without_them(capsys: pytest.CaptureFixture[str]) -> None:
    stream = lines(LogFormat.HUMAN)
    LOG.warning("%d shards are %s", CANARY)  # noqa: PLE1206  (the mistake that is meant)
    assert "%d shards are %s (TypeError when its arguments were filled in)" in stream.getvalue()
    assert CANARY not in stream.getvalue() + capsys.readouterr().err


class Shy:
    def __str__(self) -> str:
        raise RuntimeError(CANARY)


def test_a_line_that_cannot_be_written_shows_nothing_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    stream = lines(LogFormat.HUMAN)
    LOG.warning("said %s", Shy())
    stream.close()
    LOG.warning("said %s", CANARY)
    told = capsys.readouterr()
    assert told.out + told.err == ""


# --- how much --------------------------------------------------------------------------------------------------------


def test_a_cut_line_keeps_how_it_ends() -> None:
    stream = lines(LogFormat.JSON)
    LOG.error("%s the end", "x" * 2 * LOG_LINE_CHARS_MAX, extra={"step": "s" * 2 * LOG_LINE_CHARS_MAX})
    found = only(stream)
    assert str(found["message"]).endswith("the end")
    assert len(stream.getvalue()) < 2 * LOG_LINE_CHARS_MAX + 500
