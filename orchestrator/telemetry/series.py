"""The numbers of a metric: counters, gauges and histograms by label values, and what of a trace stands beside them.

They are our own because a page of 100 definitions has ten thousand samples: prometheus-client's writer takes 50 to 70
ms of the event loop for those, and its instruments a lock for every addition. These add without a lock, so each number
has one writer: the event loop's thread, or, of what the exporter's thread tells, that thread alone.

An exemplar is the trace of one observation, kept beside the bucket or the counter that it went into. At most one a
second is taken for each: a hot bucket costs nothing more, and a rare one, where the slow calls are, always has one.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Generic, TypeVar

from orchestrator.limits import EXEMPLAR_S, METRIC_LABEL_SETS_MAX
from orchestrator.telemetry.instruments import Metric

OTHER = "other"
_NEVER = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemplar:
    """One observation and where it is told: a span, and so the trace around it."""

    trace_id: int
    span_id: int
    value: float
    at: float


class Counter:
    """A number that grows."""

    __slots__ = ("exemplar", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self.exemplar: Exemplar | None = None

    def inc(self, amount: float = 1) -> None:
        self.value += amount

    def wants_exemplar(self, at: float) -> bool:
        """Return whether the last exemplar is old enough to be replaced."""
        return self.exemplar is None or at - self.exemplar.at >= EXEMPLAR_S


class Gauge:
    """A number that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def set(self, value: float) -> None:
        self.value = value


class Histogram:
    """How many observations were how large; `counts` has one number for each bound, and one for what is larger."""

    __slots__ = ("_bounds", "_told_at", "counts", "exemplars", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}
        """By bucket."""
        self._told_at: list[float] | None = None
        """Since when each bucket has its exemplar; made with the first, for most histograms never have one."""

    def observe(self, amount: float) -> None:
        self.counts[bisect_left(self._bounds, amount)] += 1
        self.total += amount

    def wants_exemplar(self, amount: float, at: float) -> bool:
        """Return whether the exemplar of the amount's bucket is old enough to be replaced."""
        told_at = self._told_at
        return told_at is None or at - told_at[bisect_left(self._bounds, amount)] >= EXEMPLAR_S

    def tell(self, exemplar: Exemplar) -> None:
        """Keep the exemplar beside its bucket."""
        if self._told_at is None:
            self._told_at = [_NEVER] * len(self.counts)
        bucket = bisect_left(self._bounds, exemplar.value)
        self.exemplars[bucket] = exemplar
        self._told_at[bucket] = exemplar.at


Child = TypeVar("Child", Counter, Gauge, Histogram)


class Family(Generic[Child]):
    """A metric and its numbers by label values, at most `METRIC_LABEL_SETS_MAX` of them and one for all others."""

    __slots__ = ("_children", "_make", "_order", "bounds", "labels", "metric")

    def __init__(self, metric: Metric, make: Callable[[], Child]) -> None:
        """`make` gives a number that nothing was added to."""
        self.metric = metric
        self.bounds = tuple(written(bound) for bound in (*metric.buckets, float("inf")))
        """As they are written; a histogram's alone."""
        self.labels: dict[tuple[str, ...], str] = {}
        """Label values -> the labels as they are written, in order of their names."""
        self._make: Callable[[], Child] = make
        self._children: dict[tuple[str, ...], Child] = {}
        self._order = sorted(range(len(metric.labels)), key=lambda at: metric.labels[at])

    def of(self, *values: str) -> Child:
        """Return the number of these label values, in the order of the metric's labels."""
        child = self._children.get(values)
        return child if child is not None else self._bind(values)

    def has(self, *values: str) -> bool:
        """Return whether these label values have a number of their own."""
        return values in self._children

    def expect(self, *values: str) -> None:
        """Let these label values have a number before anything happens; not once half of the room is taken."""
        if values not in self._children and len(self._children) < METRIC_LABEL_SETS_MAX // 2:
            self._bind(values)

    def clear(self) -> None:
        """Forget every combination of labels, for a metric that is written anew at each scrape."""
        self._children.clear()
        self.labels.clear()

    def children(self) -> Iterator[tuple[tuple[str, ...], Child]]:
        """Yield the numbers with their label values."""
        yield from self._children.items()

    def _bind(self, values: tuple[str, ...]) -> Child:
        values = tuple(map(str, values))  # a word of an enumeration finds it, being equal; what is kept is plain text
        if len(self._children) >= METRIC_LABEL_SETS_MAX:
            values = (OTHER,) * len(values)
            if (others := self._children.get(values)) is not None:
                return others
        names = self.metric.labels
        self.labels[values] = ",".join(f'{names[at]}="{escaped(values[at])}"' for at in self._order)
        child = self._make()
        self._children[values] = child
        return child


def written(value: float) -> str:
    """Return a number as it stands on the page."""
    if type(value) is int or isfinite(value):
        return repr(value)
    return "NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"


def escaped(text: str) -> str:
    """Return a text as it stands between quotes on the page."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
