"""Rows of responses: what was asked, what came of it, and how it ended. Its status moves forward.

Whoever makes a response inserts it first, in a transaction of theirs, and ends it by `finish`: only
if it is in progress still, and in the attempt that they began. All that a caller sees is theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol

import asyncpg
import msgspec
from msgspec import Raw

from jan import pages
from jan.caller import Caller
from jan.conversations import record
from jan.conversations.items import Item
from jan.db import paging, scope
from jan.errors import InvalidRequest, NotFound
from jan.pages import Page, Wanted
from jan.responses import news, response, servers
from jan.responses.reading import Asked
from jan.responses.response import Response

FIRST_ATTEMPT = 1
LEASE = timedelta(seconds=30)
"""How long whoever makes a response is believed to live without saying so."""

# As text: the driver looks up the type of an array of JSON, once on each connection.
INSERT = """
WITH made AS (
    INSERT INTO response (
        id, project_id, owner_id, conversation_id, previous_response_id, status, is_background,
        is_stream, parameters, object, caller, created_at, attempt, started_at, lease_expires_at
    )
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now(),
           CASE WHEN $6 = 'in_progress' THEN $14::int ELSE 0 END,
           CASE WHEN $6 = 'in_progress' THEN now() END,
           CASE WHEN $6 = 'in_progress' THEN now() + $15::interval END
)
INSERT INTO response_item (response_id, position, is_output, id, project_id, owner_id, item)
SELECT $1, given.position, false, given.id, $2, $3, given.item::json
FROM unnest($12::text[], $13::text[]) WITH ORDINALITY AS given (id, item, position)
"""
FINISH = """
WITH ended AS (
    UPDATE response SET status = $5, object = $6, engine = $7, ended_at = now(),
           lease_expires_at = NULL
    WHERE id = $1 AND project_id = $2 AND owner_id = $3 AND attempt = $4 AND status = 'in_progress'
    RETURNING id
), added AS (
    INSERT INTO response_item (response_id, position, is_output, id, project_id, owner_id, item)
    SELECT $1, given.position + last.position, true, given.id, $2, $3, given.item::json
    FROM ended,
         unnest($8::text[], $9::text[]) WITH ORDINALITY AS given (id, item, position),
         (SELECT coalesce(max(position), 0) AS position FROM response_item
          WHERE response_id = $1) AS last
)
SELECT EXISTS (SELECT FROM ended) AS is_new, EXISTS (
    SELECT FROM response
    WHERE id = $1 AND project_id = $2 AND owner_id = $3 AND attempt = $4 AND status = $5
) AS is_old
"""
"""Told twice, because the answer to the first was lost with the connection, it is an old end."""
# Before the response, as whoever deletes a conversation does: else they might wait for each other.
LOCK = """
SELECT id FROM conversation WHERE id = $1 AND project_id = $2 AND owner_id = $3
FOR NO KEY UPDATE
"""
SELECT_INPUT = """
SELECT item FROM response_item WHERE response_id = $1 AND NOT is_output ORDER BY position
"""
BELONGS_TO_CONVERSATION = frozenset({"completed", "incomplete"})
"""Responses whose input and output are added to their conversation."""

SELECT = """
SELECT r.id, r.created_at, r.status, r.object, ARRAY(
    SELECT i.item FROM response_item AS i WHERE i.response_id = r.id AND i.is_output
    ORDER BY i.position
) AS output
FROM response AS r WHERE r.project_id = $1 AND r.owner_id = $2
"""
SELECT_ONE = f"{SELECT} AND r.id = $3"
DELETE = "DELETE FROM response WHERE project_id = $1 AND owner_id = $2 AND id = $3 RETURNING id"

_fields = msgspec.json.Decoder(dict[str, Raw])
_caller = msgspec.json.Decoder(Caller)


@dataclass(frozen=True, slots=True)
class Kept:
    """A response as it is stored."""

    id: str
    body: Raw
    """As OpenAI writes it. What it has in common with an answer is the same to the letter."""


class Made(Protocol):
    """A response that has ended, and what made it: a machine, for one."""

    @property
    def response(self) -> Response:
        """As it is to be kept."""
        ...

    @property
    def engine(self) -> str | None:
        """Which engine answered, if it said so."""
        ...


async def insert(  # noqa: PLR0913 - as many as a row has sources
    connection: Any,
    caller: Caller,
    asked: Asked,
    begun: Response,
    items: Sequence[Item],
    *,
    status: Literal["queued", "in_progress"] = "in_progress",
) -> None:
    """Write down a response that is about to be made, as part of the connection's transaction.

    `items` are its input, each with its id. In progress it is in its first attempt, on lease.

    Raises:
        InvalidRequest: its parameters are nested too deeply.
        NotFound: its conversation was deleted a moment ago.
    """
    project_id, owner_id = caller.require_place()
    create = asked.create
    parameters = {name: value for name, value in asked.parameters.items() if name != "input"}
    if create.tools:
        parameters["tools"] = [servers.without_secrets(tool) for tool in create.tools]
    try:
        await connection.execute(
            INSERT,
            *(begun.id, project_id, owner_id, create.conversation_id, create.previous_response_id),
            *(status, bool(create.background), bool(create.stream)),
            *(_json(parameters), _json(begun), _json(caller)),
            *([item["id"] for item in items], [_json(item) for item in items]),
            *(FIRST_ATTEMPT, LEASE),
        )
    except asyncpg.ForeignKeyViolationError:
        raise NotFound(
            "Where the response belongs was deleted a moment ago.", param="conversation"
        ) from None


async def finish(caller: Caller, made: Made, *, attempt: int = FIRST_ATTEMPT) -> bool:
    """Write down how a response ended, and all that came of it, in its conversation too.

    Telling it twice is the same as once. False: it is no longer this attempt's to end. It was ended
    or begun anew by somebody else, or deleted; then nothing is written.
    """
    ended = made.response
    place = caller.require_place()
    async with scope.of(caller) as connection:
        conversation_id = None
        if ended.conversation is not None and ended.status in BELONGS_TO_CONVERSATION:
            conversation_id = await connection.fetchval(LOCK, ended.conversation.id, *place)
        row = await connection.fetchrow(
            FINISH,
            *(ended.id, *place, attempt),
            *(ended.status, _json(msgspec.structs.replace(ended, output=[])), made.engine),
            *([item.id for item in ended.output], [_json(item) for item in ended.output]),
        )
        if row["is_new"] and conversation_id is not None:
            rows = await connection.fetch(SELECT_INPUT, ended.id)
            said: list[Item] = [msgspec.json.decode(row["item"]) for row in rows]
            said += [msgspec.to_builtins(item) for item in ended.output]
            await record.append(caller, conversation_id, said)
    return row["is_new"] or row["is_old"]


async def get(caller: Caller, response_id: str) -> Kept:
    """Find a response.

    Raises:
        NotFound: there is none of this id, or none of the caller's.
    """
    async with scope.of(caller) as connection:
        row = await connection.fetchrow(SELECT_ONE, *caller.require_place(), response_id)
    if row is None:
        raise missing(response_id)
    return _kept(row)


async def page(caller: Caller, wanted: Wanted) -> Page[Kept]:
    """List the caller's responses.

    Raises:
        InvalidRequest: the cursor is none of the list's ids.
    """
    async with scope.reading(caller) as connection:
        rows = await paging.fetch(connection, SELECT, caller.require_place(), wanted, alias="r")
    return pages.page([_kept(row) for row in rows], wanted)


async def delete(caller: Caller, response_id: str) -> None:
    """Delete a response, what went into it and what came of it. One that runs is given up.

    Raises:
        NotFound: as `get`.
    """
    async with scope.of(caller) as connection:
        if await connection.fetchval(DELETE, *caller.require_place(), response_id) is None:
            raise missing(response_id)
        await news.tell_end(connection, response_id)


def caller_of(written: str) -> Caller:
    """Read who asked for a response, from its row."""
    return _caller.decode(written)


def missing(response_id: str) -> NotFound:
    """Say that there is no such response, or that it is somebody else's."""
    return NotFound(f"No response `{response_id}` was found.")


def _kept(row: Any) -> Kept:
    fields = _fields.decode(row["object"])
    # Not what was known when it was written: the row's own word.
    fields["status"] = Raw(response.encode(row["status"]))
    fields["output"] = Raw(f"[{','.join(row['output'])}]")
    return Kept(row["id"], Raw(response.encode(fields)))


def _json(value: Any) -> str:
    try:
        return response.encode(value).decode()
    except RecursionError:  # what could just be decoded, but not here, further down the stack
        raise InvalidRequest("The request is nested too deeply.") from None
