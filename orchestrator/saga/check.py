"""The invariants of one saga, one short function each, numbered as in `docs/design/machine.md`.

They hold after every decision: the events of one decision are appended together or not at all. `check(state)`
runs them all, in tests and simulation; `check_steps(state, steps)` runs them over the steps that an append has
touched, after every append in production, where it must cost no more than the append did.
Violations raise `InvariantViolated`, not `assert`, so that `python -O` cannot remove them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile

from orchestrator.errors import InvariantViolated
from orchestrator.ids import StepId, idempotency_key
from orchestrator.saga.events import SettleReason
from orchestrator.saga.frontier import can_begin
from orchestrator.saga.owed import owes
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.saga.state import OperationState, SagaState, SagaStatus, StepState, StepStatus, operations_of
from orchestrator.saga.undoorder import comes_before, latest_first, remaining

# Named once: looking up a member of an enumeration costs as much as ten comparisons.
_STOP, _APPLIED, _UNDONE = Operation.STOP, Outcome.APPLIED, StepStatus.UNDONE
Operations = Sequence[tuple[Operation, OperationState]]
"""The operations that a step has had so far, as `operations_of` tells them."""

_TO_GO_ON = frozenset({SagaStatus.RUNNING, SagaStatus.COMPENSATING, SagaStatus.NEEDS_ATTENTION})
_TOLD = frozenset({SagaStatus.NEEDS_ATTENTION, SagaStatus.TERMINATED, SagaStatus.COMPLETED})
_HAS_EFFECT = frozenset({Outcome.APPLIED, Outcome.UNKNOWN})
_CALLING = frozenset({StepStatus.IN_FLIGHT, StepStatus.WAITING, StepStatus.PROBING, StepStatus.UNDOING})
_ROUNDING_S = 1e-6


def check(state: SagaState, *, is_draining: bool = True) -> None:
    """Check every invariant over the whole saga; see `check_steps`."""
    check_steps(state, state.steps, is_draining=is_draining)


def check_steps(state: SagaState, steps: Iterable[StepId], *, is_draining: bool = True) -> None:
    """Check the saga's own invariants, and those of the named steps and items.

    `is_draining`: whoever decided may have been about to stop, as whoever wrote what is read back may have been.
    """
    for rule in _SAGA_RULES[state.status]:
        rule(state)
    if state.status in _TO_GO_ON:
        waits_for_something(state, is_draining=is_draining)
    for path in steps:
        step = state.step(path)
        open_ones: list[tuple[Operation, OperationState]] = []
        for each in operations_of(step):
            attempts_are_dense(state, step, each[1])
            if each[1].open is not None:
                open_ones.append(each)
        if open_ones:
            for open_rule in OPEN_RULES:
                open_rule(state, step, open_ones)
        if step.undo is not None or step.status is _UNDONE:
            undo_needs_an_effect(state, step)
        for step_rule in _STATUS_RULES.get(step.status, ()):
            step_rule(state, step)
        if step.outcome is not None:
            undo_is_stored(state, step)


def terminal_owes_nothing(state: SagaState) -> None:
    """M1: a terminal saga owes nothing, which is what `owed` says of it, and so nothing of it is live."""
    if state.live:
        raise _violated("M1", state, f"{state.status.value}, yet {sorted(state.live)} is live")


def waits_for_something(state: SagaState, *, is_draining: bool) -> None:
    """M8: a saga that is not terminal owes something or names what it waits for."""
    if state.is_paused or owes(state):
        return
    if not state.is_backward and can_begin(state):
        if is_draining:
            return  # left by a process about to stop to the one that comes after it
    elif any(state.step(path).status is StepStatus.WAITING for path in state.live):
        return  # for a signal, past the pivot, where no deadline bounds it
    if state.status is not SagaStatus.NEEDS_ATTENTION or not state.attention:
        raise _violated("M8", state, f"{state.status.value}, yet nothing is owed and nobody was asked")


def backward_has_a_cause(state: SagaState) -> None:
    """M6: going backward has a cause and a beginning, and does not happen past the pivot."""
    if state.cause is None or state.compensation_began_at is None:
        raise _violated("M6", state, f"{state.status.value} without a cause")
    if state.is_past_pivot:
        raise _violated("M6", state, f"{state.status.value} past the pivot {state.plan.pivot}")


def forward_has_no_cause(state: SagaState) -> None:
    """M6, the other half: what goes forward, or came to its good end so, has no cause to go backward."""
    if state.cause is not None:
        raise _violated("M6", state, f"{state.status.value} with a cause")


def nothing_is_left(state: SagaState) -> None:
    """M13, the machine's half: COMPENSATED means that every step with an undo is undone or never took place."""
    if remaining(state):
        raise _violated("M13", state, f"compensated, yet {[s.id for s in remaining(state)]} is left")


def calls_match_status(state: SagaState, step: StepState, open_ones: Operations) -> None:
    """M2, M3: a step has at most one open attempt, and only a calling status has one."""
    # Asking for a long-running operation to stop goes beside asking how it is doing, and outlives it.
    serious = open_ones if step.stop is None else [each for each in open_ones if each[0] is not _STOP]
    if len(serious) > 1:
        raise _violated("M2", state, f"step {step.id} has calls open for {', '.join(kind for kind, _ in serious)}")
    if serious and step.status not in _CALLING:
        raise _violated("M3", state, f"step {step.id} is {step.status.value} with a call open")


def undo_needs_an_effect(state: SagaState, step: StepState) -> None:
    """M4: an undo exists only where the step was APPLIED or UNKNOWN, and only for a step that has one."""
    if step.outcome not in _HAS_EFFECT or not state.plan.step_of(step.id).is_undoable:
        raise _violated("M4", state, f"step {step.id} is undone with outcome {step.outcome}")


def undo_in_order(state: SagaState, step: StepState) -> None:
    """M5: an undo under way has no step left that must be undone before it.

    Where an author's own order contradicts itself the machine falls back to the order of completion, so that plans
    with an order of their own are judged by the oracle in the tests instead.
    """
    if state.plan.has_own_order or step.id not in state.steps:
        return
    if step.id in state.ahead:
        return  # begun while only a part of the saga was being undone
    roots = [None] if state.is_backward else [root for root, part in state.rollbacks.items() if step.id in part.steps]
    late: list[StepId] = []
    for root in roots:
        # What ended before it comes after it, so that of 1,000 steps few need be looked at.
        later = takewhile(lambda each: each.settled_version > step.settled_version, latest_first(state, root))
        late += [each.id for each in later if comes_before(state, each, step)]
    if late:
        raise _violated("M5", state, f"step {step.id} is being undone before {late}")


def undo_is_stored(state: SagaState, step: StepState) -> None:
    """M7: a step that may have to be undone has its request stored, or says that it could not be rendered."""
    if step.undo_request is not None or step.outcome is not _APPLIED or step.items is not None:
        return
    if not state.plan.step_of(step.id).is_undoable or step.settle_reason is SettleReason.UNDO_NOT_RENDERED:
        return
    if not (state.is_past_pivot or state.is_at_pivot):
        raise _violated("M7", state, f"step {step.id} was applied and has no undo request")


def attempts_are_dense(state: SagaState, step: StepState, operation: OperationState) -> None:
    """M9: attempts are numbered 1..n; an open one is the last; those that count are not more than those there were."""
    attempts, is_open = operation.attempts, operation.open
    wrong = operation.spent > attempts or (is_open is not None and is_open.number != attempts)
    # None at all has what was reopened with another request, and has no key until it is sent.
    if wrong or (attempts < 1 and operation.key):
        raise _violated("M9", state, f"step {step.id} has attempts out of order")


def keys_are_derived(state: SagaState, step: StepState, open_ones: Operations) -> None:
    """M10: a key that is sent is a function of saga, step, operation and manual epoch."""
    for kind, operation in open_ones:
        if operation.key != idempotency_key(state.uid, step.id, kind, operation.manual_epoch):
            raise _violated("M10", state, f"{kind.value} of step {step.id} has key {operation.key}")


def epochs_do_not_fall(state: SagaState, step: StepState, open_ones: Operations) -> None:
    """M11: no attempt is open under an epoch later than the saga's, which is the highest ever seen."""
    for _, operation in open_ones:
        if operation.open is not None and operation.open.epoch > state.epoch:
            raise _violated("M11", state, f"step {step.id} is at epoch {operation.open.epoch} of {state.epoch}")


def deadlines_nest(state: SagaState, step: StepState, _open_ones: Operations) -> None:
    """M12: a forward attempt ends no later than the saga's forward deadline."""
    forward, limit_at = step.forward, state.forward_deadline_at + _ROUNDING_S
    if forward is None or forward.open is None or forward.open.deadline_at <= limit_at or state.is_past_pivot:
        return
    pivot = state.plan.pivot
    if pivot is None or step.id == pivot or state.steps[pivot].forward is None:
        # What runs beside the pivot may have to outlast it; all else may not.
        raise _violated("M12", state, f"step {step.id} may run past the saga's deadline")


def stuck_was_told(state: SagaState, step: StepState) -> None:
    """R24: a stuck step is never silent, until a person ends the saga over its head."""
    told = state.status in _TOLD
    if step.stuck is None or not told:
        raise _violated("R24", state, f"step {step.id} is stuck ({step.stuck}) and the saga is {state.status.value}")


_SAGA_RULES: Mapping[SagaStatus, tuple[Callable[[SagaState], None], ...]] = {
    SagaStatus.QUEUED: (),
    SagaStatus.RUNNING: (forward_has_no_cause,),
    SagaStatus.COMPENSATING: (backward_has_a_cause,),
    SagaStatus.NEEDS_ATTENTION: (),
    SagaStatus.COMPLETED: (terminal_owes_nothing, forward_has_no_cause),
    SagaStatus.COMPENSATED: (terminal_owes_nothing, backward_has_a_cause, nothing_is_left),
    SagaStatus.TERMINATED: (terminal_owes_nothing,),
}
"""What binds a saga in each status; M8 binds it while it is to go on."""
OPEN_RULES: tuple[Callable[[SagaState, StepState, Operations], None], ...] = (
    calls_match_status,
    keys_are_derived,
    epochs_do_not_fall,
    deadlines_nest,
)
_STATUS_RULES: Mapping[StepStatus, tuple[Callable[[SagaState, StepState], None], ...]] = {
    StepStatus.UNDOING: (undo_in_order,),
    StepStatus.STUCK: (stuck_was_told,),
}
"""What binds a step in one status alone."""


def _violated(number: str, state: SagaState, what: str) -> InvariantViolated:
    return InvariantViolated(number, f"saga {state.saga_id!r} at version {state.version}: {what}; please report this")
