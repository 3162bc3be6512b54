"""Finds responses that nobody makes any more, each minute, so that none hangs for ever.

Those in the background are promised again, if no job is left that would make them. The others had a
client that waited on a process that is gone: they have failed.
"""

from typing import Any

import structlog

from jan.db import scope
from jan.jobs.queue import Job, Schedule
from jan.responses import background, response, store
from jan.responses.response import Error
from jan.responses.takeover import Ended

NAME = "responses.sweep"
SCHEDULE = Schedule("* * * * *", NAME)
AT_ONCE = 200

# A job that is taken, or waits, has a row; one that was given up, or removed by hand, has not.
ORPHANS = """
SELECT r.id FROM response AS r
WHERE r.is_background AND (
    (r.status = 'queued' AND r.created_at < now() - interval '30 seconds')
    OR (r.status = 'in_progress' AND r.lease_expires_at < now())
) AND NOT EXISTS (
    SELECT FROM pgqueuer AS q
    WHERE q.dedupe_key = r.id AND q.status IN ('queued', 'picked')
)
ORDER BY r.created_at LIMIT $1
"""
LEFT = """
SELECT id, caller, attempt FROM response
WHERE status = 'in_progress' AND lease_expires_at < now() AND NOT is_background
ORDER BY lease_expires_at LIMIT $1
"""
LOCK = """
SELECT object FROM response
WHERE id = $1 AND attempt = $2 AND status = 'in_progress' AND lease_expires_at < now()
FOR NO KEY UPDATE
"""

log = structlog.get_logger("jan.responses")


def job() -> Job:
    """Make the job."""
    return Job(NAME, _sweep)


async def _sweep(_: None) -> None:
    while await _promise_again():
        pass
    while await _fail_some():
        pass


async def _promise_again() -> bool:
    """Promise some responses. Returns whether there may be more."""
    async with scope.system() as connection:
        rows = await connection.fetch(ORPHANS, AT_ONCE)
        for row in rows:
            await background.enqueue(connection, row["id"])
    for row in rows:
        log.warning("response is promised again", id=row["id"])
    return len(rows) == AT_ONCE


async def _fail_some() -> bool:
    """Fail some responses. Returns whether there may be more."""
    async with scope.system() as connection:
        rows = await connection.fetch(LEFT, AT_ONCE)
    for row in rows:
        await _fail(row)
    return len(rows) == AT_ONCE


async def _fail(row: Any) -> None:
    caller = store.caller_of(row["caller"])
    async with scope.of(caller) as connection:
        written = await connection.fetchval(LOCK, row["id"], row["attempt"])
        if written is None:  # it was made to its end after all
            return
        begun = response.read(written)
        begun.status, begun.error = "failed", Error("server_error", background.INTERRUPTED)
        await store.finish(caller, Ended(begun), attempt=row["attempt"])
    log.warning("response failed", id=row["id"], reason=background.INTERRUPTED)
