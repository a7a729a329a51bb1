"""The newest records of a store, as they were appended: whoever follows the journal closely need not read them back.

Positions are consecutive where one writer gives them out, so a page is exact or it is not here: then it is read from
the store, as everything older is. What is kept is what was encoded, and an event that is decoded again is equal to the
one that was encoded, so nobody can tell which of the two a page came from.
"""

from collections.abc import Sequence

from orchestrator.ids import SagaId
from orchestrator.limits import RECENT_BYTES_MAX, RECENT_RECORDS_MAX
from orchestrator.ports.journal import PositionedRecord, Record


class Recent:
    """Bounded in records and in bytes; the oldest go first."""

    __slots__ = ("_bytes", "_bytes_max", "_first", "_kept", "_last", "_records_max")

    def __init__(self, *, records_max: int = RECENT_RECORDS_MAX, bytes_max: int = RECENT_BYTES_MAX) -> None:
        """Begin with none."""
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._kept: dict[int, tuple[SagaId, Record, int]] = {}
        self._first = 0
        self._last = 0
        self._bytes = 0

    def add(self, last: int, written: Sequence[tuple[SagaId, Record, int]]) -> None:
        """Keep records that are durable, with the bytes each was encoded to; the last of them lies at `last`.

        Where they do not follow on what is kept, that is forgotten.
        """
        if not written:
            return
        first = last - len(written) + 1
        if not self._kept or first != self._last + 1:
            self._kept.clear()
            self._first, self._bytes = first, 0
        self._kept.update(enumerate(written, first))
        self._last = last
        self._bytes += sum([size for _, _, size in written])
        while self._bytes > self._bytes_max or len(self._kept) > self._records_max:
            self._bytes -= self._kept.pop(self._first)[2]
            self._first += 1

    def after(self, position: int, limit: int) -> list[PositionedRecord] | None:
        """Return the records behind a position; None where the first of them may not be here."""
        if not self._kept or not self._first - 1 <= position <= self._last:
            return None
        found: list[PositionedRecord] = []
        for each in range(position + 1, min(position + limit, self._last) + 1):
            saga_id, record, _ = self._kept[each]
            found.append(PositionedRecord(position=each, saga_id=saga_id, record=record))
        return found
