"""What an examination says: how each thing is, and what to do where it is not well."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from jan.settings import Loaded

Level = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    level: Level
    message: str
    hint: str | None = None
    """How to mend it."""


Check = Callable[[Loaded], Awaitable[Finding]]
"""Looks at one thing. May raise JanError, which is a failure with its own words."""
