"""The rules hold for every shape of saga, and each is seen to be broken where it is."""

from collections.abc import Callable
from dataclasses import replace
from random import Random  # noqa: TID251  (seeded)

import pytest

from orchestrator.ids import StepId
from orchestrator.ports.journal import Rest
from orchestrator.saga.commands import RerunFromStep, RetryStep, TerminateSaga, UndoChild
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    AttentionRaised,
    CompensationBegan,
    ElseBegan,
    RollbackBegan,
    SagaCompensated,
    SagaCompleted,
    SignalReceived,
    StepBegan,
    StepSettled,
    StepUndone,
)
from orchestrator.saga.plan import Facts, OnFailure, Operation, Outcome, Poll, Probe, StepKind
from orchestrator.values import Payload
from orchestrator.verify import INVARIANTS
from tests.unit.telemetry.histories import unavailable
from tests.unit.telemetry.shapes import (
    AUDIT,
    PARENT,
    call,
    guide,
    items,
    no,
    plan_of,
    read,
    replied,
    roaming,
    run,
    run_plain,
    step,
    until,
)
from tests.unit.verify.samples import Sample, added, changed, moved, removed, sample_of_guide

UNDO = Operation.COMPENSATE
FLIGHT, HOTEL, BUS, TRIP, RESERVE = map(StepId, ("flight", "hotel", "bus", "trip", "reserve"))
ITEM = StepId("reserve[1]")


def whole() -> Sample:
    return sample_of_guide(run(guide()))


def alternative() -> Sample:
    """`hotel` is refused, `flight` is undone, and `bus` is taken instead."""
    told = until(guide(), "hotel")
    told.reply("hotel", no())
    return sample_of_guide(run(told))


def again() -> Sample:
    """`trip` is run again by a person after it was done."""
    told = until(guide(), "load")
    told.tell(RerunFromStep(audit=AUDIT, step=TRIP))
    return sample_of_guide(run(told))


LISTED = plan_of("listed", step("reserve", for_each=items(3)), step("last", "reserve"))


def listed() -> Sample:
    """A list of three is undone, because what follows it is refused."""
    told = guide(LISTED)
    for _ in range(3):
        told.report(told.calls()[0], replied())
    told.reply("last", no())
    return sample_of_guide(run_plain(told))


ASKED = plan_of("asked", step("one", on_failure=OnFailure.ASK), step("two", "one"))


def asked() -> Sample:
    """`one` failed, and a person must look."""
    told = guide(ASKED)
    told.reply("one", no())
    return sample_of_guide(told)


def retried() -> Sample:
    """`one` failed, and was run as new."""
    told = guide(ASKED)
    told.reply("one", no())
    told.tell(RetryStep(audit=AUDIT, step=StepId("one"), as_new=True))
    return sample_of_guide(run_plain(told))


PAID = plan_of(
    "paid",
    step("book"),
    replace(step("pay", "book", undo=False), kind=StepKind.PIVOT),
    replace(step("tell", "pay", undo=False), kind=StepKind.RETRIABLE),
)


def paid() -> Sample:
    return sample_of_guide(run_plain(guide(PAID)))


def undone_child() -> Sample:
    told = run(guide(parent=PARENT))
    told.tell(UndoChild(reason="the trip is off"))
    return sample_of_guide(run(told))


def ended_by_hand() -> Sample:
    told = until(guide(), "pay")
    told.tell(TerminateSaga(audit=AUDIT))
    return sample_of_guide(told)


@pytest.mark.parametrize("make", [whole, alternative, again, listed, asked, retried, paid, undone_child, ended_by_hand])
def test_what_the_machine_does_breaks_no_rule(make: Callable[[], Sample]) -> None:
    findings, stream = make().check()
    assert list(map(str, findings.violations)) == []
    assert stream.state is not None


@pytest.mark.parametrize("block", range(8))
def test_whatever_happens_breaks_no_rule(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        findings, _ = sample_of_guide(roaming(Random(seed))).check()
        assert list(map(str, findings.violations)) == [], f"seed {seed}"


# --- planted ---------------------------------------------------------------------------------------------------------


def an_item_has_the_key_of_another() -> Sample:
    sample = listed()
    other = sample.events[sample.find(AttemptOpened, step=StepId("reserve[0]"))]
    return changed(sample, sample.find(AttemptOpened, step=ITEM), key=other.key)  # type: ignore[union-attr]  # an AttemptOpened


def a_step_that_begins_anew_keeps_its_key() -> Sample:
    sample = again()
    first = sample.events[sample.find(AttemptOpened, step=FLIGHT)]
    assert isinstance(first, AttemptOpened)
    second = sample.find(AttemptOpened, 1, step=FLIGHT, attempt=1, operation=Operation.FORWARD)
    return changed(sample, second, key=first.key, manual_epoch=0)


def another_request_goes_out_under_the_same_key() -> Sample:
    sample = retried()
    first = sample.events[sample.find(AttemptOpened, step=StepId("one"))]
    assert isinstance(first, AttemptOpened)
    at = sample.find(AttemptOpened, step=StepId("one"), attempt=2)
    return changed(sample, at, key=first.key, manual_epoch=0, request=Payload("Request", b"another"))


def an_item_begins_before_its_list() -> Sample:
    sample = listed()
    return moved(sample, sample.find(AttemptOpened, step=StepId("reserve[0]")), sample.find(StepBegan, step=RESERVE))


def a_member_begins_after_its_scope() -> Sample:
    sample = whole()
    return moved(sample, sample.find(AttemptOpened, step=HOTEL), sample.find(StepSettled, step=TRIP))


def the_other_branch_begins_without_need() -> Sample:
    sample = alternative()
    return moved(sample, sample.find(AttemptOpened, step=BUS), sample.find(ElseBegan))


def a_member_is_called_while_its_scope_is_undone() -> Sample:
    sample = alternative()
    again_opened = sample.events[sample.find(AttemptOpened, step=FLIGHT)]
    return added(sample, sample.find(RollbackBegan) + 1, again_opened)


def a_list_begins_after_compensation_did() -> Sample:
    sample = listed()
    return moved(sample, sample.find(StepBegan, step=RESERVE), sample.find(CompensationBegan))


def without_undo(sample: Sample, path: StepId) -> Sample:
    opened = sample.find(AttemptOpened, step=path, operation=UNDO)
    settled = sample.find(AttemptSettled, step=path, operation=UNDO)
    return removed(sample, opened, settled, sample.find(StepUndone, step=path))


def an_item_is_left_standing() -> Sample:
    return without_undo(listed(), ITEM)


def a_scope_goes_on_with_a_member_standing() -> Sample:
    return without_undo(alternative(), FLIGHT)


def a_step_begins_anew_with_its_effect_standing() -> Sample:
    return without_undo(again(), FLIGHT)


def an_item_is_undone_that_was_refused() -> Sample:
    sample = listed()
    return changed(sample, sample.find(StepSettled, step=ITEM), outcome=Outcome.NOT_APPLIED)


def a_member_is_undone_while_another_is_called() -> Sample:
    sample = alternative()
    at = sample.find(AttemptSettled, step=HOTEL)
    return moved(sample, at, sample.find(AttemptOpened, step=FLIGHT, operation=UNDO))


def a_list_is_undone_before_what_followed_it() -> Sample:
    told = guide(LISTED)
    for _ in range(3):
        told.report(told.calls()[0], replied())
    told.reply("last", replied())
    sample = sample_of_guide(told)
    assert isinstance(sample.events[-1], SagaCompleted)
    undone = listed().events
    turned = [each for each in undone if isinstance(each, CompensationBegan)]
    items_undo = [each for each in undone if getattr(each, "operation", None) is UNDO]
    return sample.with_events([*sample.events[:-1], *turned, *items_undo])


def something_that_can_be_undone_follows_the_pivot() -> Sample:
    sample = paid()
    first = sample.find(AttemptOpened, step=StepId("book"))
    return moved(sample, first, sample.find(StepSettled, step=StepId("pay")))


def it_turns_back_after_its_pivot() -> Sample:
    sample = paid()
    turned = next(each for each in listed().events if isinstance(each, CompensationBegan))
    return added(sample, sample.find(StepSettled, step=StepId("pay")) + 1, turned)


def a_saga_of_its_own_is_undone_after_its_end() -> Sample:
    sample = undone_child()
    return changed(sample, 0, parent=None)


def a_child_completes_twice() -> Sample:
    sample = undone_child()
    return changed_to_completed(sample)


def changed_to_completed(sample: Sample) -> Sample:
    at, completed = sample.find(SagaCompensated), sample.events[sample.find(SagaCompleted)]
    return sample.with_events([*sample.events[:at], completed, *sample.events[at:]])


def a_signal_is_recorded_twice() -> Sample:
    sample = whole()
    at = sample.find(SignalReceived)
    return added(sample, at, sample.events[at])


def a_step_takes_a_signal_that_never_came() -> Sample:
    sample = whole()
    return removed(sample, sample.find(SignalReceived))


def nobody_is_told_that_a_step_is_stuck() -> Sample:
    sample = asked()
    return removed(sample, sample.find(AttentionRaised))


def its_row_gives_no_reason() -> Sample:
    sample = asked()
    return replace(sample, row=replace(sample.row, attention=""))


def nobody_would_take_up_its_calls() -> Sample:
    sample = sample_of_guide(guide(ASKED))
    return replace(sample, row=replace(sample.row, rest=Rest.ASLEEP))


def a_probe_is_tried_too_often() -> Sample:
    told = guide(plan_of("probed", step("pay", probe=Probe(call=call("DidPay"), read=read))))
    told.reply("pay", unavailable(told.calls()[0], told.at))
    told.reply("pay", unavailable(told.calls()[0], told.at), Operation.PROBE)
    sample = sample_of_guide(told)
    at = sample.find(AttemptSettled, operation=Operation.PROBE)
    end = sample.events[at]
    assert isinstance(end, AttemptSettled)
    return added(sample, at + 1, *(replace(end, attempt=number) for number in (2, 3)))


PLANTED: list[tuple[str, Callable[[], Sample]]] = [
    ("I4", its_row_gives_no_reason),
    ("I12", an_item_has_the_key_of_another),
    ("I12", a_step_that_begins_anew_keeps_its_key),
    ("I12", another_request_goes_out_under_the_same_key),
    ("I14", a_probe_is_tried_too_often),
    ("I15", an_item_begins_before_its_list),
    ("I15", a_member_begins_after_its_scope),
    ("I15", the_other_branch_begins_without_need),
    ("I17", a_member_is_called_while_its_scope_is_undone),
    ("I17", a_list_begins_after_compensation_did),
    ("I18", an_item_is_left_standing),
    ("I18", a_scope_goes_on_with_a_member_standing),
    ("I18", a_step_begins_anew_with_its_effect_standing),
    ("I18", an_item_is_undone_that_was_refused),
    ("I19", a_member_is_undone_while_another_is_called),
    ("I20", a_list_is_undone_before_what_followed_it),
    ("I21", something_that_can_be_undone_follows_the_pivot),
    ("I21", it_turns_back_after_its_pivot),
    ("I25", a_saga_of_its_own_is_undone_after_its_end),
    ("I25", a_child_completes_twice),
    ("I29", a_signal_is_recorded_twice),
    ("I29", a_step_takes_a_signal_that_never_came),
    ("I35", nobody_is_told_that_a_step_is_stuck),
    ("I35", its_row_gives_no_reason),
    ("I35", nobody_would_take_up_its_calls),
]


@pytest.mark.parametrize(("invariant", "spoil"), PLANTED, ids=[f"{name}-{how.__name__}" for name, how in PLANTED])
def test_a_planted_violation_is_found(invariant: str, spoil: Callable[[], Sample]) -> None:
    findings, _ = spoil().check()
    found = [violation for violation in findings.violations if violation.invariant == invariant]
    assert found, f"only {list(map(str, findings.violations))}"
    assert INVARIANTS[invariant] in str(found[0])


def test_an_answer_that_says_not_yet_costs_no_budget() -> None:
    told = guide(plan_of("polled", step("one", poll=Poll(until=_enough, every_s=0.1, at_most_s=60.0))))
    for _ in range(6):  # the policy allows two
        told.reply("one", replied(b"later"))
        told.wait()
    told.reply("one", replied())
    findings, _ = sample_of_guide(told).check()
    assert list(map(str, findings.violations)) == []


def _enough(facts: Facts) -> bool:
    return facts.own_reply is not None and facts.own_reply.data == b"yes"
