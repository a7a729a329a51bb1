"""What is remembered of sagas in trouble is bounded, and being set aside is for good."""

import asyncio

import pytest

from orchestrator.errors import IntegrityError, OrchestratorError
from orchestrator.ids import SagaId
from orchestrator.limits import CRASH_PAUSE_S, CRASHES_MAX
from orchestrator.ports.observer import Silence
from orchestrator.runtime import supervisor as module
from orchestrator.runtime.supervisor import Supervisor
from orchestrator.saga.plan import ExpressionFailure, Facts
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.runtime import Process, run, until


def _fail() -> None:
    raise ZeroDivisionError("a bug")


def crash(supervisor: Supervisor, name: str) -> bool:
    """Let a saga's turn fail; return whether the saga is to be taken up again."""
    heard: list[bool] = []

    def on_crash(_error: OrchestratorError, again: bool) -> None:
        heard.append(again)

    supervisor.guard(SagaId(name), _fail, on_crash)
    return heard[0]


def test_the_sagas_that_crashed_longest_ago_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUARANTINED_MAX", 3)
    supervisor = Supervisor(Silence(), lambda _saga, _error: None)
    for _ in range(CRASHES_MAX - 1):
        assert all([crash(supervisor, "again"), crash(supervisor, "once")])
    assert all([crash(supervisor, "third"), crash(supervisor, "other")])  # four are more than three
    assert crash(supervisor, "again")
    assert not supervisor.is_quarantined(SagaId("again"))


def test_a_saga_that_crashes_again_and_again_is_set_aside_among_others_that_do() -> None:
    supervisor = Supervisor(Silence(), lambda _saga, _error: None)
    told = [(crash(supervisor, "bad"), crash(supervisor, f"once{number}"))[0] for number in range(CRASHES_MAX)]
    assert told == [True] * (CRASHES_MAX - 1) + [False]
    assert supervisor.is_quarantined(SagaId("bad"))


def test_a_saga_that_is_set_aside_during_its_pause_is_not_taken_up_again() -> None:
    turns = 0

    def bug(_facts: Facts) -> Payload | ExpressionFailure:
        nonlocal turns
        turns += 1
        raise ZeroDivisionError("a bug in a rendered expression")

    async def story() -> None:
        process = Process(lambda _call: report(), plan(step("a", idempotent=True), step("b", "a", request=bug)))
        async with process.orchestrator.running():
            await process.start()
            await until(lambda: turns == 1 and process.orchestrator.stats().active_actors == 0)
            supervisor = process.orchestrator._directory.supervisor
            supervisor.quarantine(SagaId("s"), IntegrityError("somebody found that its records are broken"))
            await asyncio.sleep(10 * CRASH_PAUSE_S)  # poll: no fact, past the pause, on virtual time
            assert turns == 1

    run(story())
