"""What came before a request's input: earlier responses, a conversation, items that it refers to.

A chain of responses is as long as is kept: one that was deleted ends it. Each brings its input and
its output, not its instructions, as OpenAI has it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from jan.caller import Caller
from jan.conversations import items, record
from jan.conversations.items import Item
from jan.db import scope
from jan.errors import Conflict, InvalidRequest, NotFound, PreviousResponseNotFound
from jan.responses.schemas import Reading

MAX_LINKS = 10_000
"""Responses in a chain. More than any model reads."""
CAN_BE_CONTINUED = frozenset({"completed", "incomplete"})

# It counts its steps, so that it would end even in a circle, which nobody can make. OFFSET 0 keeps
# PostgreSQL from reading all of the owner's responses at each step, which it else may prefer.
CHAIN = """
WITH RECURSIVE chain AS (
    SELECT r.id, r.previous_response_id, r.status, 1 AS link FROM response AS r
    WHERE r.project_id = $1 AND r.owner_id = $2 AND r.id = $3
    UNION ALL
    SELECT p.id, p.previous_response_id, p.status, chain.link + 1
    FROM chain CROSS JOIN LATERAL (
        SELECT * FROM response AS r WHERE r.id = chain.previous_response_id OFFSET 0
    ) AS p
    WHERE p.project_id = $1 AND p.owner_id = $2 AND chain.link <= $4
)
SELECT id, status FROM chain ORDER BY link
"""
SELECT_ITEMS = """
SELECT i.item FROM unnest($3::text[]) WITH ORDINALITY AS chain (id, place)
CROSS JOIN LATERAL (
    SELECT * FROM response_item AS r WHERE r.response_id = chain.id OFFSET 0
) AS i
WHERE i.project_id = $1 AND i.owner_id = $2 ORDER BY chain.place, i.position
"""
# Of several of one id, which are the same item given again, any.
FIND = """
SELECT DISTINCT ON (id) id, item FROM response_item
WHERE project_id = $1 AND owner_id = $2 AND id = ANY($3) ORDER BY id
"""


async def before(caller: Caller, asked: Reading) -> list[Item]:
    """Give what came before the input of a request, the oldest first.

    Raises:
        PreviousResponseNotFound: the response that it goes on from is not there.
        NotFound: its conversation is not there.
        Conflict: the response that it goes on from has not ended, or not well.
        InvalidRequest: there are too many to be read.
    """
    if asked.previous_response_id is not None:
        return await _chain(caller, asked.previous_response_id)
    conversation_id = asked.conversation_id
    if conversation_id is None:
        return []
    try:
        return await record.history(caller, conversation_id)
    except NotFound as error:
        error.param = "conversation"
        raise


async def resolved(caller: Caller, given: Sequence[Item]) -> list[Item]:
    """Put the items themselves in the place of references to them.

    Raises:
        NotFound: there is no such item, or none of the caller's; `param` names the reference.
    """
    wanted = {
        item["id"]: f"input[{index}].id"
        for index, item in enumerate(given)
        if item["type"] == "item_reference"
    }
    if not wanted:
        return list(given)
    async with scope.of(caller) as connection:
        rows = await connection.fetch(FIND, *caller.require_place(), list(wanted))
        found = {row["id"]: msgspec.json.decode(row["item"]) for row in rows}
        if missing := wanted.keys() - found:
            found |= await record.find(caller, missing)
    for item_id, place in wanted.items():
        if item_id not in found:
            raise NotFound(f"There is no item `{item_id}`.", param=place)
    return [found[item["id"]] if item["type"] == "item_reference" else item for item in given]


def named(given: Sequence[Item]) -> list[Item]:
    """Give every item an id of its own: what is kept is found, and paged through, by it."""
    taken: set[str] = set()
    kept: list[Item] = []
    for said in given:
        item = items.with_id(said)
        if item["id"] in taken:
            item = items.with_id({**said, "id": None})
        taken.add(item["id"])
        kept.append(item)
    return kept


async def _chain(caller: Caller, response_id: str) -> list[Item]:
    place = caller.require_place()
    async with scope.of(caller) as connection:
        links = await connection.fetch(CHAIN, *place, response_id, MAX_LINKS)
        _check(links, response_id)
        oldest_first = list(dict.fromkeys(link["id"] for link in links))[::-1]
        rows = await connection.fetch(SELECT_ITEMS, *place, oldest_first)
    return [msgspec.json.decode(row["item"]) for row in rows]


def _check(links: Sequence[Any], response_id: str) -> None:
    param = "previous_response_id"
    if not links:
        raise PreviousResponseNotFound(
            f"There is no response `{response_id}` to go on from.", param=param
        )
    status = links[0]["status"]
    if status not in CAN_BE_CONTINUED:
        raise Conflict(
            f"The response `{response_id}` is {status.replace('_', ' ')}, and only one that is"
            " completed or incomplete can be gone on from.",
            param=param,
        )
    if len({link["id"] for link in links}) > MAX_LINKS:
        raise InvalidRequest(
            f"More than {MAX_LINKS} responses came before. Compact them, or begin anew.",
            param=param,
        )
