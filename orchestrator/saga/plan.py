"""The compiled definition the machine runs.

A plan is what `definition/compile.py` makes of an author's tree: names resolved, types checked, data edges merged
into `needs`, every expression turned into a pure and total function over recorded facts. The machine may call those
functions; what they gave is recorded in the event, so `evolve` never evaluates anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from enum import StrEnum
from typing import Final, Protocol, final
from uuid import UUID

from orchestrator.frozen import frozen, frozen_tuple
from orchestrator.ids import SagaId, StepId, item_of
from orchestrator.saga.edges import closed, inside, places_by
from orchestrator.values import Attributes, Payload

CHILD_TARGET: Final = "@saga"
"""The target of a call that is a child saga: its method is `definition/revision`, its reply the child's output (R21).

A child is called like a service that keeps keys and barrier: it answers OK when it has completed, ABORTED when it has
been compensated, and its undo runs its own undo log. No configured target has such a name.
"""


class StepKind(StrEnum):
    """What a step's effect means for undoing (Richardson)."""

    COMPENSATABLE = "compensatable"
    PIVOT = "pivot"
    """The go/no-go of the saga: before it everything can be undone, after it nothing fails (R15)."""
    RETRIABLE = "retriable"
    """After the pivot: asked until it succeeds (R17)."""
    READ = "read"


_NEVER_UNDONE = frozenset({StepKind.READ, StepKind.PIVOT})


class Operation(StrEnum):
    """What a step does now; part of its idempotency key."""

    FORWARD = "forward"
    AWAIT = "await"
    """Ask how a long-running operation is going, which the forward call has begun."""
    PROBE = "probe"
    """Ask whether a forward call whose outcome is UNKNOWN took place."""
    STOP = "stop"
    """Ask for a long-running operation to be cancelled; it is awaited to its end all the same."""
    COMPENSATE = "compensate"


# Named once, for those who are asked at every record: looking up a member of an enumeration costs as much as ten
# comparisons.
FORWARD: Final = Operation.FORWARD
PROBE: Final = Operation.PROBE
COMPENSATE: Final = Operation.COMPENSATE


class Outcome(StrEnum):
    """Whether an effect took place."""

    APPLIED = "APPLIED"
    NOT_APPLIED = "NOT_APPLIED"
    UNKNOWN = "UNKNOWN"


class OnFailure(StrEnum):
    """What follows from a required step that failed (R18)."""

    COMPENSATE = "compensate"
    RETRY = "retry"
    """Forward recovery: it is asked until it succeeds."""
    ASK = "ask"
    """A person chooses."""


class OutcomeProfile(StrEnum):
    """How a method uses status codes (R6)."""

    DEFAULT = "default"
    DTM = "dtm"
    """As DTM has it: ABORTED is a refusal for good, FAILED_PRECONDITION asks for another attempt."""


class TriggerRule(StrEnum):
    """When a step with several predecessors may start (R14)."""

    ALL_SUCCESS = "all_success"
    ALL_DONE = "all_done"
    ONE_SUCCESS = "one_success"
    ONE_DONE = "one_done"
    ALL_FAILED = "all_failed"
    NONE_FAILED = "none_failed"
    AT_LEAST = "at_least"


class UndoOrder(StrEnum):
    """Whether independent branches are undone at the same time (R19)."""

    PARALLEL = "parallel"
    SEQUENTIAL = "sequential"


@final
@frozen_tuple
class ExpressionFailure:
    """An expression that could not be evaluated: a value, because author errors are business facts here."""

    message: str


class Facts(Protocol):
    """What an expression may read: recorded values only, so it gives the same answer for ever."""

    @property
    def saga_id(self) -> SagaId: ...
    @property
    def uid(self) -> UUID: ...
    @property
    def started_at(self) -> float: ...
    @property
    def input(self) -> Payload: ...
    @property
    def own_reply(self) -> Payload | None:
        """Return the reply that the expression is about; None where there is none.

        It is the reply of the step the expression belongs to; in a `Probe` or an `Await`, that operation's own.
        """

    @property
    def index(self) -> int | None:
        """Return the position of the item the expression belongs to; None outside `for_each`."""

    @property
    def item(self) -> object:
        """Return the element of the list that `ForEach.items` gave; None outside `for_each`."""

    def reply_of(self, step: StepId) -> Payload | None:
        """Return the recorded reply of a step; None where it was skipped, failed, or has not settled."""

    def replies_of(self, step: StepId) -> Sequence[Payload]:
        """Return the replies of the items of a `for_each` step that were applied, by position."""
        ...

    def applied_count(self, step: StepId) -> int:
        """Return how many items of a `for_each` step came to a good end."""
        ...

    def failed_count(self, step: StepId) -> int:
        """Return how many items of a `for_each` step failed."""
        ...

    def status_of(self, step: StepId) -> str:
        """Return the step's status word, e.g. `APPLIED`."""
        ...


@frozen
class Answer:
    """What a probe, or a look at a long-running operation, found out."""

    outcome: Outcome | None
    """None: not yet known; ask again. UNKNOWN: it will never be known this way."""
    reply: Payload | None = None
    """The forward reply, where it is APPLIED and the reply is known."""
    code: str = ""
    """gRPC status name, where it is NOT_APPLIED."""
    message: str = ""


Guard = Callable[[Facts], bool | ExpressionFailure]
Render = Callable[[Facts], Payload | ExpressionFailure]
RenderText = Callable[[Facts], str | ExpressionFailure]
RenderAttributes = Callable[[Facts], Attributes | ExpressionFailure]
RenderSeconds = Callable[[Facts], float | ExpressionFailure]
RenderItems = Callable[[Facts], Sequence[object] | ExpressionFailure]
ReadAnswer = Callable[[Facts], Answer | ExpressionFailure]


@frozen
class Trigger:
    """A rule and, for AT_LEAST, how many successes it wants."""

    rule: TriggerRule = TriggerRule.ALL_SUCCESS
    count: int = 0


@frozen
class RetryPolicy:
    """How often and how patiently an operation is tried; the words are the gRPC service config's."""

    max_attempts: int
    """Attempts that count (a parked or lost one does not); 0 means without limit."""
    initial_backoff_s: float
    max_backoff_s: float
    multiplier: float
    explicit: bool = False
    """The author wrote it down: an unknown outcome may be retried even where the method is not known to keep keys."""


@frozen
class Call:
    """One method and how to ask it."""

    target: str
    """Name of a configured target; its address is configuration, never part of a plan."""
    method: str
    """Full method name, `epro.v1.Scoring/Score`."""
    reply_type: str
    """Full message type of the reply, `epro.v1.ScoreResponse`."""
    render: Render
    timeout_s: float
    retry: RetryPolicy
    idempotent: bool = False
    """The method honours the idempotency key: asked again, it replays its first reply (R8a)."""
    repeatable: bool = False
    """Asking twice does no harm, yet the second answer may not be the first one's: it settles nothing."""
    barrier: bool = False
    """The method keeps the barrier contract (R13), so an unknown call may be undone at once (R12a)."""
    profile: OutcomeProfile = OutcomeProfile.DEFAULT
    request_type: str = ""
    """Full message type of the request: what a person may send instead; the type last sent where empty."""


@frozen
class Sleep:
    """A step that lets time pass."""

    duration: RenderSeconds


@frozen
class Wait:
    """A step that is applied when a signal has come; its reply is the signal's payload."""

    signal: str
    type_name: str
    """Full message type of the payload."""
    timeout_s: float | None = None
    """The step fails when it has waited so long; None: as long as the saga has."""


@frozen
class Scope:
    """Steps that are undone together, alone, when one of them fails (R18)."""

    steps: tuple[StepId, ...]
    """Direct members."""
    otherwise: tuple[StepId, ...] = ()
    """Direct members of the alternative, begun when `steps` have been undone."""
    timeout_s: float | None = None
    """How long `steps` may take, and then `otherwise` as long again."""


Body = Call | Sleep | Wait | Scope
"""What a step is."""


@frozen
class ForEach:
    """A call made once for every element of a list, a few at a time."""

    items: RenderItems
    parallel: int
    """How many are open at once; never unbounded."""
    tolerate: int = 0
    """How many may fail before the step does."""


@frozen
class Poll:
    """A call asked again, with the same key, until its reply says that it is enough."""

    until: Guard
    every_s: float
    at_most_s: float


@frozen
class Await:
    """The reply names a long-running operation, which is asked about until it is done, and can be cancelled."""

    read: ReadAnswer
    """What a reply, of the forward call or of `call`, says about the operation."""
    call: Call
    stop: Call | None
    every_s: float
    reply_type: str = ""
    """Full message type of what the operation brings; empty where it is not known before it comes."""


@frozen
class Probe:
    """How to find out whether a forward call whose outcome is UNKNOWN took place."""

    call: Call
    read: ReadAnswer


@frozen
class Compensation:
    """How a step is undone, and when relative to others (R19)."""

    call: Call
    after: tuple[StepId, ...] = ()
    """Steps that must be undone before this one, beyond the natural order."""
    first: bool = False
    """Undo this step before every other one that is not marked so."""
    reads_reply: bool = False
    """The request is made from the step's own reply, so there is none while that is not known."""


@frozen
class Step:
    """One node of the plan."""

    id: StepId
    kind: StepKind
    needs: frozenset[StepId]
    """Direct predecessors: written `after:` edges and edges inferred from expressions.

    They are all inside the same scope, or all outside every scope: what crosses a scope's edge is the scope's.
    """
    body: Body
    trigger: Trigger = field(default_factory=Trigger)
    when: Guard | None = None
    refuse: Guard | None = None
    reason: RenderText | None = None
    compensation: Compensation | None = None
    """None: nothing to undo, because the kind is `read` or because the author said `compensate: none`."""
    optional: bool = False
    on_failure: OnFailure = OnFailure.COMPENSATE
    """As the innermost scope, or the saga, has it."""
    scope: StepId | None = None
    """The scope whose direct member this is."""
    for_each: ForEach | None = None
    poll: Poll | None = None
    awaits: Await | None = None
    probe: Probe | None = None
    is_undoable: bool = field(init=False)
    """It has an undo at all: it is not a read, nor the pivot, and not `compensate: none` (R20)."""
    is_answered: bool = field(init=False)
    """One reply is all there is to it: nothing is polled, or awaited."""
    _calls: Mapping[Operation, Call] = field(init=False, hash=False)
    """What each of its operations calls: `call_of` is its door."""

    def __post_init__(self) -> None:
        """Derive once what the machine asks for at every turn."""
        undoable = self.compensation is not None and self.kind not in _NEVER_UNDONE
        object.__setattr__(self, "is_undoable", undoable)
        object.__setattr__(self, "is_answered", self.poll is None and self.awaits is None)
        awaits, calls = self.awaits, dict[Operation, Call]()
        if isinstance(self.body, Call):
            calls[Operation.FORWARD] = self.body
        if awaits is not None:
            calls[Operation.AWAIT] = awaits.call
        if self.probe is not None:
            calls[Operation.PROBE] = self.probe.call
        if awaits is not None and awaits.stop is not None:
            calls[Operation.STOP] = awaits.stop
        if self.compensation is not None:
            calls[Operation.COMPENSATE] = self.compensation.call
        object.__setattr__(self, "_calls", calls)

    @property
    def call(self) -> Call:
        """Return the forward call of a step that has one."""
        assert isinstance(self.body, Call)  # asked only where there was, or will be, an attempt
        return self.body

    def call_of(self, operation: Operation) -> Call:
        """Return what an operation calls.

        `KeyError` where the step has no such operation. That is a mistake of whoever asks: an operation begins only
        where its step has a call for it, so of a journal that the machine wrote nobody has cause to ask.
        """
        return self._calls[operation]


@frozen
class Plan:
    """A definition's revision, compiled. Immutable; a saga keeps the plan it started with."""

    definition: str
    revision: str
    """Content address of the source and of the descriptors it was checked against."""
    input_type: str
    steps: Mapping[StepId, Step]
    """In the order of the source, which is also a topological order's tie-break."""
    forward_s: float
    compensation_s: float
    undo_order: UndoOrder = UndoOrder.PARALLEL
    attributes: RenderAttributes | None = None
    output: Render | None = None
    dependents: Mapping[StepId, frozenset[StepId]] = field(init=False)
    """Step -> every step that needs it, directly or not: the reversed edges of R19."""
    order: tuple[Step, ...] = field(init=False)
    """The steps by place, which is where they stand in `steps`."""
    places: Mapping[StepId, int] = field(init=False)
    follower_places: Mapping[StepId, tuple[int, ...]] = field(init=False)
    """Step -> the places of those that need it directly: whom its end may free."""
    member_places: Mapping[StepId, tuple[int, ...]] = field(init=False)
    """Scope -> the places of its direct members, both branches: whom its beginning may free."""
    members: Mapping[StepId, tuple[StepId, ...]] = field(init=False)
    """Scope -> every step inside it, at any depth, both branches, in the order of `steps`."""
    signals: Mapping[str, str] = field(init=False)
    """Signal that some step waits for -> its message type."""
    top: tuple[StepId, ...] = field(init=False)
    """The steps outside every scope."""
    waits: frozenset[StepId] = field(init=False)
    """The steps that wait for a signal."""
    scopes: frozenset[StepId] = field(init=False)
    with_items: frozenset[StepId] = field(init=False)
    """The steps with items."""
    has_parts: bool = field(init=False)
    """Some step is more than a call that is made once: a wait, a scope, or one with items."""
    pivot: StepId | None = field(init=False)
    """The go/no-go step; a plan has at most one, outside every scope."""
    undo_first: tuple[StepId, ...] = field(init=False)
    """The steps that are undone before every other one."""
    undo_by_hand: frozenset[StepId] = field(init=False)
    """The steps of whose undo the author said when it comes: itself, or by naming it at another."""
    has_own_order: bool = field(init=False)
    """The author ordered some undo by hand."""

    def __post_init__(self) -> None:
        """Derive once what the machine would look for at every turn."""
        steps = tuple(self.steps.values())
        scopes = {step.id: step.scope for step in steps}
        derived: dict[str, object] = {
            "dependents": closed({step.id: step.needs for step in steps}),
            "order": steps,
            "places": {step.id: place for place, step in enumerate(steps)},
            "follower_places": places_by([step.needs for step in steps]),
            "member_places": places_by([() if step.scope is None else (step.scope,) for step in steps]),
            "members": {**{step.id: () for step in steps if isinstance(step.body, Scope)}, **inside(scopes)},
            "signals": {step.body.signal: step.body.type_name for step in steps if isinstance(step.body, Wait)},
            "top": tuple(step.id for step in steps if step.scope is None),
            "waits": frozenset(step.id for step in steps if isinstance(step.body, Wait)),
            "scopes": frozenset(step.id for step in steps if isinstance(step.body, Scope)),
            "with_items": frozenset(step.id for step in steps if step.for_each is not None),
            "pivot": next((step.id for step in steps if step.kind is StepKind.PIVOT), None),
        }
        derived["has_parts"] = bool(derived["waits"] or derived["scopes"] or derived["with_items"])
        own = {step.id: step.compensation for step in steps if step.compensation is not None}
        derived["undo_first"] = tuple(step for step, each in own.items() if each.first)
        by_hand = {step for step, each in own.items() if each.after or each.first}
        derived["undo_by_hand"] = frozenset(by_hand.union(*(each.after for each in own.values())))
        derived["has_own_order"] = bool(by_hand)
        assert derived.keys() == {each.name for each in fields(self) if not each.init}
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def step_of(self, path: StepId) -> Step:
        """Return the step of a path, which is a step's id or an item's: `reserve[17]` is an item of `reserve`."""
        found = self.steps.get(path)
        return found if found is not None else self.steps[item_of(path)[0]]

    def is_after_pivot(self, step: StepId) -> bool:
        """Return whether the step begins only when the pivot is applied; all that follows has to succeed (R17)."""
        outermost = self.steps[step]
        while outermost.scope is not None:
            outermost = self.steps[outermost.scope]
        return self.pivot is not None and outermost.id in self.dependents[self.pivot]
