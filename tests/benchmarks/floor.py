"""A floor under what is measured: told from noise by rounds in pairs, as many as it takes.

Both sides of a pair, the bare client and ours, run within the same second, so that a busy neighbour slows both; the
ratio is what is left of the noise. Of n ratios, sorted, the k-th from either end bound the median of all that could be
drawn, at a known confidence and whatever their distribution is: the median lies below the lowest of eight with a
chance of one in 256. It is a loss when the whole interval lies under the floor. While the floor is within it, another
pair is run, up to a bound; whoever is undecided then has not lost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.99
PAIRS_MIN, PAIRS_MAX = 8, 20
"""Eight are the fewest whose interval has that confidence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the pairs so far say about a floor."""

    low: float
    high: float
    floor: float

    @property
    def is_loss(self) -> bool:
        return self.high < self.floor

    @property
    def is_decided(self) -> bool:
        return self.is_loss or self.low >= self.floor


def judged(ratios: Sequence[float], floor: float) -> Verdict:
    """Return the interval of the median, and what it says; nothing before there are enough pairs."""
    if len(ratios) < PAIRS_MIN:
        return Verdict(0.0, math.inf, floor)
    ordered, rank = sorted(ratios), _rank(len(ratios))
    return Verdict(ordered[rank], ordered[-1 - rank], floor)


def _rank(count: int) -> int:
    """Return how many of the lowest, and of the highest, the interval may leave out."""
    rank = 0
    while 2 * _at_most(rank + 1, count, 0.5) <= 1 - CONFIDENCE:
        rank += 1
    return rank


def _at_most(most: int, count: int, chance: float) -> float:
    """Return the chance of at most so many of so many draws."""
    return sum(math.comb(count, n) * chance**n * (1 - chance) ** (count - n) for n in range(most + 1))


def chance_of_alarm(median: float, floor: float, spread: float) -> float:
    """Return a bound on the chance of a false alarm, over all looks together.

    `median` is what a sound engine has, `spread` the standard deviation of the logarithms of its ratios.
    """
    below = NormalDist().cdf(math.log(floor / median) / spread)
    looks = range(PAIRS_MIN, PAIRS_MAX + 1)
    return min(1.0, sum(_at_most(_rank(count), count, 1 - below) for count in looks))
