"""What was said in a conversation, in order: for whoever adds to it, and whoever goes on from it.

Each function takes part in the caller's transaction, if one is open. Items are added while the
conversation's row is locked, so that whoever comes at the same time comes after, and their places
are in the order in which they are committed: who reads on from a place skips nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from jan import clock
from jan.caller import Caller
from jan.conversations import items, titles
from jan.conversations.items import Item
from jan.db import scope
from jan.errors import NotFound

TOUCH = """
UPDATE conversation SET updated_at = $4, title = coalesce(title, $5)
WHERE id = $1 AND project_id = $2 AND owner_id = $3 RETURNING id
"""
TAKEN = "SELECT id FROM conversation_item WHERE conversation_id = $1 AND id = ANY($2)"
# In the order of the list: the sequence is drawn from after the sorting.
INSERT = """
INSERT INTO conversation_item
    (conversation_id, project_id, owner_id, created_at, id, type, status, item)
SELECT $1, $2, $3, $4, a.id, a.type, a.status, a.item::jsonb
FROM unnest($5::text[], $6::text[], $7::text[], $8::text[])
     WITH ORDINALITY AS a (id, type, status, item, place)
ORDER BY a.place
"""
EXISTS = "SELECT 1 FROM conversation WHERE id = $1 AND project_id = $2 AND owner_id = $3"
SELECT_ALL = """
SELECT item FROM conversation_item
WHERE conversation_id = $1 AND project_id = $2 AND owner_id = $3 ORDER BY position
"""
# Of several of one id, in different conversations, the latest.
FIND = """
SELECT DISTINCT ON (id) id, item FROM conversation_item
WHERE id = ANY($3) AND project_id = $1 AND owner_id = $2 ORDER BY id, position DESC
"""


async def append(caller: Caller, conversation_id: str, given: Sequence[Item]) -> list[Item]:
    """Add items at the end, and give them as they are kept. All of them have ids.

    A conversation without a title gets one from them. An id that the conversation has by now is
    replaced: what a model has said can't be refused any more.

    Raises:
        NotFound: no such conversation of the caller's.
    """
    project_id, owner_id = caller.require_place()
    async with scope.of(caller) as connection:
        now = clock.now()
        await touch(connection, (project_id, owner_id), conversation_id, now, titles.of(given))
        taken = await _taken_ids(connection, conversation_id, given)
        kept: list[Item] = []
        for item in given:
            if item["id"] in taken:
                item = items.with_id(item | {"id": None})  # noqa: PLW2901 - the same, renamed
            taken.add(item["id"])
            kept.append(item)
        await connection.execute(
            INSERT,
            *(conversation_id, project_id, owner_id, now),
            [item["id"] for item in kept],
            [item["type"] for item in kept],
            [items.status_of(item) for item in kept],
            [msgspec.json.encode(item).decode() for item in kept],
        )
    return kept


async def history(caller: Caller, conversation_id: str) -> list[Item]:
    """Give all of a conversation's items, the oldest first.

    Raises:
        NotFound: no such conversation of the caller's.
    """
    place = caller.require_place()
    async with scope.of(caller) as connection:
        await require(connection, place, conversation_id)
        rows = await connection.fetch(SELECT_ALL, conversation_id, *place)
    return [msgspec.json.decode(row["item"]) for row in rows]


async def find(caller: Caller, item_ids: Iterable[str]) -> dict[str, Item]:
    """Find items in the caller's conversations by their ids. Those that are not there are not."""
    place = caller.require_place()
    async with scope.of(caller) as connection:
        rows = await connection.fetch(FIND, *place, list(set(item_ids)))
    return {row["id"]: msgspec.json.decode(row["item"]) for row in rows}


async def touch(
    connection: Any,
    place: tuple[str, str],
    conversation_id: str,
    now: datetime,
    title: str | None = None,
) -> None:
    """Lock a conversation of somebody's, which is about to change. Raises as `require`."""
    if not await connection.fetchval(TOUCH, conversation_id, *place, now, title):
        raise missing(conversation_id)


async def require(connection: Any, place: tuple[str, str], conversation_id: str) -> None:
    """See to it that a conversation is somebody's.

    Raises:
        NotFound: it is not, or is not there.
    """
    if not await connection.fetchval(EXISTS, conversation_id, *place):
        raise missing(conversation_id)


async def _taken_ids(connection: Any, conversation_id: str, given: Sequence[Item]) -> set[str]:
    """Tell which of the items' ids a conversation has."""
    rows = await connection.fetch(TAKEN, conversation_id, [item["id"] for item in given])
    return {row["id"] for row in rows}


def missing(conversation_id: str) -> NotFound:
    """Refuse to tell whether there is none, or none of the caller's."""
    return NotFound(f"There is no conversation `{conversation_id}`.")
