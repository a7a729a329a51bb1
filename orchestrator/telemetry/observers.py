"""Several observers as one; a fault in one of them reaches neither the others nor the saga."""

import logging
from collections.abc import Sequence

from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Record
from orchestrator.ports.observer import Observer, Silence, TraceOf
from orchestrator.saga.events import Report
from orchestrator.saga.state import SagaState

_log = logging.getLogger(__name__)
_FACTS = tuple(name for name in vars(Silence) if not name.startswith("_"))


class Observers:
    """An observer that tells others, in the order given."""

    def __init__(self, *observers: Observer) -> None:
        """One observer needs no fan-out, yet gets its protection. Whoever leaves a fact to `Silence` is not told it."""
        self._faulty: set[int] = set()
        self._told = {
            fact: [(observer, getattr(observer, fact)) for observer in observers if _cares(observer, fact)]
            for fact in _FACTS
        }

    def recorded(self, state: SagaState, records: Sequence[Record]) -> None:
        self._tell("recorded", state, records)

    def committed(self, streams: int, records: int, seconds: float) -> None:
        self._tell("committed", streams, records, seconds)

    def called(self, call: CallRequest, report: Report) -> None:
        self._tell("called", call, report)

    def activated(self, count: int) -> None:
        self._tell("activated", count)

    def mailbox(self, depth: int) -> None:
        self._tell("mailbox", depth)

    def quarantined(self, saga_id: str, reason: str) -> None:
        self._tell("quarantined", saga_id, reason)

    def forwarded(self, way: str, outcome: str) -> None:
        self._tell("forwarded", way, outcome)

    def answered(self, method: str, code: str, at: float, seconds: float | None, trace: TraceOf) -> None:
        self._tell("answered", method, code, at, seconds, trace)

    def refused(self, reason: str) -> None:
        self._tell("refused", reason)

    def stalled(self, seconds: float) -> None:
        self._tell("stalled", seconds)

    def forgotten(self, definition: str, count: int) -> None:
        self._tell("forgotten", definition, count)

    def retention_behind(self, seconds: float) -> None:
        self._tell("retention_behind", seconds)

    def _tell(self, fact: str, *told: object) -> None:
        for observer, hear in self._told[fact]:
            try:
                hear(*told)
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


def _cares(observer: Observer, fact: str) -> bool:
    """Return whether it is more than the base of observers that care about one thing: a saga tells some forty facts."""
    return getattr(type(observer), fact, None) is not getattr(Silence, fact)
