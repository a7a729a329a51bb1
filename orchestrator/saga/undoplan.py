"""What undoing a saga would call now: found by rehearsing it on a copy, with the machine's own rules.

Nothing here knows an order of its own. The saga is cancelled in rehearsal, every call that is open comes to an end
that tells nothing, every undo is answered OK, and what the machine opens meanwhile, in which order, is the plan. So it
cannot differ from what a cancel does, but for what services answer in earnest.
"""

from collections.abc import Iterator
from enum import StrEnum
from itertools import islice

from orchestrator.errors import InvariantViolated, RequestError
from orchestrator.frozen import frozen
from orchestrator.ids import StepId, item_of
from orchestrator.limits import EXPLAINED_MAX, UNDO_PLAN_CALLS_MAX
from orchestrator.saga import backward, undoorder
from orchestrator.saga.commands import (
    AttemptReported,
    Audit,
    CancelSaga,
    Command,
    Moment,
    ResolveStep,
    ResumeSaga,
    TimerFired,
    UndoChild,
)
from orchestrator.saga.decide import decide, in_order
from orchestrator.saga.effects import Timer, TimerKind
from orchestrator.saga.events import Phase, Report
from orchestrator.saga.plan import Call, Operation, Outcome, StepKind
from orchestrator.saga.repair import may_have_an_effect
from orchestrator.saga.sentences import listed
from orchestrator.saga.state import (
    OperationState,
    SagaState,
    SagaStatus,
    StepState,
    StepStatus,
    is_undecided,
    operation_of,
)
from orchestrator.values import Payload

_CUT = Report(code="CANCELLED", phase=Phase.SENT, message="its end is not known yet")
_UNTOLD = Report(code="FAILED_PRECONDITION", phase=Phase.REPLIED, message="its end is not known yet")
_UNDONE = Report(code="OK", phase=Phase.REPLIED)
_ENDED_FIRST = (Operation.STOP, Operation.AWAIT, Operation.PROBE, Operation.FORWARD)
_NOBODY = Audit(by="?", reason="?")


@frozen
class PlannedUndo:
    """One call that would undo a step."""

    step: StepId
    """Its path."""
    wave: int
    """1, 2, 3, …; a wave's calls are made at the same time."""
    call: Call
    request: Payload
    key: str
    outcome: Outcome
    """APPLIED, or UNKNOWN: the step may not have been applied, and is undone to be sure."""
    not_before_at: float | None
    """Until then the call that it undoes may still be running (R12), or the undo waits to be tried again."""
    attempts: int
    """Of an undo that is under way already."""
    probed_first: bool


class StayingReason(StrEnum):
    """Why an effect stays."""

    NO_UNDO = "NO_UNDO"
    """Its definition says `compensate: none`."""
    LEFT = "LEFT"
    """A person said that it stays."""
    STUCK = "STUCK"
    """Its undo needs a person."""
    HELD_BACK = "HELD_BACK"
    """Its undo waits for one that needs a person."""


@frozen
class Staying:
    """An effect that undoing the saga would not remove."""

    step: StepId
    reason: StayingReason
    message: str


@frozen
class UndoPlan:
    """What undoing a saga would call, and what would stay."""

    calls: tuple[PlannedUndo, ...]
    """In order; at most `UNDO_PLAN_CALLS_MAX`."""
    omitted: int
    """How many further calls there are."""
    stays: tuple[Staying, ...]
    """At most `EXPLAINED_MAX`."""
    conditions: tuple[str, ...]
    """What the plan rests on, a sentence each."""


def undo_plan(state: SagaState, now_at: float) -> UndoPlan | RequestError:
    """Return what undoing the saga would call now; the refusal where it would not be undone."""
    rehearsal = _Rehearsal(state, now_at)
    refused = rehearsal.begin()
    if refused is not None:
        return refused
    rehearsal.end_forward()
    calls, is_whole = rehearsal.undo()
    ended = rehearsal.state
    omitted = 0
    if not is_whole:
        omitted = sum(1 if s.items is None else s.items.to_undo - s.items.stuck for s in undoorder.remaining(ended))
    stays = tuple(islice(_staying(ended, is_whole=is_whole), EXPLAINED_MAX))
    return UndoPlan(calls=tuple(calls), omitted=omitted, stays=stays, conditions=tuple(_conditions(state)))


class _Rehearsal:
    """A copy of the saga, a clock of its own, and services that answer as told."""

    def __init__(self, state: SagaState, now_at: float) -> None:
        self.began = state
        self.state = state
        self.now_at = self.at = max(now_at, state.updated_at)

    def tell(self, command: Command, epoch: int | None = None) -> RequestError | None:
        moment = Moment(at=self.at, entropy=0.5, epoch=self.state.epoch if epoch is None else epoch)
        decision = decide(self.state, command, moment)
        self.state = decision.state
        return decision.rejected

    def begin(self) -> RequestError | None:
        """Cancel the saga; undecided, its pivot was not applied."""
        if not self.state.is_backward:
            child = self.state.status is SagaStatus.COMPLETED and self.state.parent is not None
            refused = self.tell(
                UndoChild(reason="") if child and not self.state.is_past_pivot else CancelSaga(reason="")
            )
            if refused is not None:
                return refused
        elif self.state.is_terminal:
            return self.tell(CancelSaga(reason=""))
        if self.state.is_paused:
            self.tell(ResumeSaga(audit=_NOBODY))
        return None

    def end_forward(self) -> None:
        """Let everything that is still going forward come to an end; the bound is far above what any of it needs."""
        bound = 10 + 10 * len(self.state.live)
        for path in islice(iter(self._undecided, None), bound):
            self._end(path)
        pivot = self.state.plan.pivot
        if pivot is not None and self.state.is_at_pivot:
            self.tell(ResolveStep(audit=_NOBODY, step=pivot, outcome=Outcome.NOT_APPLIED))

    def _undecided(self) -> StepId | None:
        return next((path for path in in_order(self.state) if is_undecided(self.state.step(path))), None)

    def _end(self, path: StepId) -> None:
        """End one operation of a step, or go on to the instant when there is one to end."""
        found = ((operation, operation_of(self.state.step(path), operation)) for operation in _ENDED_FIRST)
        owed = next(((kind, of) for kind, of in found if of is not None and (of.open or of.retry_at is not None)), None)
        if owed is None:
            raise self._broken_off(path)
        operation, of = owed
        if of.open is None:
            self._retry(path, operation, of)
            return
        known = operation is not Operation.FORWARD or path == self.state.plan.pivot
        self._report(path, operation, of, _UNTOLD if known else _CUT)

    def undo(self) -> tuple[list[PlannedUndo], bool]:
        """Answer every undo, wave by wave; return them, and whether they are all."""
        calls: list[PlannedUndo] = []
        wave = 0
        while True:
            begun = [self._planned(step.id, wave + 1) for step in self._undoing()]
            if not begun:
                drains = sorted((due_at, path) for path, due_at in backward.draining(self.state))
                if not drains:
                    return calls, True
                self.at = max(self.at, drains[0][0])
                self.tell(TimerFired(timer=Timer(TimerKind.DRAIN, drains[0][1])))
                continue
            wave += 1
            for planned in begun:
                if len(calls) == UNDO_PLAN_CALLS_MAX:
                    return calls, False
                calls.append(planned)
                self._undone(planned.step)

    def _undoing(self) -> list[StepState]:
        """Return what is being undone, latest completion first and the last item first, as the machine goes."""
        live = (self.state.step(path) for path in self.state.live)
        return sorted((step for step in live if step.status is StepStatus.UNDOING), key=self._place, reverse=True)

    def _place(self, step: StepState) -> tuple[int, int]:
        name, index = item_of(step.id)
        return self.state.steps[name].settled_version, index or 0

    def _undone(self, path: StepId) -> None:
        of = self.state.step(path).undo
        assert of is not None  # it is what is planned
        if of.open is None:
            self._retry(path, Operation.COMPENSATE, of)
            of = self.state.step(path).undo
        assert of is not None  # as above
        self._report(path, Operation.COMPENSATE, of, _UNDONE)

    def _report(self, path: StepId, operation: Operation, of: OperationState, report: Report) -> None:
        assert of.open is not None  # the callers have looked
        told = AttemptReported(step=path, operation=operation, attempt=of.open.number, report=report)
        self.tell(told, of.open.epoch)

    def _retry(self, path: StepId, operation: Operation, of: OperationState) -> None:
        if of.retry_at is None:
            raise self._broken_off(path)
        self.at = max(self.at, of.retry_at)
        self.tell(TimerFired(timer=Timer(TimerKind.RETRY, path, operation, of.attempts + 1)))

    def _broken_off(self, path: StepId) -> InvariantViolated:
        """Return what is raised where records are missing: no decision leaves a step under way with nothing owed."""
        status = self.state.step(path).status.value
        message = f"saga {self.state.saga_id!r}: step {path} is {status}, yet nothing of it is open or waits"
        return InvariantViolated("M8", f"{message}; its records end in the middle of a decision, restore them")

    def _planned(self, path: StepId, wave: int) -> PlannedUndo:
        step, before = self.state.step(path), self.began.find(path)
        of, plan_step = step.undo, self.state.plan.step_of(path)
        assert of is not None  # the step is being undone
        under_way = before is not None and before.undo is not None
        waits_until = of.retry_at if under_way else backward.drain_at(self.state, step)
        unsettled = before is None or before.outcome is None
        return PlannedUndo(
            step=path,
            wave=wave,
            call=plan_step.call_of(Operation.COMPENSATE),
            request=of.request,
            key=of.key,
            outcome=step.outcome or Outcome.UNKNOWN,
            not_before_at=waits_until if waits_until is not None and waits_until > self.now_at else None,
            attempts=of.attempts if under_way else 0,
            probed_first=unsettled and plan_step.probe is not None and step.outcome is Outcome.UNKNOWN,
        )


def _staying(state: SagaState, *, is_whole: bool) -> Iterator[Staying]:
    for step in state.everything():
        plan_step = state.plan.step_of(step.id)
        if step.items is not None or not isinstance(plan_step.body, Call) or plan_step.kind is StepKind.READ:
            continue
        if step.status is StepStatus.LEFT:
            yield Staying(step=step.id, reason=StayingReason.LEFT, message="a person said that its effect stays")
        elif step.status is StepStatus.STUCK:
            reason = step.stuck.value if step.stuck is not None else ""
            yield Staying(step=step.id, reason=StayingReason.STUCK, message=f"{reason}: {step.message}")
        elif not may_have_an_effect(state, step):
            continue
        elif not plan_step.is_undoable:
            yield Staying(step=step.id, reason=StayingReason.NO_UNDO, message="its definition says `compensate: none`")
        elif is_whole:
            message = "its undo waits for one that needs a person"
            yield Staying(step=step.id, reason=StayingReason.HELD_BACK, message=message)


def _conditions(state: SagaState) -> Iterator[str]:
    if state.is_backward:
        yield "the saga is being undone already; this is what is left of it"
    if state.is_paused:
        yield "the saga is paused: nothing of this happens until it is resumed"
    if state.is_at_pivot:
        pivot = state.plan.pivot
        yield f"nobody knows yet whether the pivot {pivot} is applied: if not, this holds; if so, nothing is undone"
    undecided = [path for path in in_order(state) if is_undecided(state.step(path)) and state.step(path).forward]
    if undecided:
        named = listed(undecided)
        yield f"calls whose end is not known yet are undone to be sure, or found not to have taken place: {named}"
