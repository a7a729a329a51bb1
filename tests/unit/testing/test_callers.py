import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from orchestrator.errors import Draining, JournalUnavailable, NotFound, Overloaded
from orchestrator.ids import SagaId
from orchestrator.ports.observer import Silence
from orchestrator.runtime import Orchestrator
from orchestrator.saga.plan import Plan
from orchestrator.testing import Begin, FixedPlans
from orchestrator.testing.callers import Caller, Remembered
from orchestrator.testing.clocks import WallClock
from orchestrator.testing.disk import Disk
from orchestrator.testing.loop import Life
from orchestrator.testing.network import Network
from orchestrator.testing.process import Alone, Around, ConnectionLost, Process
from orchestrator.testing.services import Services, shorthand_reply
from orchestrator.testing.shorthand import plan, sleep, step, wait
from orchestrator.values import Payload
from tests.unit.testing.worlds import faults_of, passes, told

T = TypeVar("T")

WATCHED, UNWATCHED, ANOTHER = 1, 5, 7
"""Seeds: somebody watches `s1`, or nobody does; in each its caller stays to its end."""
S1 = SagaId("s1")
KEPT = plan(step("a", idempotent=True))
PATIENT = plan(step("a", idempotent=True), sleep("z", "a", seconds=60.0))
SIGNALLED = plan(step("a", idempotent=True), wait("w", "a"))


@dataclass(slots=True)
class Desk:
    """One process that lives on, and a way to it that fails as told before it gives an answer."""

    given: Plan
    tape: Sequence[str] = ()
    seed: int = UNWATCHED
    failures: list[Exception] = field(default_factory=list)
    """Each is what one question ends with, in order; what was asked has been done all the same."""
    asked: int = 0
    answers: Remembered = field(default_factory=Remembered)

    def process(self) -> Process:
        faults, outside = faults_of(*self.tape, seed=self.seed), contextvars.copy_context()
        services = Services(lambda _saga: self.given, shorthand_reply, faults)
        life = Life("life-1")
        around = Around(
            network=Network(services, faults, outside),
            plans=FixedPlans(self.given),
            faults=faults,
            observer=Silence(),
            broken=[],
        )
        process = Process(life, Alone(Disk(), life, WallClock(), faults, outside), around)
        process.start()
        return process

    def caller(self, process: Process) -> Caller:
        async def ask(work: Callable[[Orchestrator], Coroutine[None, None, T]], request_id: str) -> T:
            self.asked += 1
            answer = await process.ask(work)
            if self.failures:
                raise self.failures.pop(0)
            return answer

        begin = Begin(definition="test", input=Payload("Input", b""))
        faults = faults_of(*self.tape, seed=self.seed)
        return Caller(S1, begin, self.given, ask=ask, answers=self.answers, faults=faults)

    def run(self) -> Remembered:
        """Let one caller start its saga and stay with it."""

        async def story() -> Remembered:
            process = self.process()
            await self.caller(process).run()
            process.stop()
            await process.ended
            return self.answers

        return told(story)


def test_a_caller_starts_its_saga_waits_for_its_end_and_remembers_both() -> None:
    answers = Desk(KEPT).run()
    assert answers.ends == {"s1": "COMPLETED"}
    assert list(answers.uids) == ["s1"]
    assert (answers.asked_again, answers.contradictions) == (0, [])


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionLost("gone"),
        Draining("it stops"),
        JournalUnavailable("no disk"),
        Overloaded("TOO_MANY_ACTIVE", "too much", 0.1),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_what_is_not_answered_is_asked_again_until_it_is(failure: Exception) -> None:
    desk = Desk(KEPT, failures=[failure] * 3)
    answers = desk.run()
    assert answers.ends == {"s1": "COMPLETED"}
    assert (desk.asked, answers.asked_again) == (5, 3), "a start, a wait, and three times once more"
    assert answers.contradictions == [], "one request is one saga, however often it is sent"


def test_an_answer_that_says_no_is_an_answer() -> None:
    desk = Desk(KEPT, failures=[NotFound("definition", "test")])
    with pytest.raises(ExceptionGroup) as caught:
        desk.run()
    assert caught.group_contains(NotFound)


def test_a_saga_that_nobody_starts_is_not_asked_for() -> None:
    desk = Desk(KEPT, ["absent s1"])
    assert desk.run().ends == {}
    assert desk.asked == 0


def test_a_start_that_is_sent_twice_is_one_saga() -> None:
    desk = Desk(KEPT, ["repeated s1/start"])
    answers = desk.run()
    assert desk.asked == 3
    assert (list(answers.uids), answers.contradictions) == (["s1"], [])


def test_a_signal_that_was_taken_is_remembered_and_sent_twice_it_is_one() -> None:
    for tape, asked in (([], 3), (["repeated s1/w"], 4)):
        desk = Desk(SIGNALLED, tape)
        answers = desk.run()
        assert answers.ends == {"s1": "COMPLETED"}
        assert answers.signals == {"s1": {"signal-s1/w"}}
        assert desk.asked == asked


def test_a_person_cancels_at_the_millisecond_told_and_remembers_that_it_was_accepted() -> None:
    answers = Desk(PATIENT, ["cancel s1 700"]).run()
    assert answers.ends == {"s1": "COMPENSATED"}
    assert answers.cancelled == {"s1"}


def test_a_cancel_that_comes_too_late_is_not_remembered() -> None:
    answers = Desk(KEPT, ["cancel s1 60000"]).run()
    assert answers.ends == {"s1": "COMPLETED"}
    assert answers.cancelled == set()


def test_a_watcher_is_shown_every_record_once_over_all_its_streams() -> None:
    answers = Desk(KEPT, seed=WATCHED, failures=[ConnectionLost("gone")] * 4).run()
    shown = [version for version, _ in answers.watched[S1]]
    assert shown == list(range(1, len(shown) + 1))
    assert len(shown) == 5, "started, opened, settled, the step settled, completed"
    assert answers.watched_whole == {"s1"}


def test_who_needs_a_person_is_not_watched_for_ever() -> None:
    answers = Desk(KEPT, ["refuses.undo s1/a/compensate/1", "slow s1/a/forward/1", "cancel s1 1"], seed=WATCHED).run()
    assert answers.ends == {"s1": "NEEDS_ATTENTION"}
    assert answers.watched_whole == set()


def test_two_answers_that_cannot_both_be_true_are_a_contradiction() -> None:
    async def story() -> list[str]:
        desk = Desk(KEPT)
        await desk.caller(desk.process()).run()
        other = Desk(KEPT, seed=ANOTHER, answers=desk.answers)
        await other.caller(other.process()).run()
        await passes(1)
        return desk.answers.contradictions

    found = told(story)
    assert found
    assert all(each.startswith("s1 was acknowledged as ") for each in found)


def test_who_asks_a_process_that_dies_over_it_is_told_that_it_is_gone() -> None:
    async def story() -> None:
        desk = Desk(PATIENT)
        process = desk.process()
        asking = asyncio.get_running_loop().create_task(process.ask(_never))
        await passes(1)
        assert not asking.done()
        process.life.kill()
        with pytest.raises(ConnectionLost, match="life-1 is gone"):
            await asking
        with pytest.raises(ConnectionLost, match="life-1 is gone"):
            await process.ask(_never)
        assert process.ended.done()

    async def _never(_orchestrator: Orchestrator) -> None:
        await asyncio.get_running_loop().create_future()

    told(story)
