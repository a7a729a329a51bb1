"""How what is owed differs, where no transcript looks: its order, timers that fired, and the timers that are left."""

from immutables import Map

from orchestrator.ids import StepId
from orchestrator.saga import blank, owed
from orchestrator.saga.effects import AbortCall, SendCall, SetTimer, Timer, TimerKind
from orchestrator.saga.events import touched
from orchestrator.saga.owed_since import NO_CHANGE, Change, owed_since, timers_after
from orchestrator.saga.plan import Operation
from orchestrator.testing.shorthand import items, plan, step
from tests.kit.machine import BEGIN_AT, started

A, B = StepId("a"), StepId("b")
DEADLINE = Timer(TimerKind.FORWARD_DEADLINE)
RETRY = Timer(TimerKind.RETRY, A, Operation.FORWARD, 2)


def test_to_one_who_has_performed_nothing_all_is_due_in_order() -> None:
    state = started(plan(step("b"), step("a"), forward_s=100)).state
    change = owed_since(None, state, ())
    assert [*change.due] == [
        SendCall(A, Operation.FORWARD, 1),
        SendCall(B, Operation.FORWARD, 1),
        SetTimer(DEADLINE, BEGIN_AT + 100),
    ]
    assert [*change.over] == []


def test_what_nobody_touched_is_not_looked_at() -> None:
    machine = started(plan(step("a"), step("b"), step("c", "a")))
    before = machine.state
    machine.replies("a")
    change = owed_since(before, machine.state, {StepId("c")})
    assert [*change.due] == [SendCall(StepId("c"), Operation.FORWARD, 1)]
    assert [*change.over] == []


def test_what_is_stopped_is_over_and_aborted_in_order() -> None:
    machine = started(plan(step("b"), step("a"), forward_s=100))
    before = machine.state
    events = machine.cancel()
    change = owed_since(before, machine.state, touched(events))
    assert [type(effect) for effect in change.due] == [SetTimer, AbortCall, AbortCall]
    assert [effect.step for effect in change.due if isinstance(effect, AbortCall)] == [A, B]
    assert [*change.over] == [SetTimer(DEADLINE, BEGIN_AT + 100)]


def test_items_that_nobody_touched_are_aborted_with_the_end_of_their_step() -> None:
    machine = started(plan(step("a", for_each=items(3), optional=True), step("b")))
    before = machine.state
    events = machine.reply("a[0]", "NOT_FOUND")
    assert touched(events) == {StepId("a"), StepId("a[0]")}
    change = owed_since(before, machine.state, touched(events))
    aborted = [effect.step for effect in change.due if isinstance(effect, AbortCall)]
    assert aborted == ["a[1]"]
    assert [*change.over] == [SendCall(StepId("a[0]"), Operation.FORWARD, 1)]


def test_a_timer_that_fired_too_early_is_due_again_and_only_once() -> None:
    machine = started(plan(step("a", idempotent=True), forward_s=100))
    machine.reply("a", "UNAVAILABLE")
    state = machine.state
    (due,) = [each for each in owed(state) if isinstance(each, SetTimer) and each.timer == RETRY]
    gone = [Timer(TimerKind.RETRY, path, Operation.FORWARD, 1) for path in (A, StepId("z[0]"))]
    early = owed_since(state, state, (), [RETRY, *gone, DEADLINE])
    assert [*early.due] == [due, SetTimer(DEADLINE, BEGIN_AT + 100)]
    assert [*early.over] == []
    assert [*owed_since(None, state, (), [RETRY]).due].count(due) == 1
    assert owed_since(state, state, (), ()) == Change([], [])
    calling = started(machine.plan).state
    assert owed_since(calling, calling, (), [RETRY]) == Change([], [])


def test_a_timer_of_a_saga_that_is_over_or_has_not_begun_is_not_due_again() -> None:
    machine = started(plan(step("a"))).replies("a")
    for state in (machine.state, blank(machine.plan)):
        assert [*owed_since(state, state, (), [DEADLINE]).due] == []


def test_the_timers_that_are_left_follow_from_the_change() -> None:
    timers = timers_after(Map(), Change([SetTimer(RETRY, 5.0), SetTimer(DEADLINE, 9.0)], []))
    assert dict(timers) == {RETRY: 5.0, DEADLINE: 9.0}
    moved = timers_after(timers, Change([SetTimer(RETRY, 6.0)], [SetTimer(RETRY, 5.0)]))
    assert dict(moved) == {RETRY: 6.0, DEADLINE: 9.0}
    call = SendCall(A, Operation.FORWARD, 2)
    over = timers_after(moved, Change([call], [call, SetTimer(RETRY, 6.0)]))
    assert dict(over) == {DEADLINE: 9.0}
    assert timers_after(over, Change([], [SetTimer(RETRY, 6.0)])) is over, "one that fired is gone already"
    assert timers_after(over, NO_CHANGE) is over
    assert not timers_after(moved, Change([], [SetTimer(RETRY, 6.0), SetTimer(DEADLINE, 9.0)]))
