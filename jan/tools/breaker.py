"""A circuit breaker: what fails again and again is left alone for a while, then tried by one."""

from collections.abc import Generator
from contextlib import contextmanager

from jan import clock

MAX_FAILURES = 5
"""In a row. A provider that drops a request or two is not down."""
REST_S = 10.0
"""How long it is left alone. A search that fails at once is one that the model can go on from."""


class Unwell(Exception):
    """The provider is in trouble: it is down, or answers with nonsense."""

    def __init__(self, reason: str, rest_s: float | None = None) -> None:
        super().__init__(reason)
        self.rest_s = rest_s
        """How long it asks to be left alone."""


class Resting(Exception):
    """The provider is left alone for now."""

    def __init__(self, wait_s: float, *, is_asked: bool) -> None:
        super().__init__()
        self.wait_s = wait_s
        self.is_asked = is_asked
        """Whether it said so itself; else it failed too often."""


class Breaker:
    """Knows how one provider fares, as seen from this process."""

    def __init__(self) -> None:
        self._failures = 0
        self._broken_until_s = 0.0
        self._asked_until_s = 0.0
        self._is_tried = False

    @contextmanager
    def attempt(self) -> Generator[None]:
        """Let a request through. What of it counts is whether the block raises `Unwell`.

        Raises:
            Resting: not now.
        """
        now_s = clock.monotonic_s()
        if self._broken_until_s > now_s:
            raise Resting(self._broken_until_s - now_s, is_asked=False)
        if self._asked_until_s > now_s:
            raise Resting(self._asked_until_s - now_s, is_asked=True)
        is_trial = self._failures >= MAX_FAILURES
        if is_trial and self._is_tried:
            raise Resting(REST_S, is_asked=False)
        self._is_tried = is_trial
        try:
            yield
        except Unwell:
            self._failures += 1
            if self._failures >= MAX_FAILURES:
                self._broken_until_s = clock.monotonic_s() + REST_S
            raise
        else:
            self._failures = 0
        finally:
            if is_trial:
                self._is_tried = False

    def rest(self, seconds: float) -> None:
        """Let nothing through for so long: it asked for it."""
        self._asked_until_s = max(self._asked_until_s, clock.monotonic_s() + seconds)
