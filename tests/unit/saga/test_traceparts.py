"""T9 by itself: when a part follows another, and what belongs to which."""

import pytest

from orchestrator.frozen import changed
from orchestrator.ids import StepId, part_trace_id
from orchestrator.limits import TRACE_PART_S_MAX
from orchestrator.saga.events import Cause, CauseKind, CompensationBegan, RollbackBegan, StepBegan
from orchestrator.saga.plan import Operation
from orchestrator.saga.state import Rollback
from orchestrator.saga.traceparts import (
    ONE_PART,
    TraceBounds,
    TraceParts,
    compensation_begins,
    rollback_begins,
    rollback_of,
    step_begins,
    steps_begin_anew,
    undo_begins,
)
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import UID, started

BEGIN_AT = 1_000.0
A, B, C = StepId("a"), StepId("b"), StepId("c")
CAUSE = Cause(kind=CauseKind.OPERATOR, message="")
SMALL = TraceParts(bounds=TraceBounds(part_s_max=10.0, part_records_max=100))


def begins(parts: TraceParts, step: StepId, after_s: float, version: int = 2) -> TraceParts:
    event = StepBegan(at=BEGIN_AT + after_s, step=step, due_at=None, count=None)
    return step_begins(parts, event, version, BEGIN_AT)


def rolls_back(parts: TraceParts, root: StepId, *inside: StepId, after_s: float = 1.0) -> TraceParts:
    event = RollbackBegan(at=BEGIN_AT + after_s, step=root, steps=inside, cause=CAUSE)
    return rollback_begins(parts, event, 3, BEGIN_AT)


@pytest.mark.parametrize(
    ("after_s", "version", "part"),
    [(0.0, 2, 1), (10.0, 2, 1), (10.1, 2, 2), (0.0, 100, 1), (0.0, 101, 2), (-5.0, 2, 1)],
)
def test_a_part_is_followed_when_something_begins_after_its_time_or_its_records(
    after_s: float, version: int, part: int
) -> None:
    assert begins(SMALL, A, after_s, version).part_of(A, Operation.FORWARD) == part


def test_each_part_has_the_same_time_and_the_same_records() -> None:
    parts = begins(SMALL, A, 11.0, 50)
    assert begins(parts, B, 21.0, 149).number == 2
    assert begins(parts, B, 21.1, 149).number == 3
    assert begins(parts, B, 21.0, 150).number == 3
    assert (parts.begin_at, parts.begin_version) == (BEGIN_AT + 11.0, 50)


def test_what_is_asked_for_a_step_and_its_items_is_in_its_part_and_what_began_before_stays() -> None:
    parts = begins(begins(SMALL, A, 1.0), B, 11.0)
    for operation in (Operation.FORWARD, Operation.AWAIT, Operation.PROBE, Operation.STOP):
        assert parts.part_of(A, operation) == parts.part_of(StepId("a[7]"), operation) == 1
        assert parts.part_of(B, operation) == parts.part_of(StepId("b[7]"), operation) == 2


def test_a_scopes_rollback_is_in_the_scopes_part_and_begins_none() -> None:
    parts = begins(begins(SMALL, A, 1.0), B, 11.0)
    after = rolls_back(parts, A, B, after_s=99.0)
    assert (after.number, after.rollbacks[A]) == (2, 1)


def test_what_is_run_again_is_undone_in_the_last_part_or_in_the_next() -> None:
    parts = begins(SMALL, A, 11.0)
    assert rolls_back(parts, A, A, B, after_s=12.0).rollbacks[A] == 2
    assert rolls_back(parts, A, A, B, after_s=99.0).rollbacks[A] == 3


def test_an_undo_stays_where_it_began_until_its_step_begins_anew() -> None:
    parts = rolls_back(begins(SMALL, A, 1.0), B, A, C)
    parts = undo_begins(parts, A, {B: Rollback(steps=frozenset({A, C}), cause=CAUSE)})
    late = CompensationBegan(at=BEGIN_AT + 99.0, cause=CAUSE, deadline_at=0.0)
    after = compensation_begins(parts, late, 9, BEGIN_AT)
    assert (after.part_of(A, Operation.COMPENSATE), after.part_of(C, Operation.COMPENSATE)) == (1, 2)
    anew = compensation_begins(steps_begin_anew(parts, (A, C)), late, 9, BEGIN_AT)
    assert anew.part_of(A, Operation.COMPENSATE) == 2
    other = steps_begin_anew(changed(parts, undos=parts.undos.set(StepId("d[1]"), 1)), (A,))
    assert dict(other.undos) == {StepId("d[1]"): 1}


def test_of_two_rollbacks_the_later_one_holds_what_is_in_both() -> None:
    outer, inner = Rollback(steps=frozenset({A, B}), cause=CAUSE), Rollback(steps=frozenset({A}), cause=CAUSE)
    assert rollback_of({C: outer, B: inner}, A) == B
    assert rollback_of({B: inner, C: outer}, StepId("a[3]")) == C
    assert rollback_of({C: outer, B: inner}, C) is None


def test_a_saga_of_one_part_needs_no_memory_of_it() -> None:
    assert begins(ONE_PART, A, 86_400.0, 10_000) is ONE_PART


def test_a_call_that_lasts_for_days_stays_in_its_steps_part_and_what_begins_after_it_is_in_the_next() -> None:
    machine = started(plan(step("a", timeout_s=1e7), step("b", "a"), forward_s=1e7))
    machine.at += 3 * TRACE_PART_S_MAX
    machine.reply("a")
    assert [machine.state.trace_parts.part_of(each, Operation.FORWARD) for each in (A, B)] == [1, 2]
    assert [machine.state.trace_id_of(part) for part in (1, 2)] == [machine.state.trace.trace_id, part_trace_id(UID, 2)]
