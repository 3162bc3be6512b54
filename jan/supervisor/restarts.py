"""When a child that died is started again, and when it is no use."""

from dataclasses import dataclass

FIRST_DELAY_S = 0.2
"""A single death, by `kill -9` or for want of memory, is mended at once."""
DELAY_FACTOR = 3
MAX_DELAY_S = 60.0
"""The pace at which a broken child is tried again that the rest can do without."""
MAX_FAILURES = 5
"""Deaths in a row after which a child counts as broken."""
HEALTHY_S = 60.0
"""A life this long proves that a child can live: deaths before it no longer count."""


@dataclass
class Restarts:
    """The deaths of one child, in a row."""

    failures: int = 0

    def died(self, lived_s: float) -> float:
        """Count a death. Returns the seconds to wait before the next life."""
        self.failures = 1 if lived_s >= HEALTHY_S else self.failures + 1
        if self.is_broken:
            return MAX_DELAY_S
        return min(FIRST_DELAY_S * DELAY_FACTOR ** (self.failures - 1), MAX_DELAY_S)

    @property
    def is_broken(self) -> bool:
        """Whether another try would most likely end as the last ones did."""
        return self.failures >= MAX_FAILURES
