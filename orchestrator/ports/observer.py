"""What happened, for whoever watches: one method per fact, none may raise or wait."""

from collections.abc import Sequence
from typing import Protocol

from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Record
from orchestrator.saga.events import Report
from orchestrator.saga.state import SagaState


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


class Silence:
    """The observer that does not care; also the base of observers that care about one thing."""

    def recorded(self, state: SagaState, records: Sequence[Record]) -> None: ...
    def committed(self, streams: int, records: int, seconds: float) -> None: ...
    def called(self, call: CallRequest, report: Report) -> None: ...
    def activated(self, count: int) -> None: ...
    def mailbox(self, depth: int) -> None: ...
    def quarantined(self, saga_id: str, reason: str) -> None: ...
    def forwarded(self, way: str, outcome: str) -> None: ...
