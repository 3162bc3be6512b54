"""Programs that a Valkey or Redis runs: all of one at once, with nothing else in between."""

import hashlib
from functools import cached_property


class Script:
    """One in Lua."""

    def __init__(self, source: str) -> None:
        self.source = source

    @cached_property
    def digest(self) -> str:
        """What the server calls it."""
        return hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
