"""I14: a pause is as long as what the attempt before it heard asks for, and pauses are drawn."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.ids import SagaId
from orchestrator.journal.memory import MemoryJournal
from orchestrator.saga.events import RetryScheduled
from orchestrator.saga.plan import Facts, Poll
from orchestrator.testing.shorthand import plan, step
from orchestrator.verify import Findings, verify
from orchestrator.verify.pauses import Pauses
from tests.kit.machine import report, started
from tests.unit.telemetry.shapes import guide, plan_of, replied
from tests.unit.telemetry.shapes import step as shaped
from tests.unit.verify.samples import Sample, changed, compensated, removed, sample_of, sample_of_guide
from tests.unit.verify.stores import Plans, put, renamed


def told_to_wait() -> Sample:
    """The peer says how long; nothing of it is drawn."""
    machine = started(plan(step("a", idempotent=True)))
    machine.reply("a", report("UNAVAILABLE", retry_after_s=3.0))
    machine.pass_time(3)
    return sample_of(machine.replies("a"))


def to_blame() -> Sample:
    """The target, not the request: the whole of the longest pause."""
    machine = started(plan(step("a", idempotent=True)))
    machine.reply("a", "PERMISSION_DENIED")
    machine.pass_time(8)
    return sample_of(machine.replies("a"))


def polled() -> Sample:
    told = guide(plan_of("polled", shaped("one", poll=Poll(until=_is_enough, every_s=2.0, at_most_s=60.0))))
    told.reply("one", replied(b"later"))
    told.wait()
    told.reply("one", replied())
    return sample_of_guide(told)


def _is_enough(facts: Facts) -> bool:
    return facts.own_reply is not None and facts.own_reply.data == b"yes"


def insisted() -> Sample:
    """Refused after the pivot, and tried again all the same."""
    machine = started(plan(step("pay", pivot=True), step("tell", "pay", retriable=True))).replies("pay")
    machine.reply("tell", "FAILED_PRECONDITION")
    machine.pass_time(8)
    return sample_of(machine.replies("tell"))


def insisted_in_its_own_time() -> Sample:
    """Refused, it is not tried again for the peer's sake, and so not when the peer likes."""
    machine = started(plan(step("pay", pivot=True), step("tell", "pay", retriable=True))).replies("pay")
    machine.reply("tell", report("FAILED_PRECONDITION", retry_after_s=5.0))
    machine.pass_time(2)
    return sample_of(machine.replies("tell"))


def undone_later() -> Sample:
    """An undo without limit has its own pace, and the peer can only lengthen it."""
    machine = started(plan(step("a"), step("b", "a"))).replies("a")
    machine.reply("b", "FAILED_PRECONDITION")
    machine.reply("a.undo", report("UNAVAILABLE", retry_after_s=3.0))
    machine.pass_time(3)
    machine.reply("a.undo")
    return sample_of(machine)


SOUND = [told_to_wait, to_blame, polled, insisted, insisted_in_its_own_time, undone_later]


def soon(make: Callable[[], Sample]) -> Sample:
    """Record a pause that is a little too short, and keep that one."""
    sample = make()
    at = sample.find(RetryScheduled)
    event = sample.events[at]
    assert isinstance(event, RetryScheduled)
    return changed(sample, at, due_at=event.due_at - 2.5 if make is not polled else event.due_at - 0.5)


def a_peer_is_called_sooner_than_it_asked() -> Sample:
    return soon(told_to_wait)


def a_peer_that_asked_for_a_pause_is_called_at_once() -> Sample:
    sample = told_to_wait()
    return removed(sample, sample.find(RetryScheduled))


def a_target_to_blame_is_given_too_little_time() -> Sample:
    return soon(to_blame)


def a_poll_asks_too_often() -> Sample:
    return soon(polled)


def an_undo_is_tried_sooner_than_its_peer_asked() -> Sample:
    return soon(undone_later)


def what_has_to_succeed_is_tried_at_once() -> Sample:
    sample = insisted()
    at = sample.find(RetryScheduled)
    event = sample.events[at]
    assert isinstance(event, RetryScheduled)
    return changed(sample, at, due_at=event.at, reason="FOUND_NOT_APPLIED")


PLANTED: list[tuple[str, Callable[[], Sample]]] = [
    ("I14", a_peer_is_called_sooner_than_it_asked),
    ("I14", a_peer_that_asked_for_a_pause_is_called_at_once),
    ("I14", a_target_to_blame_is_given_too_little_time),
    ("I14", a_poll_asks_too_often),
    ("I14", an_undo_is_tried_sooner_than_its_peer_asked),
    ("I14", what_has_to_succeed_is_tried_at_once),
]


@pytest.mark.parametrize("make", SOUND)
def test_a_pause_that_is_long_enough_breaks_no_rule(make: Callable[[], Sample]) -> None:
    findings, _ = make().check()
    assert list(map(str, findings.violations)) == []


@pytest.mark.parametrize("spoil", [how for _, how in PLANTED])
def test_a_pause_that_is_too_short_is_found(spoil: Callable[[], Sample]) -> None:
    findings, _ = spoil().check()
    (found,) = [violation for violation in findings.violations if violation.invariant == "I14"]
    assert "s is the least" in found.message


# --- drawn ------------------------------------------------------------------------------------------------------------


def at_once(sample: Sample) -> Sample:
    """As a program would that draws no pause."""
    sooner = removed(sample, sample.find(RetryScheduled))
    return replace(sooner, row=replace(sooner.row, version=len(sooner.records)))


def judged(*samples: Sample) -> list[str]:
    findings, pauses = Findings(), Pauses()
    for sample in samples:
        pauses.take(sample.check()[1])
    pauses.check(findings)
    assert {violation.invariant for violation in findings.violations} <= {"I14"}
    return [violation.message for violation in findings.violations]


def test_pauses_that_are_never_drawn_are_found() -> None:
    (found,) = judged(*[at_once(compensated())] * 3)
    assert found == "forward of book was to be tried again at once, as were 3 of the store's 3 whose pause is drawn"


def test_a_pause_of_nothing_may_be_drawn_now_and_then() -> None:
    assert judged(*[at_once(compensated())] * 2) == []
    assert judged(*[at_once(compensated())] * 3, *[compensated()] * 300) == []


def test_a_pause_that_is_not_drawn_tells_nothing_of_luck() -> None:
    assert judged(*[at_once(told_to_wait())] * 3) == []


async def test_a_store_is_asked_whether_its_pauses_were_drawn() -> None:
    journal = MemoryJournal()
    for number in (1, 2, 3):
        await put(journal, renamed(at_once(compensated()), f"s{number}", uid=number), SagaId(f"s{number}"))
    findings = await verify(journal, Plans())
    (found,) = [violation for violation in findings.violations if violation.invariant == "I14"]
    assert found.saga_id == "s1"
