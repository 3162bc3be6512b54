"""What went into a response, in pages."""

from dataclasses import dataclass
from typing import Any

from msgspec import Raw

from jan import pages
from jan.caller import Caller
from jan.db import scope
from jan.errors import InvalidRequest
from jan.pages import Page, Wanted
from jan.responses import store

# Where the item stands that the page begins behind.
FIND = """
SELECT (
    SELECT i.position FROM response_item AS i
    WHERE i.response_id = r.id AND NOT i.is_output AND i.id = $4
) AS position
FROM response AS r WHERE r.project_id = $1 AND r.owner_id = $2 AND r.id = $3
"""
SELECT = "SELECT id, item FROM response_item WHERE response_id = $1 AND NOT is_output"


@dataclass(frozen=True, slots=True)
class Given:
    """An item of a response's input, as it is stored."""

    id: str
    body: Raw


async def page(caller: Caller, response_id: str, wanted: Wanted) -> Page[Given]:
    """List the items of a response's own input; not those that came before it.

    Raises:
        NotFound: there is no such response, or none of the caller's.
        InvalidRequest: the cursor is none of its items.
    """
    async with scope.of(caller) as connection:
        found = await connection.fetchrow(FIND, *caller.require_place(), response_id, wanted.cursor)
        if found is None:
            raise store.missing(response_id)
        rows = await _fetch(connection, response_id, wanted, found["position"])
    return pages.page([Given(row["id"], Raw(row["item"])) for row in rows], wanted)


async def _fetch(connection: Any, response_id: str, wanted: Wanted, position: int | None) -> Any:
    select, values = SELECT, [response_id, wanted.limit + 1]
    if wanted.cursor is not None:
        if position is None:
            raise InvalidRequest(
                f"`{wanted.cursor_param}` is none of the ids in this list.",
                param=wanted.cursor_param,
            )
        select += f" AND position {'>' if wanted.reads_up else '<'} $3"
        values.append(position)
    direction = "ASC" if wanted.reads_up else "DESC"
    return await connection.fetch(f"{select} ORDER BY position {direction} LIMIT $2", *values)
