"""The newest records of a store, as they were appended: who follows the journal closely need not read them back.

Positions are consecutive where one writer gives them out, so a page is exact or it is not here: then it is read from
the store, as everything older is. What is kept is what was encoded, and an event that is decoded again is equal to the
one that was encoded, so nobody can tell which of the two a page came from.

Only what the follower has not asked beyond is kept, and nothing where it is too far behind: it may stand still for
hours, because a collector does not answer, and values that are held for nothing make collections of garbage longer.
What was appended at once is kept, and counted with all its bytes, until the last of its records has been asked beyond;
records are counted one by one, so that by up to one such group more of them are held than their bound says.
"""

from collections import deque
from collections.abc import Sequence

from orchestrator.ids import SagaId
from orchestrator.limits import RECENT_BYTES_MAX, RECENT_RECORDS_MAX
from orchestrator.ports.journal import PositionedRecord, Record


class Recent:
    """For one follower; bounded in records and in bytes."""

    __slots__ = ("_bytes", "_bytes_max", "_first", "_groups", "_is_followed", "_last", "_records_max")

    def __init__(self, *, records_max: int = RECENT_RECORDS_MAX, bytes_max: int = RECENT_BYTES_MAX) -> None:
        """Begin with none; nothing is kept before `follow`."""
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._is_followed = False
        self._groups: deque[tuple[list[PositionedRecord], int]] = deque()
        self._first, self._last, self._bytes = 0, -1, 0

    def follow(self) -> None:
        """Keep what is appended from now on: the follower has read all that there was."""
        self._is_followed = True

    def add(self, last: int, written: Sequence[tuple[SagaId, Record]], size: int) -> None:
        """Keep records that are durable, and were encoded to so many bytes; the last of them lies at `last`.

        Where they do not follow on what is kept, that is forgotten.
        """
        if not self._is_followed or not written:
            return
        first = last - len(written) + 1
        if first != self._last + 1:
            self._clear(first)
        group = [
            PositionedRecord(position=position, saga_id=saga_id, record=record)
            for position, (saga_id, record) in enumerate(written, first)
        ]
        self._groups.append((group, size))
        self._last = last
        self._bytes += size
        if self._bytes > self._bytes_max or self._last - self._first >= self._records_max:
            self._is_followed = False
            self._clear(first=0)

    def after(self, position: int, limit: int) -> list[PositionedRecord] | None:
        """Return the records behind a position, and forget those before it; None where the first may not be here."""
        if not self._is_followed or not self._first - 1 <= position <= self._last:
            return None
        self._first = position + 1
        while self._groups and self._groups[0][0][-1].position <= position:
            self._bytes -= self._groups.popleft()[1]
        found: list[PositionedRecord] = []
        for group, _ in self._groups:
            begin = max(0, self._first - group[0].position)
            found += group[begin : begin + limit - len(found)]
            if len(found) == limit:
                break
        return found

    def _clear(self, first: int) -> None:
        self._groups.clear()
        self._first, self._last, self._bytes = first, first - 1, 0
