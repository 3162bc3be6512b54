"""What is the caller's, as resources: `jan://conversations/...` and the like.

A list goes from shelf to shelf. Its cursor says on which, and behind which document.
"""

import base64
from collections.abc import Sequence

import mcp_types as types
from mcp.shared.exceptions import MCPError

from jan.caller import Caller
from jan.errors import NotFound
from jan.mcp.schemas import PAGE, Shelf

SCHEME = "jan://"
JSON = "application/json"
MAX_CURSOR_LENGTH = 512


class Resources:
    """All shelves, in the order in which they are listed."""

    def __init__(self, shelves: Sequence[Shelf]) -> None:
        self._shelves = {shelf.name: shelf for shelf in shelves}

    async def page(self, caller: Caller, cursor: str | None) -> types.ListResourcesResult:
        """List one page.

        Raises:
            MCPError: the cursor is none of this list's.
            InvalidRequest: what it points to is gone.
        """
        mine = self._of(caller)
        name, after = _read_cursor(cursor) if cursor else (next(iter(mine), ""), None)
        if name not in mine and cursor:
            raise _bad_cursor()
        names = list(mine)
        found: list[types.Resource] = []
        for position in range(names.index(name) if mine else 0, len(names)):
            shelf = mine[names[position]]
            entries = await shelf.page(caller, after, PAGE - len(found))
            after = None
            found += [
                types.Resource(
                    uri=f"{SCHEME}{shelf.name}/{entry.id}",
                    name=entry.id,
                    title=entry.title,
                    description=entry.description,
                    mime_type=JSON,
                )
                for entry in entries.data
            ]
            if entries.has_more:
                next_cursor = _cursor(shelf.name, entries.data[-1].id)
                return types.ListResourcesResult(resources=found, next_cursor=next_cursor)
            if len(found) >= PAGE and position + 1 < len(names):
                next_cursor = _cursor(names[position + 1], "")
                return types.ListResourcesResult(resources=found, next_cursor=next_cursor)
        return types.ListResourcesResult(resources=found)

    def templates(self, caller: Caller) -> types.ListResourceTemplatesResult:
        """List how addresses are made."""
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    uri_template=f"{SCHEME}{shelf.name}/{shelf.template}",
                    name=shelf.name,
                    description=shelf.about,
                    mime_type=JSON,
                )
                for shelf in self._of(caller).values()
            ]
        )

    async def read(self, caller: Caller, uri: str) -> types.ReadResourceResult:
        """Read one. What is missing, somebody else's or out of reach is answered alike.

        Raises:
            MCPError: there is no such resource.
        """
        name, _, document_id = uri.removeprefix(SCHEME).partition("/")
        shelf = self._of(caller).get(name)
        if not uri.startswith(SCHEME) or shelf is None or not document_id:
            raise _missing(uri)
        try:
            document = await shelf.read(caller, document_id)
        except NotFound:
            raise _missing(uri) from None
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=uri, mime_type=JSON, text=document.decode())]
        )

    def _of(self, caller: Caller) -> dict[str, Shelf]:
        return {
            name: shelf for name, shelf in self._shelves.items() if shelf.needed in caller.scopes
        }


def _cursor(name: str, after: str) -> str:
    return base64.urlsafe_b64encode(f"{name}:{after}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[str, str | None]:
    try:
        if len(cursor) > MAX_CURSOR_LENGTH:
            raise _bad_cursor()
        name, _, after = base64.b64decode(cursor, b"-_", validate=True).decode().partition(":")
    except ValueError:
        raise _bad_cursor() from None
    return name, after or None


def _bad_cursor() -> MCPError:
    return MCPError(types.INVALID_PARAMS, "The cursor is none of this list's.")


def _missing(uri: str) -> MCPError:
    return MCPError(types.INVALID_PARAMS, "There is no such resource.", {"uri": uri})
