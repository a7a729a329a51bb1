"""What may follow from an attempt's end: it is over, it is asked again, it gives way to another, it needs a person."""

from orchestrator.frozen import frozen_tuple
from orchestrator.saga.events import AttentionReason, SettleReason
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.values import Payload


@frozen_tuple
class Settle:
    """The operation is over."""

    outcome: Outcome
    reason: SettleReason
    nothing_to_undo: bool = False
    message: str | None = None
    """Replaces the report's text where the reply itself was judged."""
    reply: Payload | None = None
    """Where it is not the forward attempt's own."""
    code: str | None = None
    """Replaces the report's code."""


@frozen_tuple
class Again:
    """Ask again with the same key, after a pause."""

    delay_s: float
    parked: bool = False
    polled: bool = False
    """The answer was "not yet", which is no failure."""
    operation: Operation | None = None
    """What to ask again, where it is not the operation that has just ended."""
    found: Outcome | None = None
    """What has been found out about the forward calls so far, where their own answers do not tell."""
    not_before_at: float = 0.0
    """Where the pause alone may be too short: until then an earlier call may still be on its way."""


@frozen_tuple
class Begin:
    """Go on with another operation of the step: await what the reply names, or probe."""

    operation: Operation


@frozen_tuple
class Stick:
    """Only a person can decide."""

    reason: AttentionReason
    message: str | None = None
    """Says more than the report, where the reply itself was judged."""


Verdict = Settle | Again | Begin | Stick
