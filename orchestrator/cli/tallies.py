"""What changed between two looks at the same processes: rates, shares and quantiles, for `saga top`. Pure.

A process shows counters that only grow, gauges, and histograms as counters of buckets. What happened in an interval is
the difference of two looks, by the process's own clock; of a counter that went backwards, because the process began
anew, it is what the new one has. What several processes did is added up; what each of them counted in the store that
they share is the same number, so it is not.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Labels = tuple[tuple[str, str], ...]
"""Sorted by name."""
Figures = Mapping[str, Mapping[Labels, float]]
"""Name -> labels -> value, as `/metrics` has them."""

_STARTED = "process_start_time_seconds"
_RESTART_S = 1.0
"""A process that began so much later than it did at the last look is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One process's figures at one instant."""

    server: str
    """Where it was asked."""
    name: str
    at: float
    """By the clock of the process, Unix seconds."""
    figures: Figures

    @property
    def began_at(self) -> float | None:
        """Return when the process began; None where it does not say."""
        return self.gauge(_STARTED)

    @property
    def identity(self) -> tuple[str, float]:
        """Return what two addresses of one process have in common."""
        return self.name, self.began_at or 0.0

    def gauge(self, name: str) -> float | None:
        """Return a figure without labels."""
        return self.figures.get(name, {}).get(())

    def gauges(self, name: str, label: str) -> Iterator[tuple[str, float]]:
        """Yield a figure by the value of one of its labels."""
        for labels, value in self.figures.get(name, {}).items():
            yield dict(labels).get(label, ""), value

    def label(self, name: str, label: str) -> str:
        """Return a label of a figure that stands for its labels alone."""
        return next((dict(labels).get(label, "") for labels in self.figures.get(name, {})), "")


def look_of(server: str, name: str, at: float, figures: Iterable[tuple[str, Mapping[str, str], float]]) -> Look:
    """Return a look, from figures as a process gives them: name, labels, value."""
    found: dict[str, dict[Labels, float]] = defaultdict(dict)
    for figure, labels, value in figures:
        found[figure][tuple(sorted(labels.items()))] = value
    return Look(server=server, name=name, at=at, figures=dict(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Two looks at one process; of one that was not looked at before, nothing is known to have happened."""

    before: Look | None
    now: Look

    @property
    def seconds(self) -> float:
        """Return how long it was; 0 where nothing can be said."""
        if self.before is None:
            return 0.0
        if self._is_restarted:
            return max(0.0, self.now.at - (self.now.began_at or self.before.at))
        return max(0.0, self.now.at - self.before.at)

    @property
    def _is_restarted(self) -> bool:
        before = None if self.before is None else self.before.began_at
        return before is not None and (self.now.began_at or 0.0) > before + _RESTART_S

    def grown(self, name: str) -> Iterator[tuple[Labels, float]]:
        """Yield by how much each counter of a name has grown."""
        if self.before is None or not self.seconds:
            return
        base = {} if self._is_restarted else self.before.figures.get(name, {})
        for labels, value in self.now.figures.get(name, {}).items():
            grown = value - base.get(labels, 0.0)
            yield labels, grown if grown >= 0.0 else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """A quantile in seconds, or that it is more than the largest bucket tells."""

    seconds: float
    is_more: bool = False


class Tally:
    """What several processes did in one interval."""

    def __init__(self, intervals: Sequence[Interval]) -> None:
        """Take one interval of each."""
        self.intervals = intervals

    def rates(self, name: str, *by: str, where: Callable[[Mapping[str, str]], bool] | None = None) -> dict[str, float]:
        """Return how often a second, by one label, added up over all others and over all processes."""
        found: dict[str, float] = defaultdict(float)
        for interval in self.intervals:
            for labels, grown in interval.grown(name):
                told = dict(labels)
                if where is None or where(told):
                    found[told.get(by[0], "") if by else ""] += grown / interval.seconds
        return dict(found)

    def rate(self, name: str) -> float:
        """Return how often a second in all."""
        return sum(self.rates(name).values())

    def quantile(self, name: str, share: float, **where: str) -> Quantile | None:
        """Return a quantile of what a histogram measured in the interval; None where it measured nothing."""
        buckets: dict[float, float] = defaultdict(float)
        for interval in self.intervals:
            for labels, grown in interval.grown(f"{name}_bucket"):
                told = dict(labels)
                if all(told.get(label) == value for label, value in where.items()):
                    buckets[float(told.get("le", "inf"))] += grown
        return quantile_of(sorted(buckets.items()), share)

    def summed(self, name: str) -> float:
        """Return a gauge that each process has for itself, of all of them."""
        return sum(value for interval in self.intervals for value in interval.now.figures.get(name, {}).values())

    def shared(self, name: str) -> float:
        """Return a gauge that each process reads in the store that they share: the same at each, but for its age."""
        return max((interval.now.gauge(name) or 0.0 for interval in self.intervals), default=0.0)

    def summed_by(self, name: str, label: str) -> dict[str, float]:
        """Return, by a label, a number that each process has for itself: a gauge, or a counter as it stands."""
        found: dict[str, float] = defaultdict(float)
        for interval in self.intervals:
            for value, count in interval.now.gauges(name, label):
                found[value] += count
        return dict(found)

    def shared_by(self, name: str, label: str) -> dict[str, float]:
        """Return, by a label, a gauge of the store that they share."""
        found: dict[str, float] = {}
        for interval in self.intervals:
            for value, count in interval.now.gauges(name, label):
                found[value] = max(found.get(value, 0.0), count)
        return found


def quantile_of(buckets: Sequence[tuple[float, float]], share: float) -> Quantile | None:
    """Return a quantile of cumulative buckets, upper edge and count, as if each were filled evenly."""
    if not buckets or buckets[-1][1] <= 0.0:
        return None
    rank = share * buckets[-1][1]
    edge, count = 0.0, 0.0
    for upper, up_to in buckets:
        if up_to >= rank and up_to > count:
            if math.isinf(upper):
                return Quantile(seconds=edge, is_more=True)
            return Quantile(seconds=edge + (upper - edge) * (rank - count) / (up_to - count))
        edge, count = upper, up_to
    return Quantile(seconds=edge, is_more=True)
