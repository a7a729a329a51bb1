"""Whether a path ended as every path must, and how to say in a few words what it left."""

from enum import StrEnum

from orchestrator.explore.world import Effects
from orchestrator.frozen import frozen, frozen_tuple
from orchestrator.ids import StepId
from orchestrator.saga import SagaState, SagaStatus, StepState, StepStatus
from orchestrator.saga.events import GOOD_REASONS
from orchestrator.saga.plan import Outcome, Scope, Sleep, StepKind, Wait


class Word(StrEnum):
    """What became of one step, for somebody who reads a table."""

    NOT_BEGUN = "-"
    DONE = "done"
    FAILED = "failed"
    """Not applied; nothing of it is there."""
    UNDONE = "undone"
    SKIPPED = "skipped"
    STAYS = "stays"
    """Applied, and not undone because the definition says that it has no undo."""
    UNKNOWN = "unknown"
    """Nobody knows whether it was applied."""
    STUCK = "asks"
    """A person decides."""
    OPEN = "open"


@frozen
class End:
    """How a path ended."""

    status: SagaStatus
    attention: tuple[str, ...]
    steps: tuple[tuple[StepId, Word], ...]


@frozen_tuple
class Flaw:
    """A path that did not end as every path must."""

    rule: str
    what: str
    path: tuple[str, ...]
    """The moves, first to last."""


def end_of(state: SagaState) -> End:
    """Return the end in words."""
    told = {step.id: word_of(state, step) for step in state.in_plan_order() if _has_a_story(state, step.id)}
    attention = tuple(dict.fromkeys(reason.value for reason in state.attention))
    return End(status=state.status, attention=attention, steps=tuple(told.items()))


def _has_a_story(state: SagaState, step: StepId) -> bool:
    return not isinstance(state.plan.steps[step].body, Sleep | Wait | Scope)


def word_of(state: SagaState, step: StepState) -> Word:
    """Return what became of a step."""
    plan_step = state.plan.steps[step.id]
    if step.status is StepStatus.PENDING:
        return Word.NOT_BEGUN
    if step.items is not None:
        return _word_of_items(state, step)
    if step.status is StepStatus.SKIPPED:
        return Word.SKIPPED
    if step.status is StepStatus.UNDONE:
        return Word.UNDONE
    if step.status is StepStatus.STUCK:
        return Word.STUCK
    if step.outcome is None:
        return Word.OPEN
    if step.outcome is Outcome.NOT_APPLIED:
        return Word.FAILED
    if step.outcome is Outcome.UNKNOWN:
        return Word.FAILED if plan_step.kind is StepKind.READ else Word.UNKNOWN
    if plan_step.kind is StepKind.READ or not state.is_backward:
        return Word.DONE if step.settle_reason in GOOD_REASONS else Word.FAILED
    return Word.STAYS


def _word_of_items(state: SagaState, step: StepState) -> Word:
    items = step.items
    assert items is not None  # the caller has looked
    if items.stuck:
        return Word.STUCK
    if items.to_undo or (items.applied and not state.is_backward):
        return Word.DONE
    return Word.UNDONE if state.is_backward and items.began else Word.FAILED


def flaw_of(state: SagaState, effects: Effects) -> tuple[str, str] | None:
    """Return the rule that an ended path breaks, and how; None where it ended as it must."""
    everything = list(state.everything())
    if state.status is SagaStatus.COMPENSATED:
        left = [s.id for s in everything if s.id in effects and state.plan.step_of(s.id).is_undoable]
        left = [path for path in left if state.step(path).status is not StepStatus.LEFT]
        return ("I4", f"the saga is COMPENSATED, yet the effect of {', '.join(left)} is there") if left else None
    if state.status is SagaStatus.COMPLETED:
        missing = [s.id for s in everything if s.items is None and _claims(state, s) and s.id not in effects]
        return ("I3", f"the saga is COMPLETED, yet {', '.join(missing)} never took place") if missing else None
    if state.status is SagaStatus.NEEDS_ATTENTION and state.attention:
        return None
    return "I35", f"nothing can happen any more to a saga that is {state.status.value}, and nobody was asked"


def _claims(state: SagaState, step: StepState) -> bool:
    """Return whether the saga holds a step's effect for real."""
    plan_step = state.plan.step_of(step.id)
    real = not isinstance(plan_step.body, Sleep | Wait | Scope) and plan_step.kind is not StepKind.READ
    return real and step.status is StepStatus.APPLIED
