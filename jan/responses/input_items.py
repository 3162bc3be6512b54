"""What went into a response, in pages."""

from dataclasses import dataclass

from msgspec import Raw

from jan import pages
from jan.caller import Caller
from jan.db import paging, scope
from jan.pages import Page, Wanted
from jan.responses import store

EXISTS = """
SELECT EXISTS (SELECT FROM response WHERE project_id = $1 AND owner_id = $2 AND id = $3)
"""
SELECT = """
SELECT i.position, i.id, i.item FROM response_item AS i
WHERE i.response_id = $1 AND NOT i.is_output
"""


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
    async with scope.reading(caller) as connection:
        if not await connection.fetchval(EXISTS, *caller.require_place(), response_id):
            raise store.missing(response_id)
        rows = await paging.fetch(
            *(connection, SELECT, [response_id], wanted),
            alias="i",
            instant="position",
            identity=None,
        )
    return pages.page([Given(row["id"], Raw(row["item"])) for row in rows], wanted)
