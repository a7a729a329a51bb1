"""An explanation says what holds the saga, when it moves by itself, and offers only what the machine would take."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.ids import StepId
from orchestrator.limits import ALERT_ATTEMPTS, CLOCK_SKEW_S, EXPLAINED_MAX
from orchestrator.saga.commands import (
    AttemptReported,
    Audit,
    CancelSaga,
    Command,
    ForceComplete,
    OverrideStepRequest,
    PauseSaga,
    ResolveStep,
    ResumeSaga,
    RetryStep,
    SignalSaga,
    SkipStep,
    TerminateSaga,
)
from orchestrator.saga.events import AttentionReason, Phase
from orchestrator.saga.explain import Possible, WaitKind, attention_of, explain, waits_of
from orchestrator.saga.plan import Operation, Outcome, Poll, StepKind
from orchestrator.saga.sentences import instant
from orchestrator.saga.state import SagaStatus, operation_of
from orchestrator.testing.shorthand import fails, plan, retry, step
from orchestrator.values import Payload
from tests.kit.machine import BEGIN_AT, Machine, report, started
from tests.kit.parts import child, each, inside, scope, sleep, wait

AUDIT = Audit(by="ann", reason="the bank says so")
A, B = StepId("a"), StepId("b")


def summary(machine: Machine) -> str:
    return explain(machine.state, machine.at).summary


def kinds(machine: Machine) -> list[WaitKind]:
    return [each.kind for each in waits_of(machine.state)]


def offered(machine: Machine) -> list[str]:
    found = explain(machine.state, machine.at).possible
    return [" ".join(filter(None, (each.verb, each.step, each.outcome))) for each in found]


def undo_refused() -> Machine:
    """`a` is applied, `b` fails, and the undo of `a` is refused."""
    machine = started(plan(step("a"), step("b", "a")))
    machine.reply("a")
    machine.reply("b", "FAILED_PRECONDITION")
    machine.reply("a.undo", "FAILED_PRECONDITION")
    return machine


def pivot_unknown() -> Machine:
    pivot = replace(step("b", "a", no_undo=True), kind=StepKind.PIVOT)
    machine = started(plan(step("a"), pivot))
    machine.reply("a")
    machine.reply("b", "UNKNOWN")
    return machine


def asks() -> Machine:
    failing = step("b", "a", policy=retry(1))
    machine = started(plan(step("a"), replace(failing, on_failure=type(failing.on_failure).ASK)))
    machine.reply("a")
    machine.reply("b", "FAILED_PRECONDITION")
    return machine


def unrenderable() -> Machine:
    machine = started(plan(step("a", undo=fails), step("b", "a")))
    machine.reply("a")
    return machine


def retrying() -> Machine:
    machine = started(plan(step("a"), step("b", "a"), compensation_s=1e9))
    machine.reply("a")
    machine.reply("b", "FAILED_PRECONDITION")
    for _ in range(ALERT_ATTEMPTS):
        machine.pass_time(60.0)
        machine.reply("a.undo", "UNAVAILABLE")
    return machine


def test_a_sleeping_saga_says_until_when() -> None:
    machine = started(plan(sleep("nap", for_s=30.0)))
    told = explain(machine.state, machine.at)
    assert told.summary == f"step nap sleeps until {instant(BEGIN_AT + 30)}"
    assert told.wake_at == BEGIN_AT + 30
    assert told.possible == ()
    assert told.waits[0].until_at == BEGIN_AT + 30


def test_a_saga_that_waits_for_a_signal_names_it_and_since_when() -> None:
    machine = started(plan(wait("approval", signal="approved", timeout_s=50.0), forward_s=80.0))
    told = explain(machine.state, machine.at)
    assert (told.waits[0].kind, told.waits[0].signal) == (WaitKind.SIGNAL, "approved")
    assert (told.waits[0].since_at, told.waits[0].until_at) == (BEGIN_AT, BEGIN_AT + 50)
    assert f"waits for signal approved since {instant(BEGIN_AT)}, until {instant(BEGIN_AT + 50)}" in told.summary


def test_a_retry_names_its_number_its_time_and_its_cause() -> None:
    machine = started(plan(step("a", policy=retry(5, explicit=True))))
    machine.reply("a", "UNAVAILABLE")
    told = explain(machine.state, machine.at)
    due_at = machine.state.steps[A].forward.retry_at  # type: ignore[union-attr]  # it has just been scheduled
    assert due_at is not None
    assert told.summary == (
        f"the call of step a is tried again at {instant(due_at)}, for the 2nd time,"
        " because of UNAVAILABLE: it said UNAVAILABLE"
    )
    assert told.wake_at == due_at
    assert offered(machine) == ["RETRY a"], "a person need not wait for it"


def test_a_paused_target_is_told_from_a_failure() -> None:
    machine = started(plan(step("a")))
    machine.reply("a", "UNIMPLEMENTED")
    assert kinds(machine) == [WaitKind.TARGET]
    assert "target service is paused, after UNIMPLEMENTED" in summary(machine)


def test_an_open_call_names_target_attempt_and_deadline() -> None:
    machine = started(plan(step("a")))
    told = summary(machine)
    assert told.startswith(f"the call of step a is open at service since {instant(BEGIN_AT)}, attempt 1, until ")


def test_a_child_under_way_is_no_mere_call() -> None:
    machine = started(plan(child("trip", of="travel")))
    assert kinds(machine) == [WaitKind.CHILD]
    assert "step trip is a child saga of travel, under way since" in summary(machine)


def test_a_drain_says_until_when_the_call_may_still_run() -> None:
    machine = started(plan(step("a")))
    machine.reply("a", report("UNAVAILABLE", phase=Phase.SENT))
    (found,) = waits_of(machine.state)
    assert (found.kind, found.until_at) == (WaitKind.DRAIN, BEGIN_AT + 10 + CLOCK_SKEW_S)
    assert explain(machine.state, machine.at).wake_at == found.until_at


def test_a_paused_saga_waits_for_a_person_to_resume_it() -> None:
    machine = started(plan(sleep("nap")))
    machine.tell(PauseSaga(audit=AUDIT))
    told = explain(machine.state, machine.at)
    assert told.summary.startswith("the saga is paused: nothing new begins until it is resumed")
    assert told.wake_at is None
    assert offered(machine) == ["RESUME"]


def test_a_cancel_that_waits_for_its_pivot_says_so() -> None:
    pivot = replace(step("b", "a", no_undo=True), kind=StepKind.PIVOT)
    machine = started(plan(step("a"), pivot))
    machine.reply("a")
    machine.cancel("no longer wanted")
    assert kinds(machine) == [WaitKind.PIVOT, WaitKind.CALL]
    assert "whether the pivot b was applied" in summary(machine)


def test_a_stuck_undo_is_told_with_its_reason_and_its_verbs() -> None:
    machine = undo_refused()
    assert "the undo of step a is stuck: UNDO_REFUSED" in summary(machine)
    assert offered(machine) == [
        "RETRY a",
        "RESOLVE a APPLIED",
        "SKIP a",
        "OVERRIDE_REQUEST a",
        "TERMINATE",
    ]
    (entry,) = attention_of(machine.state)
    assert (entry.reason, entry.step, entry.operation) == (AttentionReason.UNDO_REFUSED, "a", Operation.COMPENSATE)
    assert any("it is being undone because" in remark for remark in explain(machine.state, machine.at).remarks)


def test_an_undecided_pivot_can_be_resolved_either_way_and_not_be_passed_over() -> None:
    assert offered(pivot_unknown()) == [
        "RETRY b",
        "RESOLVE b APPLIED",
        "RESOLVE b NOT_APPLIED",
        "CANCEL",
        "TERMINATE",
    ]


def test_a_retry_that_may_do_twice_says_so() -> None:
    def warned(machine: Machine) -> bool:
        found = explain(machine.state, machine.at).possible
        return "may then be done twice" in next(each.message for each in found if each.verb == "RETRY")

    assert warned(pivot_unknown())
    assert not warned(undo_refused())
    assert not warned(asks())


def test_an_undo_without_a_request_can_be_overridden_and_not_be_retried() -> None:
    machine = unrenderable()
    assert "OVERRIDE_REQUEST a" in offered(machine)
    assert "RETRY a" not in offered(machine)


def test_what_is_tried_on_and_on_is_attention_without_being_stuck() -> None:
    machine = retrying()
    (entry,) = attention_of(machine.state)
    assert (entry.reason, entry.operation) == (AttentionReason.RETRYING, None)
    assert f"has failed {ALERT_ATTEMPTS} times" in entry.message


def test_an_overdue_undo_asks_for_a_person_about_the_saga_as_a_whole() -> None:
    machine = started(plan(step("a"), step("b", "a"), compensation_s=5.0))
    machine.reply("a")
    machine.reply("b", "FAILED_PRECONDITION")
    machine.pass_time(6.0)
    (entry,) = attention_of(machine.state)
    assert (entry.reason, entry.step) == (AttentionReason.COMPENSATION_OVERDUE, None)


def test_a_stuck_item_is_named_by_its_path() -> None:
    machine = started(plan(each(step("a"), 3, parallel=1), step("b", "a")))
    for index in range(3):
        answer(machine, f"a[{index}]", Operation.FORWARD, "OK")
    machine.reply("b", "FAILED_PRECONDITION")
    answer(machine, "a[2]", Operation.COMPENSATE, "FAILED_PRECONDITION")
    (entry,) = attention_of(machine.state)
    assert entry.step == "a[2]"
    assert "RETRY a[2]" in offered(machine)


def answer(machine: Machine, path: str, operation: Operation, code: str) -> None:
    of = operation_of(machine.state.step(StepId(path)), operation)
    assert of is not None
    told = AttemptReported(step=StepId(path), operation=operation, attempt=of.attempts, report=report(code))
    machine.tell(told)


def test_an_explanation_is_bounded() -> None:
    machine = started(plan(*[sleep(f"nap{n}") for n in range(EXPLAINED_MAX + 5)]))
    assert len(waits_of(machine.state)) == EXPLAINED_MAX
    assert f"and {EXPLAINED_MAX - 1} more" in summary(machine)


def test_items_and_signals_that_wait_are_remarked_on() -> None:
    machine = started(plan(each(step("a"), 7), wait("later", "a", signal="go")))
    machine.tell(SignalSaga(signal="go", request_id="1", payload=Payload("Signal", b"")))
    remarks = explain(machine.state, machine.at).remarks
    assert "step a has begun 2 of 7 items: 0 applied, 0 failed, 2 under way" in remarks
    assert "1 of signal go have come and wait for a step to take them" in remarks


def test_a_part_that_is_undone_while_the_rest_goes_on_is_remarked_on() -> None:
    machine = started(
        plan(
            scope("part", members=["a", "b"], otherwise=["c"]),
            inside("part", step("a")),
            inside("part", step("b", "a")),
            inside("part", step("c")),
        )
    )
    machine.reply("a")
    machine.reply("b", "FAILED_PRECONDITION")
    assert any("a part of it is being undone" in remark for remark in explain(machine.state, machine.at).remarks)


def test_an_answer_that_says_not_yet_is_no_failure() -> None:
    polled = replace(step("a"), poll=Poll(until=lambda _facts: False, every_s=5.0, at_most_s=60.0))
    machine = started(plan(polled))
    machine.reply("a")
    assert kinds(machine) == [WaitKind.POLL]
    assert (
        summary(machine)
        == f"the call of step a was answered, not yet as wanted; asked again at {instant(BEGIN_AT + 5)}"
    )
    assert offered(machine) == []


def test_past_its_pivot_a_saga_says_that_it_can_only_succeed() -> None:
    pivot = replace(step("p", no_undo=True), kind=StepKind.PIVOT)
    machine = started(plan(pivot, replace(step("z", "p", no_undo=True), kind=StepKind.RETRIABLE))).replies("p")
    assert "it is past its pivot p: it can only succeed now" in explain(machine.state, machine.at).remarks


def test_a_signal_that_was_taken_is_remarked_on_no_more() -> None:
    machine = started(plan(wait("w", signal="go"), sleep("nap", "w")))
    machine.tell(SignalSaga(signal="go", request_id="1", payload=Payload("Signal", b"")))
    assert not any("signal go" in remark for remark in explain(machine.state, machine.at).remarks)


def test_a_saga_that_nothing_holds_is_about_to_move() -> None:
    machine = Machine(plan(step("a")))
    machine.is_draining = True  # its process is about to stop, and begins nothing any more
    machine.start()
    assert summary(machine) == "nothing holds it: it is about to move"


def test_an_ended_saga_says_how_and_why() -> None:
    machine = started(plan(step("a")))
    machine.reply("a", "FAILED_PRECONDITION")
    told = explain(machine.state, machine.at)
    assert told.summary.startswith("it has ended COMPENSATED at ")
    assert "because it said FAILED_PRECONDITION" in told.summary
    assert (told.waits, told.wake_at, told.possible) == ((), None, ())


def test_a_terminated_saga_says_what_is_still_there() -> None:
    machine = undo_refused()
    machine.tell(TerminateSaga(audit=AUDIT))
    assert "what it did and did not undo is still there: a" in explain(machine.state, machine.at).remarks


def test_what_a_person_left_is_remarked_on() -> None:
    machine = started(plan(step("a"), step("b"), step("c", "a", "b")))
    machine.replies("a", "b")
    machine.reply("c", "FAILED_PRECONDITION")
    machine.reply("a.undo", "FAILED_PRECONDITION")
    machine.tell(SkipStep(audit=AUDIT, step=A))
    assert "a person said that the effects of a stay" in explain(machine.state, machine.at).remarks


COMMANDS: dict[str, Callable[[StepId, Outcome | None], Command]] = {
    "RETRY": lambda step_id, _: RetryStep(audit=AUDIT, step=step_id),
    "RESOLVE": lambda step_id, outcome: ResolveStep(audit=AUDIT, step=step_id, outcome=outcome or Outcome.APPLIED),
    "SKIP": lambda step_id, _: SkipStep(audit=AUDIT, step=step_id),
    "OVERRIDE_REQUEST": lambda step_id, _: OverrideStepRequest(audit=AUDIT, step=step_id, request=Payload("Do", b"x")),
    "FORCE_COMPLETE": lambda *_: ForceComplete(audit=AUDIT),
    "TERMINATE": lambda *_: TerminateSaga(audit=AUDIT),
    "RESUME": lambda *_: ResumeSaga(audit=AUDIT),
    "CANCEL": lambda *_: CancelSaga(reason="no"),
}


def test_a_cancel_while_the_pivot_is_stuck_waits_for_the_person() -> None:
    machine = pivot_unknown()
    machine.cancel("no longer wanted")
    assert kinds(machine) == [WaitKind.PERSON, WaitKind.PIVOT]
    machine.tell(ResolveStep(audit=AUDIT, step=B, outcome=Outcome.NOT_APPLIED))
    machine.reply("a.undo")
    assert machine.status is SagaStatus.COMPENSATED


@pytest.mark.parametrize("stuck", [undo_refused, asks, unrenderable])
def test_a_saga_may_end_over_the_head_of_a_stuck_step(stuck: Callable[[], Machine]) -> None:
    machine = stuck()
    machine.tell(TerminateSaga(audit=AUDIT))  # the machine's invariants are checked with every command
    assert machine.status is SagaStatus.TERMINATED


@pytest.mark.parametrize("stuck", [undo_refused, pivot_unknown, asks, unrenderable, retrying])
def test_every_verb_that_is_offered_is_taken_and_every_other_is_refused(stuck: Callable[[], Machine]) -> None:
    machine = stuck()
    found = explain(machine.state, machine.at).possible
    assert found, "a saga that needs a person has something to offer"
    subject = next(each.step for each in found if each.step is not None)
    for verb, make in COMMANDS.items():
        for outcome in (Outcome.APPLIED, Outcome.NOT_APPLIED) if verb == "RESOLVE" else (None,):
            again = stuck()
            again.tell(make(subject, outcome))
            offers = [
                each for each in found if each.verb == verb and each.outcome == outcome and is_about(each, subject)
            ]
            is_idle = verb in {"RESUME", "CANCEL"} and not offers  # they change nothing here, and are no error
            assert is_idle or bool(offers) == (again.rejected is None), (verb, outcome, again.rejected)


def is_about(offer: Possible, subject: StepId) -> bool:
    return offer.step is None or offer.step == subject


def test_nothing_is_said_of_a_saga_that_has_not_begun() -> None:
    told = explain(Machine(plan(step("a"))).state, 0.0)
    assert (told.summary, told.waits, told.possible) == ("it has not begun", (), ())


def test_an_instant_beyond_the_calendar_has_a_word() -> None:
    assert instant(1e30) == "the end of time"
