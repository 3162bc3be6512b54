"""Rules of the items of a conversation: what clients add, read one by one, and remove."""

from typing import Any

import msgspec

from jan import clock, pages
from jan.caller import Caller
from jan.conversations import inclusion, items, record
from jan.conversations.items import Item
from jan.conversations.schemas import Given, ItemList
from jan.db import paging, scope
from jan.errors import InvalidRequest, NotFound
from jan.pages import Wanted

MAX_ITEMS = 20
"""That a client may send at a time. Source: OpenAI's `ItemCreateParams`."""

SELECT_ALL = """
SELECT i.id, i.position, i.item FROM conversation_item AS i
WHERE i.project_id = $1 AND i.owner_id = $2 AND i.conversation_id = $3
"""
SELECT = f"{SELECT_ALL} AND i.id = $4"
DELETE = """
DELETE FROM conversation_item
WHERE project_id = $1 AND owner_id = $2 AND conversation_id = $3 AND id = $4 RETURNING id
"""


async def add(
    caller: Caller, conversation_id: str, given: Given, included: frozenset[str] = frozenset()
) -> ItemList:
    """Add items at the end: all of them or none. A reference stands for a copy of what it names.

    Raises:
        InvalidRequest: there are too many, or one is no item or has an id that is taken; `param`
            names it by its index.
        NotFound: no such conversation, or item that is referred to, of the caller's.
    """
    if len(given) > MAX_ITEMS:
        raise InvalidRequest(
            f"`items` has {len(given)} entries, of {MAX_ITEMS} at most.", param="items"
        )
    for index, item in enumerate(given):
        items.read(item, f"items[{index}]")
    async with scope.of(caller):
        named = [items.with_id(item) for item in await _resolved(caller, given)]
        kept = await record.append(caller, conversation_id, named)
        for index, (item, wanted) in enumerate(zip(kept, named, strict=True)):
            if item["id"] != wanted["id"]:  # and so nothing is kept
                raise InvalidRequest(
                    f"`items[{index}].id`: there is an item `{wanted['id']}` already.",
                    param=f"items[{index}].id",
                )
    return _listed(kept, included, has_more=False)


async def get(caller: Caller, conversation_id: str, item_id: str, included: frozenset[str]) -> Item:
    """Find an item.

    Raises:
        NotFound: no such item in a conversation of the caller's.
    """
    place = caller.require_place()
    async with scope.of(caller) as connection:
        row = await connection.fetchrow(SELECT, *place, conversation_id, item_id)
    if row is None:
        raise _missing(conversation_id, item_id)
    return inclusion.shown(_item(row), included)


async def page(
    caller: Caller, conversation_id: str, wanted: Wanted, included: frozenset[str]
) -> ItemList:
    """List a conversation's items.

    Raises:
        InvalidRequest: the cursor is none of its items' ids.
        NotFound: no such conversation of the caller's.
    """
    place = caller.require_place()
    async with scope.reading(caller) as connection:
        await record.require(connection, place, conversation_id)
        rows = await paging.fetch(
            connection,
            SELECT_ALL,
            [*place, conversation_id],
            wanted,
            alias="i",
            instant="position",
            identity=None,
        )
    kept = pages.kept_of(rows, wanted)
    return _listed([_item(row) for row in kept], included, has_more=len(rows) > len(kept))


async def delete(caller: Caller, conversation_id: str, item_id: str) -> None:
    """Remove an item from a conversation.

    Raises:
        NotFound: no such item in a conversation of the caller's.
    """
    place = caller.require_place()
    async with scope.of(caller) as connection:
        await record.touch(connection, place, conversation_id, clock.now())
        if not await connection.fetchval(DELETE, *place, conversation_id, item_id):
            raise _missing(conversation_id, item_id)


async def _resolved(caller: Caller, given: Given) -> list[Item]:
    """Put what they name in the place of references."""
    wanted = {
        item["id"]: index
        for index, item in enumerate(given)
        if items.type_of(item) == "item_reference"
    }
    if not wanted:
        return given
    found = await record.find(caller, wanted)
    for item_id, index in wanted.items():
        if item_id not in found:
            raise NotFound(
                f"`items[{index}].id`: there is no item `{item_id}`.", param=f"items[{index}].id"
            )
    return [
        found[item["id"]] if items.type_of(item) == "item_reference" else item for item in given
    ]


def _item(row: Any) -> Item:
    return msgspec.json.decode(row["item"])


def _listed(kept: list[Item], included: frozenset[str], *, has_more: bool) -> ItemList:
    return ItemList(
        data=[inclusion.shown(item, included) for item in kept],
        first_id=kept[0]["id"] if kept else None,
        last_id=kept[-1]["id"] if kept else None,
        has_more=has_more,
    )


def _missing(conversation_id: str, item_id: str) -> NotFound:
    return NotFound(f"There is no item `{item_id}` in a conversation `{conversation_id}`.")
