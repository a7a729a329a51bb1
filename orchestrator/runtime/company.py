"""For how many appends a group commit waits: for those that are about to come, and not for long.

A transaction, a sync and a turn of the event loop cost much the same for one append as for ten. Where many sagas are at
work the next append is a fraction of a millisecond away, and each that is waited for saves a commit. Nobody waits who
is alone: never for more appends than sagas are awake, since each of them has one on its way at most. PostgreSQL knows
the same as `commit_delay` and `commit_siblings`.
"""

from dataclasses import dataclass

from orchestrator.limits import COMMIT_GATHER_S

WEIGHT_OF_LATEST = 0.1
"""Of the moving averages: ten groups or so, some hundredths of a second under load."""


@dataclass(slots=True)
class Company:
    """What is to be expected, from the groups so far."""

    streams: float = 0.0
    """Of a group, on average."""
    gap_s: float = 1.0
    """Between two groups, on average; one that is longer counts as this long."""
    began_at: float = 0.0
    """When the last group began, by the monotonic clock."""

    def observe(self, streams: int, began_at: float) -> None:
        """Take note of a group that begins now."""
        gap_s, self.began_at = min(1.0, began_at - self.began_at), began_at
        self.streams += (streams - self.streams) * WEIGHT_OF_LATEST
        self.gap_s += (gap_s - self.gap_s) * WEIGHT_OF_LATEST

    def expected(self, awake: int) -> int:
        """Return how many appends are expected while the first of them waits; at most one means: do not wait."""
        return int(min(awake, self.streams * COMMIT_GATHER_S / self.gap_s))
