"""What a saga's trace has to remember of its earlier records: what is under way, and what undoes and links refer to.

A view is bounded whatever the saga does. Of a `for_each` step's items only the first `SPAN_ITEMS_MAX` are in it, of an
operation's attempts only the first `SPAN_ATTEMPTS_MAX` (`ids.is_traced`, which the runtime asks too); events of one
span end at `SPAN_EVENTS_MAX`. What is past a bound is counted where it would have been.
"""

from collections.abc import Iterator, Mapping
from dataclasses import field
from uuid import UUID

from immutables import Map

from orchestrator import ids
from orchestrator.frozen import changed, frozen, frozen_tuple
from orchestrator.ids import SagaId, StepId, item_of
from orchestrator.limits import SPAN_EVENTS_MAX
from orchestrator.saga.events import Cause, Parent, SagaStarted
from orchestrator.saga.plan import Call, Operation, Plan, Wait
from orchestrator.saga.traceparts import ONE_PART, TraceBounds, TraceParts, rollback_of
from orchestrator.telemetry.spandata import SpanEvent, SpanLink
from orchestrator.tracecontext import baggage_values

BOUNDS = ONE_PART.bounds

OperationKey = tuple[StepId, Operation]
"""A path and an operation; of a step's own span FORWARD, of its undo's COMPENSATE."""


@frozen_tuple
class Callee:
    """Whom an operation calls."""

    target: str
    method: str


@frozen
class Shape:
    """What a trace needs to know of a plan, which is immutable."""

    callees: Mapping[OperationKey, Callee] = field(default_factory=dict[OperationKey, Callee])
    scopes: Mapping[StepId, StepId] = field(default_factory=dict[StepId, StepId])
    """Step -> the scope whose direct member it is."""
    waits: Mapping[str, tuple[StepId, ...]] = field(default_factory=dict[str, tuple[StepId, ...]])
    """Signal -> the steps that wait for it."""


@frozen
class Notes:
    """What a span that is not told yet will say besides its ends."""

    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    events_untold: int = 0
    spans_untold: int = 0


NO_NOTES = Notes()


@frozen
class UnderWay:
    """A step or an undo that has begun and whose span is not told yet."""

    part: int
    """Of the saga's trace."""
    begin_at: float
    span_id: int
    parent_id: int
    notes: Notes = NO_NOTES


@frozen
class OpenAttempt:
    """A call that has no end yet."""

    attempt: int
    manual_epoch: int
    opened_at: float
    parent_id: int


@frozen
class Undoing:
    """The saga, or a part of it, that is being undone."""

    part: int
    """Of the saga's trace."""
    span_id: int
    parent_id: int
    begin_at: float
    cause: Cause
    steps: frozenset[StepId]
    """Of a part; empty of the whole saga."""
    undone: int = 0
    notes: Notes = NO_NOTES


@frozen_tuple
class ItemCounts:
    """How the items of a `for_each` step came out."""

    count: int
    applied: int = 0
    failed: int = 0


@frozen
class RolledOver:
    """A part of the saga's trace that is followed by another, and of which something is still under way."""

    begin_at: float
    notes: Notes


@frozen
class Identity:
    """What the first record says of a saga, and its plan; nothing of it ever changes."""

    saga_id: SagaId
    uid: UUID
    definition: str
    revision: str
    trace_id: int
    """Of the first part of its trace."""
    caller_span_id: int
    trace_state: str
    sampled: bool
    parent: Parent | None
    """The saga that this one is a step of."""
    baggage: Mapping[str, str]
    started_at: float
    root_id: int
    """Of the first part of its trace."""
    shape: Shape


@frozen
class SagaView:
    """One saga, as far as its trace needs it. What is empty is the same for all: it cannot be changed."""

    who: Identity
    parts: TraceParts
    earlier: Map[int, RolledOver] = Map[int, RolledOver]()
    """Parts that are rolled over, and whose own span is not told yet."""
    under_way: Map[OperationKey, UnderWay] = Map[OperationKey, UnderWay]()
    calls: Map[OperationKey, OpenAttempt] = Map[OperationKey, OpenAttempt]()
    last: Map[StepId, OpenAttempt | None] = Map[StepId, OpenAttempt | None]()
    """The last forward attempt of each path, what its undo links to (T6); None where it has no span of its own."""
    items: Map[StepId, ItemCounts] = Map[StepId, ItemCounts]()
    runs: Map[StepId, int] = Map[StepId, int]()
    """How often each step was begun anew."""
    rollbacks: Mapping[StepId, Undoing] = field(default_factory=dict[StepId, Undoing])
    """Parts of the saga that are being undone, by what caused it, in the order in which they began."""
    rollback_counts: Map[StepId, int] = Map[StepId, int]()
    compensation: Undoing | None = None
    notes: Notes = NO_NOTES
    """Of the saga's own span, or of that of the last part of its trace."""
    is_told: bool = False
    """That span is told: a child that had completed and is undone later has no second one in the same trace."""
    has_ended: bool = False
    """The saga had come to its end: what was under way was told as cut off."""

    @property
    def root_id(self) -> int:
        """Return the id of the span below which things begin now."""
        number = self.parts.number
        return self.who.root_id if number == 1 else ids.root_span_id(self.who.uid, number)

    @property
    def begin_at(self) -> float:
        """Return when the part of the trace began in which things begin now."""
        return self.parts.begin_at or self.who.started_at

    def trace_of(self, part: int) -> int:
        """Return the trace id of a part, as the runtime has injected it."""
        return self.who.trace_id if part == 1 else ids.part_trace_id(self.who.uid, part)

    def run_of(self, path: StepId) -> int:
        """Return how often the step of a path was begun anew."""
        return self.runs.get(item_of(path)[0], 0) if self.runs else 0

    def span_id(self, path: StepId, operation: Operation) -> int:
        """Return the id of a step's span, or of its undo's."""
        return ids.operation_span_id(self.who.uid, path, operation, self.run_of(path))

    def attempt_id(self, path: StepId, operation: Operation, call: OpenAttempt) -> int:
        """Return the id of an attempt's span, as the runtime has injected it."""
        return ids.attempt_span_id(self.who.uid, path, operation, call.attempt, call.manual_epoch)

    def undoing(self, path: StepId) -> Undoing | None:
        """Return what a path is undone as a part of: the latest rollback that holds it, otherwise the whole saga."""
        root = rollback_of(self.rollbacks, path) if self.rollbacks else None
        return self.compensation if root is None else self.rollbacks[root]


def shape_of(plan: Plan) -> Shape:
    """Return what a trace needs to know of a plan."""
    callees: dict[OperationKey, Callee] = {}
    waits: dict[str, tuple[StepId, ...]] = {}
    for step in plan.steps.values():
        if isinstance(step.body, Wait):
            waits[step.body.signal] = (*waits.get(step.body.signal, ()), step.id)
        calls = {
            Operation.FORWARD: step.body if isinstance(step.body, Call) else None,
            Operation.AWAIT: step.awaits.call if step.awaits else None,
            Operation.PROBE: step.probe.call if step.probe else None,
            Operation.STOP: step.awaits.stop if step.awaits else None,
            Operation.COMPENSATE: step.compensation.call if step.compensation else None,
        }
        for operation, call in calls.items():
            if call is not None:
                callees[step.id, operation] = Callee(call.target, call.method)
    scopes = {step.id: step.scope for step in plan.steps.values() if step.scope is not None}
    return Shape(callees=callees, scopes=scopes, waits=waits)


def view_of(started: SagaStarted, shape: Shape, bounds: TraceBounds = BOUNDS) -> SagaView:
    """Return the view before anything but the start is known."""
    trace = started.trace
    who = Identity(
        saga_id=started.saga_id,
        uid=started.uid,
        definition=started.definition,
        revision=started.revision,
        trace_id=trace.trace_id or ids.trace_id(started.uid),
        caller_span_id=trace.span_id,
        trace_state=trace.state,
        sampled=trace.sampled,
        parent=started.parent,
        baggage=baggage_values(started.baggage) if started.baggage else {},
        started_at=started.at,
        root_id=ids.root_span_id(started.uid),
        shape=shape,
    )
    return SagaView(who=who, parts=ONE_PART if bounds is BOUNDS else TraceParts(bounds=bounds))


def side_of(operation: Operation) -> Operation:
    """Return whose span an operation's attempts belong to: the undo's, or the step's own."""
    return operation if operation is Operation.COMPENSATE else Operation.FORWARD


def begun(view: SagaView, path: StepId, side: Operation, at: float) -> SagaView:
    """Return the view with a step or an undo under way; one that is so already keeps its beginning."""
    key = path, side
    if key in view.under_way or not ids.is_traced(path):
        return view
    return changed(view, under_way=view.under_way.set(key, entry_of(view, path, side, at)))


def entry_of(view: SagaView, path: StepId, side: Operation, at: float) -> UnderWay:
    """Return a step or an undo that begins: below which span, and in which part of the trace.

    It begins no earlier than that span, though the clock may have been set back between two lives of the saga.
    """
    now, begin_at = view.parts.number, max(at, view.begin_at)
    own_id = view.span_id(path, side)
    if side is Operation.COMPENSATE:
        undoing = view.undoing(path)
        if undoing is None:
            return UnderWay(part=now, begin_at=begin_at, span_id=own_id, parent_id=view.root_id)
        begin_at = max(at, undoing.begin_at)
        return UnderWay(part=undoing.part, begin_at=begin_at, span_id=own_id, parent_id=undoing.span_id)
    step, index = item_of(path)
    if index is not None:
        part, begin_at = view.parts.part_of(path, side), no_earlier(view, step, at)
        return UnderWay(part=part, begin_at=begin_at, span_id=own_id, parent_id=view.span_id(step, side))
    scope = view.who.shape.scopes.get(step)
    if scope is None:
        return UnderWay(part=now, begin_at=begin_at, span_id=own_id, parent_id=view.root_id)
    scope_id, part = view.span_id(scope, Operation.FORWARD), view.parts.part_of(scope, side)
    if part == now:
        return UnderWay(part=now, begin_at=no_earlier(view, scope, at), span_id=own_id, parent_id=scope_id)
    # No parent is in another trace.
    notes = Notes(links=(SpanLink(view.trace_of(part), scope_id),))
    return UnderWay(part=now, begin_at=begin_at, span_id=own_id, parent_id=view.root_id, notes=notes)


def no_earlier(view: SagaView, step: StepId, at: float) -> float:
    """Return an instant, or when a step that is under way began where the clock says that this is later."""
    entry = view.under_way.get((step, Operation.FORWARD))
    return at if entry is None else max(at, entry.begin_at)


def noted(view: SagaView, key: OperationKey | None, event: SpanEvent, link: SpanLink | None = None) -> SagaView:
    """Return the view with an event on a step's or an undo's span, or under None on the saga's."""
    entry = None if key is None else view.under_way.get(key)
    if key is not None and entry is not None:
        after = changed(entry, notes=_added(entry.notes, event, link))
        return changed(view, under_way=view.under_way.set(key, after))
    if view.is_told and view.compensation is not None:
        undoing = changed(view.compensation, notes=_added(view.compensation.notes, event, link))
        return changed(view, compensation=undoing)
    return changed(view, notes=_added(view.notes, event, link))


def _added(notes: Notes, event: SpanEvent, link: SpanLink | None) -> Notes:
    if len(notes.events) >= SPAN_EVENTS_MAX:
        return changed(notes, events_untold=notes.events_untold + 1)
    links = notes.links if link is None else (*notes.links, link)
    return changed(notes, events=(*notes.events, event), links=links)


def untold(view: SagaView, path: StepId, side: Operation) -> SagaView:
    """Return the view with one more span that is not told, counted at the nearest span that is, and at the saga's."""
    view = _untold_of_part(view, view.parts.part_of(path, side))
    step = item_of(path)[0]
    for key in ((path, side), (step, side)):
        entry = view.under_way.get(key)
        if entry is not None:
            return changed(view, under_way=view.under_way.set(key, changed(entry, notes=_one_more(entry.notes))))
    undoing = view.undoing(path) if side is Operation.COMPENSATE else None
    return view if undoing is None else with_undoing(view, undoing, changed(undoing, notes=_one_more(undoing.notes)))


def _untold_of_part(view: SagaView, part: int) -> SagaView:
    over = view.earlier.get(part) if view.earlier else None
    if over is None:
        return changed(view, notes=_one_more(view.notes))
    return changed(view, earlier=view.earlier.set(part, changed(over, notes=_one_more(over.notes))))


def _one_more(notes: Notes) -> Notes:
    return changed(notes, spans_untold=notes.spans_untold + 1)


def with_undoing(view: SagaView, before: Undoing, after: Undoing) -> SagaView:
    """Return the view with what is being undone replaced."""
    if before is view.compensation:
        return changed(view, compensation=after)
    root = next(step for step, each in view.rollbacks.items() if each is before)
    return changed(view, rollbacks={**view.rollbacks, root: after})


def innermost_first(view: SagaView, steps: frozenset[StepId] | None = None) -> Iterator[OperationKey]:
    """Yield what is under way, of some steps or of all, children before parents."""
    found = [key for key in view.under_way if steps is None or item_of(key[0])[0] in steps]
    found.sort(key=lambda key: (-_depth(view, key[0]), key))
    yield from found


def _depth(view: SagaView, path: StepId) -> int:
    step, index = item_of(path)
    depth = int(index is not None)
    scope = view.who.shape.scopes.get(step)
    while scope is not None:
        depth, scope = depth + 1, view.who.shape.scopes.get(scope)
    return depth
