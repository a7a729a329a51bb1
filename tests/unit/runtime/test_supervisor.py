"""What is remembered of sagas in trouble is bounded, and being set aside is for good."""

import asyncio
from collections.abc import Sequence

import pytest

from orchestrator.errors import IntegrityError, OrchestratorError
from orchestrator.ids import SagaId
from orchestrator.limits import CRASH_PAUSE_S, CRASHES_MAX
from orchestrator.logscope import About, turn
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Record, SearchRow
from orchestrator.ports.observer import Silence
from orchestrator.runtime import actor
from orchestrator.runtime import supervisor as module
from orchestrator.runtime.supervisor import Supervisor
from orchestrator.saga import SagaState
from orchestrator.saga.events import Report
from orchestrator.saga.plan import ExpressionFailure, Facts
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.runtime import Process, run, until


class Ward:
    """Whose work is guarded."""

    def __init__(self, name: str) -> None:
        self.saga_id = SagaId(name)

    def about(self) -> About:
        return {}


class Crashes:
    """What became of those whose work failed: whether each is to be taken up again."""

    def __init__(self) -> None:
        self.again: list[bool] = []

    def heard(self, _ward: Ward, _error: OrchestratorError, again: bool) -> None:
        self.again.append(again)


def supervised() -> tuple[Supervisor[Ward], Crashes]:
    crashes = Crashes()
    return Supervisor[Ward](Silence(), lambda _saga, _error: None, crashes.heard), crashes


def _fail() -> None:
    raise ZeroDivisionError("a bug")


def crash(supervised: tuple[Supervisor[Ward], Crashes], name: str) -> bool:
    """Let a saga's turn fail; return whether the saga is to be taken up again."""
    supervisor, crashes = supervised
    supervisor.guard(Ward(name), _fail)
    return crashes.again[-1]


def test_a_turn_is_about_its_saga_and_ends_with_it_also_where_it_fails() -> None:
    supervisor, _ = supervised()
    outer, inner, seen = Ward("outer"), Ward("inner"), list[object]()

    def fails(named: str) -> None:
        seen.append((named, turn.subject))
        _fail()

    def nested() -> None:
        supervisor.guard(inner, fails, "inner")
        seen.append(("outer", turn.subject))

    supervisor.guard(outer, nested)
    assert seen == [("inner", inner), ("outer", outer)]
    assert turn.subject is None


def test_the_sagas_that_crashed_longest_ago_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUARANTINED_MAX", 3)
    supervisor = supervised()
    for _ in range(CRASHES_MAX - 1):
        assert all([crash(supervisor, "again"), crash(supervisor, "once")])
    assert all([crash(supervisor, "third"), crash(supervisor, "other")])  # four are more than three
    assert crash(supervisor, "again")
    assert not supervisor[0].is_quarantined(SagaId("again"))


def test_a_saga_that_crashes_again_and_again_is_set_aside_among_others_that_do() -> None:
    supervisor = supervised()
    told = [(crash(supervisor, "bad"), crash(supervisor, f"once{number}"))[0] for number in range(CRASHES_MAX)]
    assert told == [True] * (CRASHES_MAX - 1) + [False]
    assert supervisor[0].is_quarantined(SagaId("bad"))


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


def test_whoever_asks_for_what_cannot_be_decided_is_told_so() -> None:
    def bug(_facts: Facts) -> Payload | ExpressionFailure:
        raise ZeroDivisionError("a bug in a rendered expression")

    async def story() -> None:
        process = Process(lambda _call: report(), plan(step("a", idempotent=True, request=bug)))
        async with process.orchestrator.running():
            async with asyncio.timeout(1.0):
                with pytest.raises(OrchestratorError, match="set aside"):
                    await process.start()

    run(story())


def test_whoever_asks_for_what_cannot_be_written_down_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object, **__: object) -> SearchRow:
        raise ZeroDivisionError("a bug in a search row")

    async def story() -> None:
        process = Process(lambda _call: report(), plan(step("a", idempotent=True)))
        async with process.orchestrator.running():
            monkeypatch.setattr(actor, "row_after", bug)
            async with asyncio.timeout(1.0):
                with pytest.raises(OrchestratorError, match="set aside"):
                    await process.start()

    run(story())


def test_whoever_asks_for_what_is_durable_is_told_so_though_nothing_can_be_begun() -> None:
    def bug(_call: CallRequest) -> Report | None:
        raise ZeroDivisionError("a bug in a call")

    async def story() -> None:
        process = Process(bug, plan(step("a", idempotent=True)))
        async with process.orchestrator.running():
            async with asyncio.timeout(1.0):
                assert (await process.start()).created

    run(story())


def test_whoever_asks_for_what_is_durable_is_told_so_though_nobody_can_be_shown_it() -> None:
    class Blind(Silence):
        def recorded(self, state: SagaState, records: Sequence[Record]) -> None:
            raise ZeroDivisionError("a bug in what is told of a saga")

    async def story() -> None:
        process = Process(lambda _call: report(), plan(step("a", idempotent=True)), observer=Blind())
        async with process.orchestrator.running():
            async with asyncio.timeout(1.0):
                assert (await process.start()).created

    run(story())
