"""The plan of an undo is what undoing then does: the same calls, keys, requests and order; it changes nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.errors import InvariantViolated, Rejected
from orchestrator.ids import StepId
from orchestrator.limits import CLOCK_SKEW_S, UNDO_PLAN_CALLS_MAX
from orchestrator.saga import blank, fold
from orchestrator.saga.commands import AttemptReported, Audit, PauseSaga, SkipStep, UndoChild
from orchestrator.saga.events import AttemptOpened, Parent, Phase, RetryScheduled
from orchestrator.saga.plan import Answer, Await, Operation, Outcome, Plan, Probe, Step, StepKind
from orchestrator.saga.state import SagaStatus, operation_of
from orchestrator.saga.undoplan import StayingReason, UndoPlan, undo_plan
from orchestrator.testing.shorthand import fails, plan, retry, step
from tests.kit.machine import UID, Machine, report, started
from tests.kit.parts import each, inside, scope, sleep

A = StepId("a")
CUT = report("CANCELLED", phase=Phase.SENT)


def planned(machine: Machine) -> UndoPlan:
    before = machine.state
    found = undo_plan(machine.state, machine.at)
    assert isinstance(found, UndoPlan)
    assert machine.state is before
    return found


def waves(found: UndoPlan) -> list[list[str]]:
    most = max((call.wave for call in found.calls), default=0)
    return [[call.step for call in found.calls if call.wave == wave] for wave in range(1, most + 1)]


def tell(machine: Machine, path: StepId, operation: Operation, code: str) -> None:
    of = operation_of(machine.state.step(path), operation)
    assert of is not None
    said = CUT if code == "CANCELLED" else report(code)
    machine.tell(AttemptReported(step=path, operation=operation, attempt=of.attempts, report=said))


def undo_in_earnest(machine: Machine) -> list[AttemptOpened]:
    """Cancel, cut what is open, answer every undo OK, let time pass where nothing else moves; return the undos."""
    seen = len(machine.events)
    machine.cancel()
    for _ in range(1_000):
        if machine.state.is_terminal:
            break
        opened = machine.calls
        if not opened:
            assert machine.timers, "it would never end"
            machine.pass_time(machine.timers[0][0] - machine.at)
        for call in opened:
            is_undo = call.operation is Operation.COMPENSATE
            tell(machine, call.step, call.operation, "OK" if is_undo else "CANCELLED")
    new = machine.events[seen:]
    return [one for one in new if isinstance(one, AttemptOpened) and one.operation is Operation.COMPENSATE]


def chain() -> Machine:
    return started(plan(step("a"), step("b", "a"), step("c", "b"), step("d", "c"))).replies("a", "b", "c")


def fan() -> Machine:
    return started(plan(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c"))).replies("a", "b", "c")


def own_order() -> Machine:
    steps = [step("a", undo_first=True), step("b", undo_after=["c"]), step("c"), step("d", "a", "b", "c")]
    return started(plan(*steps)).replies("a", "c", "b")


def sequential() -> Machine:
    return started(plan(step("a"), step("b"), step("c", "a", "b"), sequential=True)).replies("a", "b")


def items() -> Machine:
    machine = started(plan(each(step("a"), 5, parallel=2), step("b", "a")))
    for index in range(5):
        tell(machine, StepId(f"a[{index}]"), Operation.FORWARD, "OK")
    return machine


def scoped() -> Machine:
    machine = started(
        plan(
            step("x"),
            scope("part", "x", members=["a", "b"]),
            inside("part", step("a")),
            inside("part", step("b", "a")),
            sleep("nap", "part"),
        )
    )
    return machine.replies("x", "a", "b")


@pytest.mark.parametrize("make", [chain, fan, own_order, sequential, items, scoped])
def test_the_plan_is_what_a_cancel_then_does(make: Callable[[], Machine]) -> None:
    machine = make()
    found = planned(machine)
    assert found.calls
    assert found.omitted == 0
    done = undo_in_earnest(machine)
    assert machine.status is SagaStatus.COMPENSATED
    assert {(call.step, call.key, call.request) for call in found.calls} == {
        (one.step, one.key, one.request) for one in done
    }
    first = {one.step: position for position, one in enumerate(done)}
    for wave in waves(found)[1:]:
        earlier = [call.step for call in found.calls if call.wave < next(c.wave for c in found.calls if c.step in wave)]
        assert min(first[StepId(path)] for path in wave) > min(first[path] for path in earlier)
    for call in found.calls:
        assert call.call.method == f"test.Service/undo_{call.step.partition('[')[0]}"


def test_waves_follow_the_reverse_of_completion() -> None:
    assert waves(planned(chain()))[-3:] == [["c"], ["b"], ["a"]]
    assert waves(planned(fan())) == [["d"], ["c", "b"], ["a"]]


def test_an_open_call_is_undone_to_be_sure_once_it_is_over() -> None:
    machine = chain()
    found = planned(machine)
    (last,) = [call for call in found.calls if call.step == "d"]
    assert (last.outcome, last.wave) == (Outcome.UNKNOWN, 1)
    assert last.not_before_at == machine.at + 10.0 + CLOCK_SKEW_S
    assert all(call.outcome is Outcome.APPLIED and call.not_before_at is None for call in found.calls if call != last)
    assert found.conditions == (
        "calls whose end is not known yet are undone to be sure, or found not to have taken place: d",
    )


def test_what_has_no_undo_stays_and_what_was_not_done_does_not() -> None:
    machine = started(plan(step("a", no_undo=True), step("r", read=True), sleep("nap", "a", "r"), step("z", "nap")))
    machine.replies("a", "r")
    found = planned(machine)
    assert found.calls == ()
    assert [(stay.step, stay.reason) for stay in found.stays] == [("a", StayingReason.NO_UNDO)]


def test_behind_an_undo_that_is_stuck_the_rest_stays() -> None:
    machine = started(plan(step("a"), step("b", "a"), step("c", "b"))).replies("a", "b")
    machine.reply("c", "FAILED_PRECONDITION")
    machine.reply("b.undo", "FAILED_PRECONDITION")
    found = planned(machine)
    assert found.calls == ()
    assert [(stay.step, stay.reason) for stay in found.stays] == [
        ("a", StayingReason.HELD_BACK),
        ("b", StayingReason.STUCK),
    ]
    machine.tell(SkipStep(audit=Audit(by="ann", reason="left"), step=StepId("b")))
    assert [(stay.step, stay.reason) for stay in planned(machine).stays] == [("b", StayingReason.LEFT)]


def test_an_undo_that_cannot_be_rendered_would_be_stuck() -> None:
    machine = started(plan(step("a", undo=fails, policy=retry(1)), step("b")))
    machine.reply("b")
    found = planned(machine)
    assert [(stay.step, stay.reason) for stay in found.stays] == [("a", StayingReason.STUCK)]


def test_an_undo_under_way_is_told_with_its_attempts_and_its_time() -> None:
    machine = started(plan(step("a"), step("b", "a"))).replies("a")
    machine.reply("b", "FAILED_PRECONDITION")
    machine.reply("a.undo", "UNAVAILABLE")
    (call,) = planned(machine).calls
    undo = machine.state.steps[A].undo
    assert undo is not None
    assert (call.attempts, call.not_before_at, call.key) == (1, undo.retry_at, undo.key)
    assert "the saga is being undone already; this is what is left of it" in planned(machine).conditions


def test_a_paused_saga_is_planned_as_if_resumed_and_says_so() -> None:
    machine = chain()
    machine.tell(PauseSaga(audit=Audit(by="ann", reason="look")))
    found = planned(machine)
    assert waves(found)[-1] == ["a"]
    assert "the saga is paused: nothing of this happens until it is resumed" in found.conditions


@pytest.mark.parametrize("is_undo", [False, True])
def test_a_saga_whose_records_end_in_the_middle_of_a_decision_is_not_planned_but_told(*, is_undo: bool) -> None:
    machine = started(plan(step("a"), step("b", "a"))).replies("a")
    if is_undo:
        machine.reply("b", "FAILED_PRECONDITION")
    machine.reply("a.undo" if is_undo else "b", "ABORTED")
    assert isinstance(machine.events[-1], RetryScheduled)
    cut_off = fold(blank(machine.plan), machine.events[:-1])
    with pytest.raises(InvariantViolated, match="end in the middle of a decision"):
        undo_plan(cut_off, machine.at)


def with_pivot() -> Machine:
    pivot: Step = replace(step("p", "a", no_undo=True), kind=StepKind.PIVOT)
    after = replace(step("z", "p", no_undo=True), kind=StepKind.RETRIABLE)
    return started(plan(step("a"), pivot, after)).replies("a")


@pytest.mark.parametrize("answer", ["", "UNKNOWN", "DATA_LOSS", "UNIMPLEMENTED"])
def test_an_undecided_pivot_is_a_condition(answer: str) -> None:
    machine = with_pivot()
    if answer:
        machine.reply("p", answer)
    found = planned(machine)
    assert [call.step for call in found.calls] == ["a"]
    assert any("whether the pivot p is applied: if not, this holds" in one for one in found.conditions)


def test_past_its_pivot_and_at_its_end_a_saga_is_not_undone() -> None:
    machine = with_pivot().replies("p")
    refused = undo_plan(machine.state, machine.at)
    assert isinstance(refused, Rejected)
    assert refused.reason == "PAST_PIVOT"
    machine.replies("z")
    ended = undo_plan(machine.state, machine.at)
    assert isinstance(ended, Rejected)
    assert ended.reason == "TERMINAL_STATE"


def test_a_compensated_saga_is_not_undone_again() -> None:
    machine = started(plan(step("a")))
    machine.reply("a", "FAILED_PRECONDITION")
    ended = undo_plan(machine.state, machine.at)
    assert isinstance(ended, Rejected)
    assert ended.reason == "TERMINAL_STATE"


def test_a_child_that_has_completed_is_planned_as_its_parent_would_undo_it() -> None:
    machine = started(plan(step("a"), step("b", "a"))).replies("a", "b")
    assert machine.status is SagaStatus.COMPLETED
    parent = Parent(saga_id=machine.state.saga_id, uid=UID, step=A, trace_id=1, span_id=1)
    machine.state = replace(machine.state, parent=parent)
    assert waves(planned(machine)) == [["b"], ["a"]]
    machine.tell(UndoChild(reason="the parent failed"))
    assert [call.step for call in machine.calls] == ["b"]


def test_a_long_operation_is_stopped_and_planned_as_unknown() -> None:
    found = planned(awaiting())
    assert [(call.step, call.outcome) for call in found.calls] == [("a", Outcome.UNKNOWN)]


def awaiting() -> Machine:
    one = step("a")
    stop = replace(one.call, method="test.Service/stop_a")
    look = replace(one.call, method="test.Service/look_a", retry=retry(0))
    awaits = Await(read=lambda _facts: Answer(outcome=None), call=look, stop=stop, every_s=5.0)
    machine = started(plan(replace(one, awaits=awaits)))
    tell_ok(machine, Operation.FORWARD)
    tell_ok(machine, Operation.AWAIT)
    return machine


def tell_ok(machine: Machine, operation: Operation) -> None:
    machine.tell(AttemptReported(step=A, operation=operation, attempt=1, report=report("OK")))


def test_what_would_be_probed_first_is_told() -> None:
    one = step("a")
    probe = Probe(call=replace(one.call, method="test.Service/find_a"), read=lambda _facts: Answer(outcome=None))
    machine = started(plan(replace(one, probe=probe)))
    assert [(call.step, call.probed_first) for call in planned(machine).calls] == [("a", True)]
    machine.reply("a", CUT)
    assert machine.calls[0].operation is Operation.PROBE
    assert [(call.step, call.probed_first) for call in planned(machine).calls] == [("a", True)]
    plain = started(plan(step("a")))
    assert [call.probed_first for call in planned(plain).calls] == [False]


def many(count: int) -> Plan:
    return plan(each(step("a"), count, parallel=16), sleep("nap", "a", for_s=1.0))


def test_a_plan_is_cut_at_its_bound_and_says_how_much_is_left() -> None:
    machine = started(many(UNDO_PLAN_CALLS_MAX + 7))
    while machine.calls:
        tell(machine, machine.calls[0].step, Operation.FORWARD, "OK")
    found = planned(machine)
    assert (len(found.calls), found.omitted) == (UNDO_PLAN_CALLS_MAX, 7)
    assert found.calls[0].step == f"a[{UNDO_PLAN_CALLS_MAX + 6}]"
