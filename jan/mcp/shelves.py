"""The shelves of resources: which documents there are, and how they are read.

What a shelf shows is what its domain's service shows to the same caller, and so nothing of others.
"""

from typing import Any

import msgspec

from jan.caller import Caller
from jan.conv import service as workspaces
from jan.conversations import record
from jan.conversations import service as conversations
from jan.errors import NotFound
from jan.inference.catalog import Catalog
from jan.mcp.schemas import Entries, Entry
from jan.pages import Wanted
from jan.permissions import Scope
from jan.responses import store

MAX_ITEMS = 200
"""Of a conversation, in its document: the last ones."""


class Models:
    """The models that the caller may use."""

    name = "models"
    about = "A model that can be asked, as /v1/models describes it."
    template = "{+id}"
    needed = Scope.MODELS_READ

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def page(self, caller: Caller, after: str | None, limit: int) -> Entries:
        """List them all: there are few."""
        known = [each.id for each in self._catalog.usable(caller)]
        begin = known.index(after) + 1 if after in known else 0
        shown = known[begin : begin + limit]
        return Entries([Entry(each) for each in shown], has_more=begin + limit < len(known))

    async def read(self, caller: Caller, document_id: str) -> bytes:
        """Describe one."""
        return msgspec.json.encode(self._catalog.described(document_id, caller))


class Conversations:
    """The caller's conversations."""

    name = "conversations"
    about = "One of your conversations, with what was said last in it."
    template = "{id}"
    needed = Scope.CONVERSATIONS_READ

    async def page(self, caller: Caller, after: str | None, limit: int) -> Entries:
        """List them, the newest first."""
        wanted = Wanted(limit=limit, after=after, order="desc")
        found = await conversations.page(caller, wanted)
        return Entries([Entry(each.id, each.title) for each in found.data], found.has_more)

    async def read(self, caller: Caller, document_id: str) -> bytes:
        """Write one with its last items, in their order."""
        document: dict[str, Any] = msgspec.to_builtins(await conversations.get(caller, document_id))
        items = await record.history(caller, document_id)
        document["items"] = items[-MAX_ITEMS:]
        document["has_earlier_items"] = len(items) > MAX_ITEMS
        return msgspec.json.encode(document)


class Responses:
    """The caller's stored responses."""

    name = "responses"
    about = "One of your stored responses, as /v1/responses gives it."
    template = "{id}"
    needed = Scope.RESPONSES_READ

    async def page(self, caller: Caller, after: str | None, limit: int) -> Entries:
        """List them, the newest first."""
        found = await store.page(caller, Wanted(limit=limit, after=after, order="desc"))
        return Entries([Entry(each.id) for each in found.data], found.has_more)

    async def read(self, caller: Caller, document_id: str) -> bytes:
        """Write one."""
        return msgspec.json.encode((await store.get(caller, document_id)).body)


class Instructions:
    """What the caller's workspaces tell a model, as prompts."""

    needed = Scope.CONVERSATIONS_READ

    async def page(self, caller: Caller, after: str | None, limit: int) -> Entries:
        """List workspaces that have an instruction, so that a page may hold fewer than `limit`."""
        while True:
            found = await workspaces.page(caller, Wanted(limit=limit, after=after))
            shown = [Entry(each.id, each.name) for each in found.results if each.instruction]
            if shown or not found.has_more:
                return Entries(shown, has_more=found.has_more and bool(shown))
            after = found.last_id

    async def read(self, caller: Caller, prompt_id: str) -> tuple[Entry, str]:
        """Find one."""
        found = await workspaces.get(caller, prompt_id)
        if not found.instruction:
            raise NotFound("The workspace has no instruction.")
        return Entry(found.id, found.name), found.instruction
