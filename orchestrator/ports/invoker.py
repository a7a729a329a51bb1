"""One call to one method of one target, bytes in and bytes out."""

from collections.abc import Callable, Mapping
from typing import Protocol
from uuid import UUID

from orchestrator.frozen import frozen
from orchestrator.ids import SagaId, StepId
from orchestrator.saga.events import Report
from orchestrator.saga.plan import Operation
from orchestrator.values import Payload, TraceContext


@frozen
class CallRequest:
    """Everything the hands need to know; they ask nobody else."""

    target: str
    method: str
    request: Payload
    reply_type: str
    deadline_at: float
    """Wall clock, Unix seconds; becomes `grpc-timeout`."""
    key: str
    saga_id: SagaId
    uid: UUID
    step: StepId
    operation: Operation
    attempt: int
    epoch: int
    forward_key: str
    """The key of the forward operation: for an undo, what it undoes; otherwise the same as `key`."""
    trace: TraceContext
    """Trace id, the *attempt's* span id and the sampling decision: injected before the span exists (T5)."""
    baggage: str = ""
    """W3C baggage, empty or as it is sent."""


OnReport = Callable[[Report], None]


class Invoker(Protocol):
    """The hands. A call is begun without waiting and reports exactly once, on the event loop.

    The report never comes from within `begin` or `abort`: whoever calls them may be halfway through a turn, and hears
    of the end only in a later one.
    """

    def begin(self, call: CallRequest, on_report: OnReport) -> "OpenCall":
        """Begin a call; never raises for anything the peer or the network does: that is a report."""
        ...

    def in_flight(self) -> Mapping[str, int]:
        """Return the number of open calls by target."""
        ...

    async def close(self, grace_s: float) -> None:
        """Let open calls end within the grace, abort the rest, close the channels."""


class OpenCall(Protocol):
    """A call on the wire."""

    def abort(self) -> None:
        """Reset the stream at once; the report still comes, once and later. Harmless when the call is over."""
