"""Ends responses in the background because their owner wants it."""

import asyncio
from typing import Any

from jan.caller import Caller
from jan.db import scope
from jan.errors import InvalidRequest
from jan.responses import log, news, response, store
from jan.responses.log import Batch
from jan.responses.store import Kept
from jan.responses.takeover import Ended, Remains

LOCK = """
SELECT status, is_background, is_stream, attempt, object FROM response
WHERE project_id = $1 AND owner_id = $2 AND id = $3 FOR NO KEY UPDATE
"""
BEGIN = """
UPDATE response SET status = 'in_progress', lease_expires_at = now()
WHERE id = $1 AND status = 'queued'
"""


async def cancel(caller: Caller, response_id: str) -> Kept:
    """End a response, whatever it has come to. One that has ended stays as it is.

    What its maker had written down is kept. The maker hears of it, and stops the model.

    Raises:
        NotFound: there is none of this id, or none of the caller's.
        InvalidRequest: it is not in the background: its own client can hang up.
    """
    async with scope.of(caller) as connection:
        row = await connection.fetchrow(LOCK, *caller.require_place(), response_id)
        if row is None:
            raise store.missing(response_id)
        if not row["is_background"]:
            raise InvalidRequest("Cannot cancel a synchronous response.", param="response_id")
        if row["status"] in log.UNENDED:
            await _end(caller, connection, response_id, row)
        return await store.get(caller, response_id)


async def _end(caller: Caller, connection: Any, response_id: str, row: Any) -> None:
    begun = response.read(row["object"])
    # In a thread: a long answer is many events.
    remains = await asyncio.to_thread(Remains, await log.read_all(connection, response_id))
    last = remains.cut(begun)
    await connection.execute(BEGIN, response_id)
    await store.finish(caller, Ended(begun), attempt=row["attempt"])
    if row["is_stream"]:
        await log.insert(connection, response_id, Batch(remains.next_number, last))
    else:
        await log.forget(connection, response_id)
    await news.tell_end(connection, response_id)
