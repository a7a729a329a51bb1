"""What a developer reads who follows one saga, and that a process which does not tell it does not prepare it."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest

from orchestrator import ids, logscope
from orchestrator.errors import IntegrityError
from orchestrator.ids import SagaId
from orchestrator.limits import CRASH_PAUSE_S, CRASHES_MAX
from orchestrator.runtime import actor as actors
from orchestrator.runtime import perform
from orchestrator.saga import SagaState, SagaStatus, blank
from orchestrator.saga.traceparts import TraceParts
from orchestrator.telemetry.logs import LogFormat, configure_logging
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import TraceContext
from tests.kit.machine import report
from tests.kit.runtime import Process, run, until

CALLER = TraceContext(trace_id=0xABC, span_id=0xDEF, sampled=True)
PLAN = plan(step("a", idempotent=True), step("b", "a", idempotent=True))
Lines = list[dict[str, str]]


@pytest.fixture(autouse=True)
def own_root() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)


def told(level: str = "DEBUG") -> tuple[Lines, list[SagaState]]:
    """Let a saga be undone; return the lines about it, and its end."""
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, level, stream)
    ends: list[SagaState] = []

    async def story() -> None:
        process = Process(lambda call: report("OK" if call.step == "a" else "ABORTED"), PLAN)
        async with process.orchestrator.running():
            await process.start(trace=CALLER)
            ends.append(await process.ended())

    run(story())
    return [json.loads(line) for line in stream.getvalue().splitlines()], ends


def test_every_decision_is_a_line_that_names_its_saga_trace_and_definition() -> None:
    lines, (end,) = told()
    assert end.status is SagaStatus.COMPENSATED
    turns = [line for line in lines if line["message"].startswith(("decided", "durable"))]
    assert {(line["saga_id"], line["definition"], line["trace_id"]) for line in turns} == {
        ("s", "test", f"{0xABC:032x}")
    }
    assert turns[0]["message"] == "decided 1 to 2: SagaStarted, AttemptOpened a"
    assert turns[1]["message"] == "durable to 2, RUNNING"
    assert turns[-1]["message"] == f"durable to {end.version}, COMPENSATED"


def test_every_call_is_two_lines_with_the_span_that_the_service_is_told() -> None:
    lines, (end,) = told()
    calls = [line for line in lines if line.get("step") == "a" and "forward attempt" in line["message"]]
    assert [line["message"] for line in calls] == [
        "forward attempt 1 calls test.Service/a at service",
        "forward attempt 1 ended OK, REPLIED",
    ]
    span = ids.attempt_span_id(end.uid, ids.StepId("a"), "forward", 1)
    assert {line["span_id"] for line in calls} == {f"{span:016x}"}


def test_nothing_of_it_is_prepared_where_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*_: object) -> dict[str, str]:
        raise AssertionError("a line was prepared that nobody reads")

    for module, name in ((actors, "_shown"), (actors, "_about"), (perform, "_about")):
        monkeypatch.setattr(module, name, made)
    lines, (end,) = told("INFO")
    assert end.status is SagaStatus.COMPENSATED
    assert lines == []


def test_a_turn_that_fails_says_where_its_saga_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, "INFO", stream)

    def odd(state: SagaState, _touched: object, **_: object) -> None:
        if state.version > 2:
            raise ZeroDivisionError

    async def story() -> None:
        process = Process(lambda _call: report(), PLAN)
        async with process.orchestrator.running():
            await process.start(trace=CALLER)
            await asyncio.sleep(CRASHES_MAX * CRASH_PAUSE_S)  # poll: the pauses between the tries, on virtual time
            await until(lambda: "quarantined" in stream.getvalue())
            with pytest.raises(IntegrityError, match="ZeroDivisionError, see the log"):
                await process.orchestrator.get("s")

    monkeypatch.setattr(actors, "check_steps", odd)
    run(story())
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines[:3]] == [f"saga s: a turn failed ({number} of 3)" for number in (1, 2, 3)]
    assert "quarantined" in lines[3]["message"]
    assert {(line["saga_id"], line["trace_id"], line["definition"]) for line in lines} == {
        ("s", f"{0xABC:032x}", "test")
    }
    assert logscope.turn.subject is None


def test_a_saga_whose_trace_goes_on_in_another_names_that_one() -> None:
    uid = UUID(int=7)
    state = replace(blank(PLAN), uid=uid, trace=CALLER, trace_parts=TraceParts(number=3))
    assert actors._about(SagaId("s"), state)["trace_id"] == f"{ids.part_trace_id(uid, 3):032x}"
