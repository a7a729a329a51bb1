"""Several observers as one; a fault in one of them reaches neither the others nor the saga."""

import logging
from collections.abc import Callable, Sequence

from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Record
from orchestrator.ports.observer import Observer, TraceOf
from orchestrator.saga.events import Report
from orchestrator.saga.state import SagaState

_log = logging.getLogger(__name__)


class Observers:
    """An observer that tells others, in the order given."""

    def __init__(self, *observers: Observer) -> None:
        """One observer needs no fan-out, yet gets its protection."""
        self._observers = observers
        self._faulty: set[int] = set()

    def recorded(self, state: SagaState, records: Sequence[Record]) -> None:
        self._tell(lambda observer: observer.recorded(state, records))

    def committed(self, streams: int, records: int, seconds: float) -> None:
        self._tell(lambda observer: observer.committed(streams, records, seconds))

    def called(self, call: CallRequest, report: Report) -> None:
        self._tell(lambda observer: observer.called(call, report))

    def activated(self, count: int) -> None:
        self._tell(lambda observer: observer.activated(count))

    def mailbox(self, depth: int) -> None:
        self._tell(lambda observer: observer.mailbox(depth))

    def quarantined(self, saga_id: str, reason: str) -> None:
        self._tell(lambda observer: observer.quarantined(saga_id, reason))

    def forwarded(self, way: str, outcome: str) -> None:
        self._tell(lambda observer: observer.forwarded(way, outcome))

    def answered(self, method: str, code: str, at: float, seconds: float | None, trace: TraceOf) -> None:
        self._tell(lambda observer: observer.answered(method, code, at, seconds, trace))

    def refused(self, reason: str) -> None:
        self._tell(lambda observer: observer.refused(reason))

    def stalled(self, seconds: float) -> None:
        self._tell(lambda observer: observer.stalled(seconds))

    def forgotten(self, definition: str, count: int) -> None:
        self._tell(lambda observer: observer.forgotten(definition, count))

    def _tell(self, fact: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                fact(observer)
            except Exception:  # an observer's bug, of whatever kind, is not the saga's  # noqa: BLE001
                self._complain(observer)

    def _complain(self, observer: Observer) -> None:
        """Once per observer: its next fault is most likely the same, and there may be thousands a second."""
        if id(observer) not in self._faulty:
            self._faulty.add(id(observer))
            _log.exception(
                "observer %s failed; sagas are not affected, its figures may be wrong from here on; please report this",
                type(observer).__name__,
            )
