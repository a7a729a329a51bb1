"""What happened, for whoever watches: one method per fact, none may raise or wait."""

from collections.abc import Callable, Sequence
from typing import Protocol

from orchestrator.frozen import frozen
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Record
from orchestrator.saga.events import Report
from orchestrator.saga.state import SagaState
from orchestrator.values import TraceContext

TraceOf = Callable[[], TraceContext | None]
"""Which trace a caller is in; asked only where somebody wants to know."""


@frozen
class Backlog:
    """Sagas that could move, and wait until somebody takes them up."""

    runnable: int = 0
    oldest_age_s: float = 0.0
    """For how long the one has waited that has waited longest."""


class Observer(Protocol):
    """Told after the fact; a slow or broken observer never touches a saga."""

    def recorded(self, state: SagaState, records: Sequence[Record]) -> None:
        """Records are durable; `state` is the saga after the last of them."""

    def committed(self, streams: int, records: int, seconds: float) -> None:
        """One group commit took so long."""

    def called(self, call: CallRequest, report: Report) -> None:
        """A call came to its end."""

    def activated(self, count: int) -> None:
        """The number of actors in memory is now `count`."""

    def mailbox(self, depth: int) -> None:
        """A message was queued; the mailbox now holds `depth`."""

    def quarantined(self, saga_id: str, reason: str) -> None:
        """A saga was set aside for a person."""

    def forwarded(self, way: str, outcome: str) -> None:
        """A caller's request went to the saga's owner by a way (`peer`, `post`), and this became of it."""

    def answered(self, method: str, code: str, at: float, seconds: float | None, trace: TraceOf) -> None:
        """A request to the API was answered; `seconds` it took, or None where it was meant to last, as a stream is."""

    def refused(self, reason: str) -> None:
        """A request to the API was turned away that was as it should be."""

    def stalled(self, seconds: float) -> None:
        """One piece of work held up the event loop for so long."""

    def forgotten(self, definition: str, count: int) -> None:
        """So many ended sagas of a definition were removed."""

    def retention_behind(self, seconds: float) -> None:
        """For so long there has been something to forget without a break; 0 where nothing is left."""


class Silence:
    """The observer that does not care; also the base of observers that care about one thing."""

    def recorded(self, state: SagaState, records: Sequence[Record]) -> None: ...
    def committed(self, streams: int, records: int, seconds: float) -> None: ...
    def called(self, call: CallRequest, report: Report) -> None: ...
    def activated(self, count: int) -> None: ...
    def mailbox(self, depth: int) -> None: ...
    def quarantined(self, saga_id: str, reason: str) -> None: ...
    def forwarded(self, way: str, outcome: str) -> None: ...
    def answered(self, method: str, code: str, at: float, seconds: float | None, trace: TraceOf) -> None: ...
    def refused(self, reason: str) -> None: ...
    def stalled(self, seconds: float) -> None: ...
    def forgotten(self, definition: str, count: int) -> None: ...
    def retention_behind(self, seconds: float) -> None: ...
