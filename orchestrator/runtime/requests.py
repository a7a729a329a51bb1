"""What a caller may ask of the orchestrator, as values: the vocabulary of its verbs."""

from dataclasses import field
from enum import StrEnum
from typing import Final

from orchestrator.frozen import frozen
from orchestrator.ids import SagaId, StepId
from orchestrator.ports.plans import JsonInput
from orchestrator.saga.commands import Audit, Repair
from orchestrator.saga.plan import Outcome
from orchestrator.saga.state import TERMINAL, SagaState, SagaStatus
from orchestrator.values import Attributes, Payload, TraceContext


class ConflictPolicy(StrEnum):
    """What to do when the saga id is taken. An id is never used twice, not even after its saga has ended."""

    SAME_REQUEST = "same_request"
    """The same definition, input and attributes: the same saga, answered again. Anything else: `AlreadyExists`."""
    FAIL = "fail"
    """`AlreadyExists`, unless the request id is the one it was started with."""
    USE_EXISTING = "use_existing"
    """The existing saga, whatever it was started with."""


@frozen
class StartRequest:
    """Begin a saga."""

    definition: str
    input: Payload | JsonInput
    revision: str = ""
    """The active one where empty."""
    saga_id: str = ""
    """The caller's business key; the saga's own uid where empty."""
    request_id: str = ""
    """The same request id is the same saga, for ever."""
    attributes: Attributes = field(default_factory=dict[str, str | int | float | bool])
    forward_s: float | None = None
    """Overrides the definition's forward budget."""
    trace: TraceContext | None = None
    baggage: str = ""
    """The caller's `baggage` header; kept are the members that the configuration names."""
    conflict: ConflictPolicy = ConflictPolicy.SAME_REQUEST


@frozen
class Started:
    """The saga as it stands, durably accepted; `created` is False where it existed already."""

    saga_id: SagaId
    state: SagaState
    created: bool


@frozen
class SignalRequest:
    """Hand a message to a saga."""

    signal: str
    payload: Payload | JsonInput
    request_id: str
    """The same one again is the same signal."""
    trace: TraceContext | None = None
    """The sender's place in its own trace; the signal is linked to it (T7)."""


@frozen
class Override:
    """`OverrideStepRequest` as callers give it: the request in JSON or typed, checked against the method's type."""

    audit: Audit
    step: StepId
    request: Payload | JsonInput


@frozen
class Resolve:
    """`ResolveStep` as callers give it: the reply in JSON or typed, checked against the method's type."""

    audit: Audit
    step: StepId
    outcome: Outcome
    reply: Payload | JsonInput | None = None


RepairRequest = Repair | Override | Resolve
"""What a person may ask; the two that carry a message also as JSON."""


class Until(StrEnum):
    """What a wait waits for."""

    TERMINAL = "terminal"
    """COMPLETED or COMPENSATED, or NEEDS_ATTENTION: nothing more happens without a person."""
    CHANGE = "change"
    """Any record after the given version."""

    def is_reached(self, state: SagaState, after_version: int) -> bool:
        """Return whether a saga in this state is what the caller waits for."""
        return state.version > after_version if self is _CHANGE else state.status in _SETTLED


_CHANGE: Final = Until.CHANGE  # named once: looking up a member of an enumeration costs as much as ten comparisons
_SETTLED: Final = TERMINAL | {SagaStatus.NEEDS_ATTENTION}
