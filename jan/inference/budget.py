"""How many requests may be tried a second time: a share of all of them, so that a storm ends.

Where everything fails, each request that is tried three times makes three times the load, on what
can't bear the load it has.

Source: https://finagle.github.io/blog/2016/02/08/retry-budgets/
"""

SHARE = 0.2
RESERVE = 10.0
"""For those that are few."""
MAX_SAVED = 100.0


class RetryBudget:
    """Saves up with each request, and pays for each further try."""

    def __init__(self) -> None:
        self._saved = RESERVE

    def note(self) -> None:
        """Note a request."""
        if self._saved < MAX_SAVED:
            self._saved += SHARE

    @property
    def is_spent(self) -> bool:
        """Whether there is nothing to pay for another try with."""
        return self._saved < 1

    def spend(self) -> bool:
        """Pay for another try. False: there is nothing left to pay with."""
        if self.is_spent:
            return False
        self._saved -= 1
        return True
