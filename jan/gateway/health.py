"""Whether something that Jan needs is there, since when, and what was last wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jan import clock


@dataclass(slots=True)
class Health:
    """What the last look at a dependency found."""

    ok: bool = False
    since: datetime = field(default_factory=clock.now)
    """When `ok` last changed."""
    last_error: str | None = None
    """What was last wrong. Kept when things are well again; None where nothing ever was."""

    told: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else the last look told, if it went well."""

    def good(self) -> bool:
        """Note that it works. True if that is news."""
        return self._turn(ok=True)

    def bad(self, error: str) -> bool:
        """Note that it does not work, and why. True if that is news."""
        self.last_error = error
        return self._turn(ok=False)

    def _turn(self, *, ok: bool) -> bool:
        if self.ok == ok:
            return False
        self.ok = ok
        self.since = clock.now()
        return True
