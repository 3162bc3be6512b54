"""Sends a response's events to a client as they are written: those that are there, then the rest.

Whoever makes the response may be in any process, and may be another one by now; what is sent is
what was stored, so that every client gets the same bytes. A client that leaves stops nothing.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import asyncpg

from jan import clock
from jan.caller import Caller
from jan.chat.passage import Passage
from jan.chat.request import ClientGone
from jan.db import scope
from jan.errors import DatabaseUnavailable, Draining, InvalidRequest
from jan.responses import log, store
from jan.responses.log import Part
from jan.responses.news import News, Word

PATIENCE_S = 60.0
"""How long a stream waits for an absent database. Then it ends, and its client may resume it."""
RETRY_S = 0.5

RESUMABLE = """
SELECT r.is_background AND r.is_stream AS has_events, (
    SELECT max(last_number) FROM response_event WHERE response_id = r.id
) AS last_number
FROM response AS r WHERE r.project_id = $1 AND r.owner_id = $2 AND r.id = $3
"""

TROUBLE = (DatabaseUnavailable, asyncpg.PostgresConnectionError, OSError)  # TimeoutError too


async def require(caller: Caller, response_id: str, after: int) -> None:
    """Refuse to stream what has no events, or to go on behind the last of them.

    Raises:
        NotFound: there is no such response, or none of the caller's.
        InvalidRequest: its events were not kept, or there is none of this number.
    """
    async with scope.of(caller) as connection:
        row = await connection.fetchrow(RESUMABLE, *caller.require_place(), response_id)
    if row is None:
        raise store.missing(response_id)
    if not row["has_events"]:
        raise InvalidRequest(
            "Only a response that was made with `background: true` and `stream: true` can be"
            " streamed again.",
            param="stream",
        )
    last_number: int = row["last_number"]
    if after > last_number:
        raise InvalidRequest(
            f"`starting_after` is {after}, but the last event so far has the number {last_number}.",
            param="starting_after",
        )


async def send(caller: Caller, response_id: str, after: int, news: News, passage: Passage) -> None:
    """Send the events after a number, to the last, in a stream of its own.

    A client that leaves, and a process that ends, end the stream and not the response: another
    request goes on where this one stopped.
    """
    try:
        await passage.run(_send(caller, response_id, after, news, passage))
    except (ClientGone, Draining):
        if not passage.has_begun:
            raise
    await passage.end()


async def _send(caller: Caller, response_id: str, after: int, news: News, passage: Passage) -> None:
    await passage.begin_stream()
    async with aclosing(follow(caller, response_id, after, news)) as parts:
        async for events in parts:
            await passage.push(events)


async def follow(caller: Caller, response_id: str, after: int, news: News) -> AsyncGenerator[bytes]:
    """Yield the stored events after a number, until the last of them, some at a time.

    It ends early if the response is deleted, or the database is away for long.
    """
    has_changed = asyncio.Event()

    def hear(_: Word) -> None:
        has_changed.set()

    with news.hearing(response_id, hear):
        while True:
            has_changed.clear()
            part = await _read(caller, response_id, after)
            if part is None:
                return
            after = part.last_number
            if part.events:
                yield part.events
            if part.is_last:
                return
            if not part.is_cut:
                with anyio.move_on_after(news.poll_s):
                    await has_changed.wait()


async def _read(caller: Caller, response_id: str, after: int) -> Part | None:
    since_s = clock.monotonic_s()
    while True:
        try:
            async with scope.of(caller) as connection:
                return await log.read(connection, response_id, after)
        except TROUBLE:
            if clock.monotonic_s() - since_s > PATIENCE_S:
                return None
            await anyio.sleep(RETRY_S)
