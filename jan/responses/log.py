"""The events of a response in the background, kept as the very bytes that are sent.

They are written some at a time, four times a second, so that a token costs no transaction. Only the
newest attempt at a response that is being made writes any; the others are told that they are late.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import asyncpg
import structlog

from jan.db import scope
from jan.errors import DatabaseUnavailable
from jan.responses.leases import Lease
from jan.responses.news import CHANNEL

WRITE_EVERY_S = 0.25
RETRY_S = 0.5
READ_ROWS = 256
"""At once: a minute of a stream."""

# The lock makes whoever takes over, cancels or ends the response wait, or us see that they did.
# A batch whose confirmation got lost is there already.
APPEND = """
WITH ours AS (
    SELECT id FROM response WHERE id = $1 AND attempt = $2 AND status = 'in_progress' FOR SHARE
), kept AS (
    INSERT INTO response_event (response_id, first_number, last_number, events)
    SELECT id, $3, $4, $5 FROM ours
    ON CONFLICT (response_id, first_number) DO NOTHING
)
SELECT pg_notify($6, id || ' more') FROM ours
"""
INSERT = """
INSERT INTO response_event (response_id, first_number, last_number, events)
VALUES ($1, $2, $3, $4) ON CONFLICT (response_id, first_number) DO NOTHING
"""
# One statement, so one snapshot: of a response that is over, what is not there will never come.
READ = """
SELECT r.status, e.first_number, e.last_number, e.events
FROM response AS r LEFT JOIN LATERAL (
    SELECT first_number, last_number, events FROM response_event
    WHERE response_id = r.id AND first_number >= coalesce((
        SELECT max(first_number) FROM response_event
        WHERE response_id = r.id AND first_number <= $2 + 1
    ), 0) AND last_number > $2
    ORDER BY first_number LIMIT $3
) AS e ON true
WHERE r.id = $1
ORDER BY e.first_number
"""
READ_ALL = "SELECT events FROM response_event WHERE response_id = $1 ORDER BY first_number"
DELETE = "DELETE FROM response_event WHERE response_id = $1"
LAST_NUMBER = "SELECT max(last_number) FROM response_event WHERE response_id = $1"

UNENDED = frozenset({"queued", "in_progress"})

TROUBLE = (DatabaseUnavailable, asyncpg.PostgresError, OSError)  # TimeoutError too

log = structlog.get_logger("jan.responses")


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in a row."""

    first_number: int
    events: Sequence[bytes]

    @property
    def last_number(self) -> int:
        """Of the last one."""
        return self.first_number + len(self.events) - 1


class Log:
    """Takes down what one attempt makes. `run` writes it, next to the making."""

    def __init__(self, response_id: str, attempt: int, next_number: int) -> None:
        self._response_id = response_id
        self._attempt = attempt
        self._next_number = next_number
        self._waiting: list[bytes] = []
        self._begun: Batch | None = None
        """What is being written, or may have been: it is written again as it is."""

    def add(self, events: Sequence[bytes]) -> None:
        """Take events, which have the next numbers. Never waits."""
        self._waiting += events

    async def run(self, lease: Lease) -> None:
        """Write what was taken, until cancelled; while the database is away, try again.

        Where nothing of this attempt may be written any more, its lease is lost.
        """
        while True:
            await anyio.sleep(WRITE_EVERY_S)
            while batch := self._next():
                try:
                    async with scope.system() as connection:
                        is_ours = await append(connection, self._response_id, self._attempt, batch)
                except TROUBLE as error:
                    log.warning("events wait", id=self._response_id, reason=str(error))
                    await anyio.sleep(RETRY_S)
                    continue
                if not is_ours:
                    lease.lose()
                    return
                self._begun = None
                break

    async def write_rest(self, connection: Any) -> None:
        """Write what is left, in the transaction that ends the response: again, if that fails."""
        if self._begun is not None:
            await insert(connection, self._response_id, self._begun)
        rest = Batch(self._next_number, self._waiting)
        await insert(connection, self._response_id, rest)

    def _next(self) -> Batch | None:
        if self._begun is None and self._waiting:
            self._begun = Batch(self._next_number, self._waiting)
            self._next_number += len(self._waiting)
            self._waiting = []
        return self._begun


async def append(connection: Any, response_id: str, attempt: int, batch: Batch) -> bool:
    """Write events that an attempt has made, and tell whoever follows.

    False: another attempt was begun, or the response has ended. Nothing is written then.
    """
    row = batch.first_number, batch.last_number, b"".join(batch.events)
    return bool(await connection.fetch(APPEND, response_id, attempt, *row, CHANNEL))


async def forget(connection: Any, response_id: str) -> None:
    """Delete all that was written: nobody will ask for it."""
    await connection.execute(DELETE, response_id)


async def insert(connection: Any, response_id: str, batch: Batch) -> None:
    """Write events in a transaction that holds the response's row for itself."""
    if batch.events:
        row = batch.first_number, batch.last_number, b"".join(batch.events)
        await connection.execute(INSERT, response_id, *row)


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a log."""

    events: bytes
    last_number: int
    """Of the last of them."""
    is_last: bool
    """Whether nothing will ever follow."""
    is_cut: bool
    """Whether more was there to be read."""


async def read(connection: Any, response_id: str, after: int) -> Part | None:
    """Read what comes after a number. None: there is no such response, or no more."""
    rows = await connection.fetch(READ, response_id, after, READ_ROWS)
    if not rows:
        return None
    pieces: list[bytes] = []
    last_number = after
    for row in rows:
        if row["events"] is None:
            continue
        events: bytes = row["events"]
        if row["first_number"] <= last_number:
            events = _without_first(events, last_number - row["first_number"] + 1)
        pieces.append(events)
        last_number = row["last_number"]
    is_cut = len(rows) == READ_ROWS
    is_last = rows[0]["status"] not in UNENDED and not is_cut
    return Part(b"".join(pieces), last_number, is_last=is_last, is_cut=is_cut)


async def read_all(connection: Any, response_id: str) -> bytes:
    """Read all that was written."""
    return b"".join(row["events"] for row in await connection.fetch(READ_ALL, response_id))


async def last_number(connection: Any, response_id: str) -> int:
    """Tell the number of the last event. -1: there is none."""
    found = await connection.fetchval(LAST_NUMBER, response_id)
    return -1 if found is None else found


def _without_first(events: bytes, count: int) -> bytes:
    """Leave out the first events. They are ours: each ends with the only blank line in it."""
    return events.split(b"\n\n", count)[count]
