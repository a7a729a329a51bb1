"""Alike complaints in the log: some are lines, the others a number, by time that passes and about nobody."""

import asyncio
import logging

import pytest

from orchestrator import logscope
from orchestrator.limits import LOG_ALIKE_LINES_MAX
from orchestrator.logscope import of_saga
from orchestrator.telemetry.logs import LogFormat
from tests.unit.telemetry import test_logs
from tests.unit.telemetry.test_logs import LOG, TRACE, Said, lines

own_root = test_logs.own_root


def test_alike_complaints_are_written_a_few_times_and_then_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = [0.0]
    stream = lines(LogFormat.HUMAN, monotonic=lambda: passed[0])
    monkeypatch.setattr("logging.time.time", lambda: 1_790_000_000.0 + passed[0])
    for number in range(1_000):
        LOG.error("saga %s is quarantined", number)
    said = stream.getvalue().splitlines()
    assert len(said) == LOG_ALIKE_LINES_MAX
    assert said[-1].endswith("(more like this are counted for a minute, not written)")
    assert not said[-2].endswith("written)")
    LOG.error("something else")
    assert stream.getvalue().splitlines()[-1].endswith("something else")
    passed[0] += 61.0
    LOG.info("a fact")
    counted, fact = stream.getvalue().splitlines()[-2:]
    assert counted.endswith("980 more like 'saga %s is quarantined', the last at 2026-09-21T14:13:20.000Z")
    assert " ERROR " in counted
    assert fact.endswith("a fact")


@pytest.mark.parametrize("set_s", [-3_600.0, 3_600.0])
def test_a_clock_that_is_set_changes_no_count(monkeypatch: pytest.MonkeyPatch, set_s: float) -> None:
    passed, wall_at = [0.0], [1_790_000_000.0]
    stream = lines(LogFormat.HUMAN, monotonic=lambda: passed[0])
    monkeypatch.setattr("logging.time.time", lambda: wall_at[0] + passed[0])
    for number in range(LOG_ALIKE_LINES_MAX + 2):
        LOG.warning("saga %s is odd", number)
    wall_at[0] += set_s
    LOG.warning("saga %s is odd", "one more in this minute")
    assert len(stream.getvalue().splitlines()) == LOG_ALIKE_LINES_MAX
    passed[0] += 61.0
    LOG.warning("saga %s is odd", "the first of the next minute")
    counted, first = stream.getvalue().splitlines()[LOG_ALIKE_LINES_MAX:]
    assert "3 more like" in counted
    assert first.endswith("the first of the next minute is odd")


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_count_is_about_nobody_whoever_the_next_line_is_about(log_format: LogFormat) -> None:
    passed = [0.0]
    stream = lines(log_format, monotonic=lambda: passed[0])
    for number in range(LOG_ALIKE_LINES_MAX + 3):
        LOG.warning("saga %s is odd", number, extra=of_saga(f"report-{number}"))
    passed[0] += 61.0

    async def answered() -> None:
        token = logscope.begin(Said(request_id="r-1", method="/orchestrator.v1.SagaService/StartSaga"))
        logscope.turn.subject = Said(saga_id="report-7", definition="report", **logscope.of_trace(TRACE))
        try:
            LOG.info("a fact", extra={"step": "score"})
        finally:
            logscope.turn.subject = None
            logscope.end(token)

    asyncio.run(answered())
    counted, fact = stream.getvalue().splitlines()[-2:]
    assert "3 more like" in counted
    about = ("report-7", f"{0xA1:032x}", "r-1", "score")
    assert [word in fact for word in about] == [True] * 4
    assert [word in counted for word in about] == [False] * 4


def test_what_was_counted_is_said_when_the_process_ends() -> None:
    stream = lines(LogFormat.HUMAN)
    for number in range(LOG_ALIKE_LINES_MAX + 3):
        LOG.warning("saga %s is odd", number)
    (handler,) = logging.getLogger().handlers
    handler.close()
    assert "3 more like" in stream.getvalue().splitlines()[-1]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.CRITICAL])
def test_facts_and_last_words_are_never_left_out(level: int) -> None:
    stream = lines(LogFormat.HUMAN, "DEBUG")
    for number in range(3 * LOG_ALIKE_LINES_MAX):
        LOG.log(level, "line %d", number)
    assert len(stream.getvalue().splitlines()) == 3 * LOG_ALIKE_LINES_MAX
