"""What the MCP server needs of what it shows: tools, shelves of documents, prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jan.caller import Caller
from jan.permissions import Scope

PAGE = 50
"""Entries in one page of a list."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A document or a prompt, as a list tells of it."""

    id: str
    title: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Entries:
    """One page of entries."""

    data: Sequence[Entry]
    has_more: bool = False


class Shelf(Protocol):
    """Documents of one kind."""

    @property
    def name(self) -> str:
        """The first part of their addresses, such as `conversations`."""
        ...

    @property
    def about(self) -> str:
        """What stands there, in a sentence."""
        ...

    @property
    def template(self) -> str:
        """How an address is made of an id (RFC 6570)."""
        ...

    @property
    def needed(self) -> Scope:
        """Without it the shelf is empty."""
        ...

    async def page(self, caller: Caller, after: str | None, limit: int) -> Entries:
        """List what is the caller's. Raises InvalidRequest if `after` is none of it."""
        ...

    async def read(self, caller: Caller, document_id: str) -> bytes:
        """Write one as JSON. Raises NotFound if it is missing, or somebody else's."""
        ...


class Prompts(Protocol):
    """Texts that are made to be put before a model."""

    @property
    def needed(self) -> Scope:
        """Without it there are none."""
        ...

    async def page(self, caller: Caller, after: str | None, limit: int) -> Entries:
        """List those of the caller. Raises InvalidRequest if `after` is none of them."""
        ...

    async def read(self, caller: Caller, prompt_id: str) -> tuple[Entry, str]:
        """Find one, and its text. Raises NotFound if it is missing, or somebody else's."""
        ...
