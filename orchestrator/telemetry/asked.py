"""What is not told but asked for at every scrape: whoever has a number anyway need not tell of each change.

A source yields facts: a metric, the values of its labels, the number as it is now (a counter's since the process
began). Bootstrap knows who has what, and hands the sources to `Metrics.show`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from orchestrator.ports.cluster import Standing
from orchestrator.telemetry import instruments
from orchestrator.telemetry.instruments import Metric

Fact: TypeAlias = "tuple[Metric, tuple[str, ...], float]"
Source = Callable[[], Iterable[Fact]]

ASKED = (
    instruments.RECOVERED,
    instruments.ORPHANED,
    instruments.REVISIONS_LOADED,
    instruments.TARGETS_PAUSED,
    instruments.TARGET_IN_FLIGHT,
    instruments.TARGET_WAITING,
    instruments.JOURNAL_SIZE,
    instruments.JOURNAL_WAL,
    instruments.POOL_SIZE,
    instruments.POOL_IN_USE,
    instruments.POOL_WAITING,
    instruments.API_IN_FLIGHT,
    instruments.CLUSTER_SHARDS,
    instruments.CLUSTER_SHARDS_IN_STORE,
    instruments.CLUSTER_MEMBERS,
    instruments.CLUSTER_TRUST,
    instruments.CLUSTER_MOVES,
    instruments.CLUSTER_TERMS,
    instruments.CLUSTER_FENCED,
    instruments.CLUSTER_RENEWALS_MISSED,
    instruments.CLOCK_OFFSET,
    instruments.BUILD_INFO,
)
"""All that are asked for; they have no numbers but those that the sources give."""


def standing(now: Standing) -> Iterator[Fact]:
    """Yield how the process stands among those over the same store."""
    yield instruments.CLUSTER_SHARDS, (), now.shards
    yield instruments.CLUSTER_SHARDS_IN_STORE, (), now.shards_in_store
    yield instruments.CLUSTER_MEMBERS, (), now.members
    yield instruments.CLUSTER_TRUST, (), now.trust_s
    yield instruments.CLUSTER_MOVES, ("taken",), now.taken
    yield instruments.CLUSTER_MOVES, ("given",), now.given
    yield instruments.CLUSTER_MOVES, ("lost",), now.lost
    yield instruments.CLUSTER_TERMS, (), now.terms
    yield instruments.CLUSTER_FENCED, (), now.fenced
    yield instruments.CLUSTER_RENEWALS_MISSED, (), now.renewals_missed


def paused(scopes: Iterable[str]) -> Iterator[Fact]:
    """Yield what is paused: `target`, or `target/package.Service/Method`."""
    for scope in scopes:
        target, _, method = scope.partition("/")
        yield instruments.TARGETS_PAUSED, (target, method), 1


def targets(names: Iterable[str], in_flight: Mapping[str, int], waiting: Mapping[str, int]) -> Iterator[Fact]:
    """Yield how many calls each target has under way; 0 where none, so that the series does not come and go."""
    for name in names:
        yield instruments.TARGET_IN_FLIGHT, (name,), in_flight.get(name, 0)
        yield instruments.TARGET_WAITING, (name,), waiting.get(name, 0)


def under_way(counts: Mapping[str, int]) -> Iterator[Fact]:
    """Yield how many requests to the API are not over, by what they count against."""
    for room, count in counts.items():
        yield instruments.API_IN_FLIGHT, (room,), count
