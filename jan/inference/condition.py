"""Whether an instance is well enough for requests: what its successes and failures add up to.

One process's view of one instance, fed by its own requests, by looks at the instance, and by what
the leader says. Only the monotonic clock decides; the wall clock is for people to read.
"""

import random
from collections.abc import Callable
from datetime import datetime

from jan import clock
from jan.inference.registry import State

FAILURES = 3
"""In a row, after which it gets no requests. Fewer are a slow moment or one bad request."""
BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
JITTER = 0.25
"""Share by which a back-off varies, so that processes do not try again all at once."""
STEADY_S = 60.0
"""Who was well for so long and falls is not flapping."""
TRIAL_S = 30.0
"""After which a trial that shows nothing is not waited for: another one may begin."""
FORGIVEN_S = 30.0
"""For so long a good look says nothing against failed requests: it asks for less than they did."""


class Condition:
    """Unknown, healthy, degraded, ejected or half open, see `jan.inference.registry.State`.

    Who is ejected comes back in one of three ways. A good look brings it back at once, but for one
    that flaps or failed at requests, which has to wait its time out. After that time a request may
    try it, one at a time. Or the leader says that it is well.
    """

    def __init__(self, *, spread: Callable[[], float] = random.random) -> None:
        """Know nothing. `spread` gives numbers from 0 to 1, for the jitter."""
        self._spread = spread
        self.state: State = "unknown"
        self.since: datetime = clock.now()
        """When `state` last changed."""
        self.last_error: str | None = None
        """What was last wrong. Kept when things are well again; None where nothing ever was."""
        self._told: tuple[State, datetime] | None = None
        self._failures = 0
        self._request_failed_s = -FORGIVEN_S
        self._well_since_s: float | None = None
        self._has_fallen = False
        self._flaps = 0
        self._trials = 0
        self._tried_until_s = 0.0
        self._looks_say_little = False
        self._look_from_s = 0.0
        self._try_from_s = 0.0

    @property
    def is_well(self) -> bool:
        """Whether nothing is known against it."""
        return self.state == "healthy"

    def good(self, *, is_look: bool = False) -> bool:
        """Note that a request, or a look, went well. True: the state changed."""
        now_s = clock.monotonic_s()
        if self._says_little(now_s, is_look=is_look):
            return False
        is_doubtful = is_look and self._looks_say_little
        self._be_well(now_s)
        if is_doubtful:  # the look knew nothing of the failures: the next one is enough
            self._failures = FAILURES - 1
        return self._turn("healthy")

    def bad(self, error: str, *, is_gone: bool = False, is_look: bool = False) -> bool:
        """Note that a request, or a look, failed, and why. True: the state changed.

        `is_gone`: no request would be answered, as where nobody listens.
        """
        self.last_error = error
        now_s = clock.monotonic_s()
        if not (is_look or is_gone):
            self._request_failed_s = now_s
        if self.state == "ejected":
            return False
        self._failures += 1
        if self.state in ("healthy", "degraded") and not is_gone and self._failures < FAILURES:
            return self._turn("degraded")
        return self._eject(now_s, can_be_seen=is_gone or is_look)

    def adopt(self, state: State, since: datetime, last_error: str | None) -> bool:
        """Take what the leader says, if it has not said so before. True: the state changed.

        What this process finds out afterwards is again its own.
        """
        if (state, since) == self._told:
            if last_error is not None and self.state == state:
                self.last_error = last_error
            return False
        self._told = (state, since)
        if last_error is not None:
            self.last_error = last_error
        if state == "healthy":
            self._be_well(clock.monotonic_s())
            return self._turn("healthy", since)
        if state == "degraded" and self.state in ("unknown", "healthy"):
            return self._turn("degraded", since)
        if state == "ejected" and self.state != "ejected":
            return self._eject(clock.monotonic_s(), can_be_seen=True, since=since)
        return False

    def admits(self) -> bool:
        """Tell whether a request may go there now. One that was ejected long enough is half open.

        Whoever sends a request there says so with `begin`.
        """
        if self.state == "ejected" and clock.monotonic_s() >= self._try_from_s:
            self._tried_until_s = 0.0
            self._turn("half_open")
        if self.state == "half_open":
            return clock.monotonic_s() >= self._tried_until_s
        return self.state != "ejected"

    def begin(self) -> None:
        """Note that a request goes there. While it is half open, no other one does."""
        if self.state == "half_open":
            self._tried_until_s = clock.monotonic_s() + TRIAL_S

    def settle(self) -> None:
        """Note that the request ended and showed nothing, as when its client hung up."""
        self._tried_until_s = 0.0

    def _says_little(self, now_s: float, *, is_look: bool) -> bool:
        """Whether a success changes nothing."""
        if self.state in ("healthy", "degraded"):
            return is_look and now_s < self._request_failed_s + FORGIVEN_S
        if self.state == "ejected":
            # What was answered late says little: it may have been asked before the fall.
            return now_s < (self._look_from_s if is_look else self._try_from_s)
        return is_look and self._looks_say_little and now_s < self._tried_until_s

    def _be_well(self, now_s: float) -> None:
        self._failures = self._trials = 0
        self._tried_until_s = 0.0
        self._looks_say_little = False
        if self._well_since_s is None:
            self._well_since_s = now_s

    def _eject(self, now_s: float, *, can_be_seen: bool, since: datetime | None = None) -> bool:
        was_well_since_s, self._well_since_s = self._well_since_s, None
        if was_well_since_s is not None:
            is_flapping = self._has_fallen and now_s - was_well_since_s < STEADY_S
            self._flaps = self._flaps + 1 if is_flapping else 0
            self._has_fallen = True
            # The first fall needs no rest: an engine that was restarted is used once it answers.
            self._look_from_s = now_s + (self._backoff_s(self._flaps - 1) if self._flaps else 0)
        if self.state == "half_open":
            self._trials += 1
        self._failures = 0
        self._looks_say_little = not can_be_seen
        self._try_from_s = now_s + self._backoff_s(self._flaps + self._trials)
        if not can_be_seen:
            self._look_from_s = self._try_from_s
        return self._turn("ejected", since)

    def _backoff_s(self, doublings: int) -> float:
        spread = 1 + JITTER * (2 * self._spread() - 1)
        # The exponent is bounded: a float is not.
        return min(BACKOFF_S * 2.0 ** min(doublings, 10), MAX_BACKOFF_S) * spread

    def _turn(self, state: State, since: datetime | None = None) -> bool:
        if self.state == state:
            return False
        self.state = state
        self.since = since or clock.now()
        return True
