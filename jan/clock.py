"""The time. Every module that needs it asks here, so that a test can set it."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The current time, in UTC and aware of it."""
    return datetime.now(UTC)


def monotonic_s() -> float:
    """Seconds on a clock that never goes back. Only differences mean something."""
    return time.monotonic()
