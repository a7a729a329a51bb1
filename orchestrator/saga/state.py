"""The saga as its records tell it: frozen values, folded by `evolve`, never changed in place.

Invariants stand at the fields they bind; `check.py` enforces them under the same numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import field
from enum import StrEnum
from operator import attrgetter
from typing import Any
from uuid import UUID

from immutables import Map

from orchestrator.frozen import frozen
from orchestrator.ids import SagaId, StepId, item_of, item_path, part_trace_id
from orchestrator.limits import CLOCK_SKEW_S
from orchestrator.saga.events import AttentionReason, Cause, Parent, Report, SettleReason
from orchestrator.saga.memo import Memo
from orchestrator.saga.plan import COMPENSATE, FORWARD, PROBE, OnFailure, Operation, Outcome, Plan, Step, StepKind
from orchestrator.saga.traceparts import ONE_PART, TraceParts
from orchestrator.values import Attributes, Payload, TraceContext


class SagaStatus(StrEnum):
    """Where a saga is; waiting and paused are shown by the surfaces beside it, and are no statuses."""

    QUEUED = "QUEUED"
    """Nothing is recorded yet."""
    RUNNING = "RUNNING"
    COMPENSATING = "COMPENSATING"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"
    COMPLETED = "COMPLETED"
    COMPENSATED = "COMPENSATED"
    TERMINATED = "TERMINATED"
    """A person ended it as it was."""


class StepStatus(StrEnum):
    """Where a step is."""

    PENDING = "PENDING"
    IN_FLIGHT = "IN_FLIGHT"
    BACKING_OFF = "BACKING_OFF"
    PARKED = "PARKED"
    """Waiting for a paused target, at no cost in attempts."""
    WAITING = "WAITING"
    """Under way without a forward call: asleep, or waiting for a signal, a long-running operation, items or members."""
    PROBING = "PROBING"
    """The peer is asked whether a call whose outcome is UNKNOWN took place."""
    UNSETTLED = "UNSETTLED"
    """The forward call may or may not have been applied, and nobody asks any more."""
    APPLIED = "APPLIED"
    NOT_APPLIED = "NOT_APPLIED"
    SKIPPED = "SKIPPED"
    UNDOING = "UNDOING"
    UNDONE = "UNDONE"
    STUCK = "STUCK"
    """Only a person can say how it goes on; its forward operation where `outcome` is None, otherwise its undo."""
    LEFT = "LEFT"
    """A person said that its effect stays."""


@frozen
class AttemptState:
    """An attempt that has no end yet."""

    number: int
    epoch: int
    """M16: a report under another epoch changes nothing."""
    opened_at: float
    deadline_at: float
    """M12: never after the saga's forward deadline, for a forward attempt before the pivot."""


@frozen
class OperationState:
    """One operation of one step: its request, its attempts, and the fold of what they brought."""

    request: Payload
    """What every attempt sends, byte for byte."""
    key: str
    """M10: a function of saga, step, operation and manual epoch."""
    started_at: float
    attempts: int = 0
    """M9: the number of the last opened attempt; numbers are dense."""
    spent: int = 0
    """Attempts that count against the retry policy: not the parked, not the lost."""
    open: AttemptState | None = None
    """M2: at most one at a time."""
    retry_at: float | None = None
    """When the next attempt is due; None while one is open or the operation is over."""
    parked: bool = False
    manual_epoch: int = 0
    """How often a person had it run as new; part of the key."""
    unknown: bool = False
    """Some attempt ended UNKNOWN, so the peer may have applied it (R8a)."""
    polled: bool = False
    """Some answer was "not yet": the call has an effect, and is asked again until it is enough."""
    budget_at: float = 0.0
    """Since when its budget counts: its beginning, or when a person had it tried again."""
    drained_at: float = 0.0
    """The latest deadline of an attempt that ended UNKNOWN: until then (and the clock skew) it may still run (R12)."""
    late_at: float = 0.0
    """The same of those alone which no service has answered: such a one may not even have arrived yet (R8a)."""
    opened_at: float = 0.0
    """When the last attempt was opened."""
    last: Report | None = None

    @property
    def over_at(self) -> float:
        """Return since when none of the attempts that ended UNKNOWN can still be running (R12)."""
        return self.drained_at + CLOCK_SKEW_S if self.unknown else 0.0

    @property
    def arrived_at(self) -> float:
        """Return since when none of them can still arrive (R8a)."""
        return self.late_at + CLOCK_SKEW_S if self.unknown and self.late_at else 0.0


@frozen
class ItemsState:
    """How the items of a `for_each` step are doing: enough to go on without looking at each of them."""

    count: int
    began: int = 0
    """Items 0 … began - 1 have been begun, in that order."""
    under_way: int = 0
    """Of those, how many have not settled."""
    applied: int = 0
    """How many came to a good end."""
    failed: int = 0
    first_failed: StepId | None = None
    to_undo: int = 0
    """How many are settled and still to be undone, stuck ones included."""
    undo_next: int | None = None
    """The highest position whose undo is still to begin; None before the first undo."""
    undoing: int = 0
    stuck: int = 0
    """How many only a person can decide, forward or backward."""


@frozen
class StepState:
    """One step of one saga, or one item of a `for_each` step."""

    id: StepId
    """Its path."""
    status: StepStatus = StepStatus.PENDING
    forward: OperationState | None = None
    awaiting: OperationState | None = None
    probe: OperationState | None = None
    stop: OperationState | None = None
    undo: OperationState | None = None
    """M4: present only where the outcome is APPLIED or UNKNOWN."""
    outcome: Outcome | None = None
    """None until the step settles."""
    settle_reason: SettleReason | None = None
    code: str = ""
    message: str = ""
    reply: Payload | None = None
    undo_request: Payload | None = None
    """M7: rendered and stored when the step settles."""
    started_version: int = 0
    settled_version: int = 0
    """Versions of the records that opened the first attempt and settled the step: the order of completion (R19)."""
    began_at: float = 0.0
    due_at: float | None = None
    """When a step that is WAITING has slept enough, or has waited too long."""
    in_else: bool = False
    """A scope whose alternative is under way."""
    items: ItemsState | None = None
    manual_epoch: int = 0
    """How often a person had the whole step run again (R25): where its operations' own counts begin."""
    stuck: AttentionReason | None = None


@frozen
class Signal:
    """A signal that no step has taken yet."""

    request_id: str
    payload: Payload


@frozen
class Rollback:
    """A part of the saga that is being undone."""

    steps: frozenset[StepId]
    cause: Cause


def _empty() -> Any:  # noqa: ANN401  # of whatever the field holds
    return {}  # which takes a tenth of the time that `dict[str, …]` takes when it is called


@frozen
class SagaState:
    """One saga. `version` is the number of its last record; the fold of records 1..version is this value (M15)."""

    plan: Plan
    status: SagaStatus = SagaStatus.QUEUED
    version: int = 0
    saga_id: SagaId = SagaId("")
    uid: UUID = UUID(int=0)
    input: Payload = Payload("", b"")
    attributes: Attributes = field(default_factory=_empty)
    request_id: str = ""
    trace: TraceContext = TraceContext(trace_id=0, span_id=0, sampled=False)
    baggage: str = ""
    """Sent on with every call."""
    trace_parts: TraceParts = ONE_PART
    """T9: the traces that it goes on in, and what belongs to which."""
    started_at: float = 0.0
    updated_at: float = 0.0
    ended_at: float | None = None
    forward_deadline_at: float = 0.0
    compensation_s: float = 0.0
    compensation_deadline_at: float | None = None
    epoch: int = 0
    """M11: never decreases."""
    steps: Map[StepId, StepState] = Map()
    """One per step, in no order (`in_plan_order` has one); a change costs the same with five and with 1,000."""
    items: Map[StepId, StepState] = Map()
    """Path -> item that was begun, of all `for_each` steps; a change costs the same with ten and with 100,000."""
    live: Map[StepId, None] = Map()
    """Paths with an operation that is open, waiting to be retried, or under way: all that `owed` must look at."""
    stuck: Map[StepId, None] = Map()
    """Paths that are STUCK: all that a person may be asked about."""
    calls_open: int = 0
    """How many forward calls are in flight, of steps and items."""
    undos_open: int = 0
    """How many undo calls are."""
    in_doubt: Map[StepId, None] = Map()
    """Paths whose forward call had an attempt that ended UNKNOWN: all whose undo may have to wait for it (R12)."""
    first_pending: int = 0
    """Every step before this place has begun, or was passed over; found while so many are live that some may wait."""
    signals: Mapping[str, tuple[Signal, ...]] = field(default_factory=_empty)
    """Signal -> those that no step has taken yet, in order of arrival."""
    signal_ids: Map[str, None] = Map()
    """The request id of every signal that ever came."""
    rollbacks: Mapping[StepId, Rollback] = field(default_factory=_empty)
    """Parts that are being undone while the saga goes on, in the order in which they began; empty once all of it is."""
    ahead: frozenset[StepId] = frozenset()
    """What was being undone already, in a part of the saga, when more of it came to be undone: ahead of the order."""
    to_undo: tuple[StepId, ...] = ()
    """Once the saga as a whole goes backward: the steps to be undone, in the order in which they ended. The last of
    them is left; one that was undone before another that had ended later stays in it until that one is undone, too."""
    is_paused: bool = False
    parent: Parent | None = None
    cause: Cause | None = None
    """Why the saga goes backward; None while it goes forward."""
    compensation_began_at: float | None = None
    cancel_reason: str | None = None
    attention: tuple[AttentionReason, ...] = ()
    output: Payload | None = None
    memo: Memo = field(default_factory=Memo)

    @property
    def is_terminal(self) -> bool:
        """Return whether nothing can change this saga any more (R4)."""
        return self.status in TERMINAL

    @property
    def is_backward(self) -> bool:
        """Return whether the saga stopped going forward."""
        return self.cause is not None

    @property
    def is_past_pivot(self) -> bool:
        """Return whether the pivot is applied: the saga can only succeed now (R17)."""
        pivot = self.plan.pivot
        return pivot is not None and self.steps[pivot].status is _APPLIED

    @property
    def is_at_pivot(self) -> bool:
        """Return whether the pivot was called and is not decided: nobody knows which way the saga goes (R16)."""
        pivot = self.plan.pivot
        return pivot is not None and self.steps[pivot].status in UNDECIDED and self.steps[pivot].forward is not None

    def trace_id_of(self, part: int) -> int:
        """Return the trace of a part: of the first the caller's, or the one that the start was given (T2, T9)."""
        return self.trace.trace_id if part == 1 else part_trace_id(self.uid, part)

    def step(self, path: StepId) -> StepState:
        """Return a step or an item by its path."""
        return self.steps[path] if path in self.steps else self.items[path]

    def find(self, path: StepId) -> StepState | None:
        """Return a step or an item by its path; None where there is none, or the item has not begun."""
        return self.steps[path] if path in self.steps else self.items.get(path)

    def items_of(self, step: StepId) -> Iterator[StepState]:
        """Yield the items of a `for_each` step that have begun, by position."""
        items = self.steps[step].items
        for index in range(items.began if items is not None else 0):
            yield self.items[item_path(step, index)]

    def in_plan_order(self) -> Iterator[StepState]:
        """Yield every step, in the order of the plan."""
        return map(self.steps.__getitem__, self.plan.steps)

    def everything(self) -> Iterator[StepState]:
        """Yield every step in plan order, each followed by its items by position: the same order in every process."""
        for step in self.in_plan_order():
            yield step
            if step.items is not None:
                yield from self.items_of(step.id)


# Named once: looking up a member of an enumeration costs as much as ten comparisons.
_APPLIED, _WAITING = StepStatus.APPLIED, StepStatus.WAITING
_AWAIT, _STOP = Operation.AWAIT, Operation.STOP
TERMINAL = frozenset({SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.TERMINATED})
TO_UNDO = frozenset({StepStatus.APPLIED, StepStatus.UNSETTLED})
"""There is an effect, or may be, and no undo of it has begun."""
SETTLED = TO_UNDO | {StepStatus.NOT_APPLIED, StepStatus.SKIPPED}
"""The forward operation has come to its end and nothing was undone yet."""
_UNDO_OPEN = TO_UNDO | {StepStatus.UNDOING}
UNDECIDED = frozenset(
    {
        StepStatus.IN_FLIGHT,
        StepStatus.BACKING_OFF,
        StepStatus.PARKED,
        StepStatus.WAITING,
        StepStatus.PROBING,
        StepStatus.STUCK,
    }
)
"""Begun forward, and not come to an end; a STUCK step is only while it has no outcome."""


def blank(plan: Plan) -> SagaState:
    """Return the state before the first record."""
    return SagaState(plan=plan, steps=Map({step: StepState(id=step) for step in plan.steps}))


def operation_of(step: StepState, operation: Operation) -> OperationState | None:
    """Return the step's state for one operation."""
    if operation is FORWARD:
        return step.forward  # as nearly all are
    found: OperationState | None = _READ[operation](step)
    return found


FIELD_OF: Mapping[Operation, str] = {
    Operation.FORWARD: "forward",
    Operation.AWAIT: "awaiting",
    Operation.PROBE: "probe",
    Operation.STOP: "stop",
    Operation.COMPENSATE: "undo",
}
"""Where a step keeps the state of an operation."""
_READ = {operation: attrgetter(name) for operation, name in FIELD_OF.items()}


def operations_of(step: StepState) -> list[tuple[Operation, OperationState]]:
    """Return the operations that the step has had so far; most steps have one, and are asked at every turn."""
    found: list[tuple[Operation, OperationState]] = []
    if step.forward is not None:
        found.append((FORWARD, step.forward))
    if step.awaiting is not None:
        found.append((_AWAIT, step.awaiting))
    if step.probe is not None:
        found.append((PROBE, step.probe))
    if step.stop is not None:
        found.append((_STOP, step.stop))
    if step.undo is not None:
        found.append((COMPENSATE, step.undo))
    return found


def is_undecided(step: StepState) -> bool:
    """Return whether the step has begun forward and has not come to an end."""
    return step.status in UNDECIDED and step.outcome is None


def is_left(step: StepState) -> bool:
    """Return whether the effect of a step without items, or of an item, is still to be undone; stuck ones included."""
    return step.status in _UNDO_OPEN or (step.status is StepStatus.STUCK and step.outcome is not None)


def insists(state: SagaState, step: Step) -> bool:
    """Return whether the step has to succeed: it is asked without limit (R17, R18).

    While the pivot is undecided, and from then on, this is so of every required step, also of one beside the pivot.
    """
    if step.optional:
        return False
    if step.kind is StepKind.RETRIABLE or step.on_failure is OnFailure.RETRY:
        return True
    if state.plan.pivot is None or step.kind is StepKind.PIVOT:
        return False
    if not (state.is_past_pivot or state.is_at_pivot or state.plan.is_after_pivot(step.id)):
        return False
    scope = step.scope
    while scope is not None and not state.plan.steps[scope].optional:
        scope = state.plan.steps[scope].scope
    return scope is None


def is_stopped(state: SagaState, path: StepId) -> bool:
    """Return whether nothing new begins in a step any more, and what is open in it is aborted (R14).

    The whole saga goes backward, or a part that holds the step; the step is the pivot of a saga that was cancelled,
    which nobody aborts, because its end must be known; or it is an item of a `for_each` step that has failed.
    """
    if state.cause is not None:
        return True
    if state.cancel_reason is not None and path == state.plan.pivot and not state.is_past_pivot:
        return True
    step = path
    if path not in state.steps:
        step = item_of(path)[0]
        if state.steps[step].status is not _WAITING:
            return True
    return bool(state.rollbacks) and any(step in rollback.steps for rollback in state.rollbacks.values())
