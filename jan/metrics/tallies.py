"""What ended requests add to: numbers in memory, cheap enough to be counted for every request.

The objects of Prometheus' library take a lock for each number and look a series up by text: ten of
them for a request would cost a tenth of what the request does. Its text is written by it.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Self


class Tally:
    """How many values were at most each of some bounds, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Of each part between two bounds. The last is what is beyond all."""
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add_all(self, counts: Sequence[int], total: float) -> None:
        """Add values that were counted in the same parts elsewhere."""
        mine = self.counts
        for part, count in enumerate(counts):
            if count:
                mine[part] += count
        self.sum += total

    def __iadd__(self, other: Self) -> Self:
        self.add_all(other.counts, other.sum)
        return self
