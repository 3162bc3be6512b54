"""One read replica: how it is, how far it has come, and reading from it."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from jan import clock
from jan.db import pool as pools
from jan.db.trouble import TROUBLE, explained
from jan.errors import DatabaseUnavailable, JanError

LOOK_TIMEOUT_S = 2.0
"""What takes longer to say so little is not to be read from."""
BORROW_TIMEOUT_S = 1.0
"""For getting a connection to it: the primary can answer as well."""
CATCH_UP_S = 0.1
"""How long a read waits for it to come so far as the primary is. It takes milliseconds."""
FIRST_PAUSE_S = 0.001
"""Between two looks whether it has; doubled each time."""

REPLAYED = """
SELECT pg_is_in_recovery() AS is_replica,
       pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint AS lsn
"""

log = structlog.get_logger("jan.db")


class PassedOver(Exception):
    """It is not read this time, with the reason. Nothing is wrong with it."""


class Replica:
    """What is known of it. It is not read before somebody has looked at it."""

    def __init__(self, name: str, pool: asyncpg.Pool, watch: asyncpg.Pool, weight: int) -> None:
        self.name = name
        self.pool = pool
        """For those who read."""
        self.watch = watch
        """For looking after it, however many read."""
        self.weight = weight
        self.credit = 0
        """What it has not had yet of its weight."""
        self.trouble: str | None = "nobody has looked at it yet"
        """Why it is not read. None: it is."""
        self.lag_s = math.inf
        """How old what it says may be."""
        self.lag_bytes = 0
        """How much of the primary's log it had not replayed when it was looked at."""
        self.reads = 0
        self.failures = 0
        """How often it became unfit."""
        self._missed_lsn = 0
        """A place in the log that it was waited for in vain."""

    @property
    def is_behind(self) -> bool:
        """Whether it was waited for in vain, and has not come so far since."""
        return self._missed_lsn > 0

    async def check(self) -> dict[str, Any]:
        """Tell how it is, as it was last seen.

        Raises:
            DatabaseUnavailable: it is not read, with the reason.
        """
        if self.trouble is not None:
            raise DatabaseUnavailable(f"It is not read: {self.trouble}.")
        return {
            "lag_s": round(self.lag_s, 3),
            "lag_bytes": self.lag_bytes,
            "reads": self.reads,
            "failures": self.failures,
        }

    async def look(self) -> int | None:
        """See how far it has come in the primary's log. None: it is not fit to be read."""
        try:
            with explained(TROUBLE), anyio.fail_after(LOOK_TIMEOUT_S):
                row = await self.watch.fetchrow(REPLAYED)
        except JanError as error:  # its address may be wrong, too
            self.turn(error.message.rstrip("."))
            return None
        if row is None or not row["is_replica"] or row["lsn"] is None:
            self.turn("it is no streaming replica")
            return None
        if row["lsn"] >= self._missed_lsn:
            self._missed_lsn = 0
        return row["lsn"]

    def turn(self, trouble: str | None) -> None:
        """Note whether it is fit, and tell when that changes."""
        if trouble is not None and self.trouble is None:
            self.failures += 1
            log.warning("reads go past a replica", replica=self.name, reason=trouble)
        elif trouble is None and self.trouble is not None:
            log.info("a replica is read", replica=self.name, lag_s=round(self.lag_s, 3))
        self.trouble = trouble

    @asynccontextmanager
    async def reading(self, lsn: int | None) -> AsyncGenerator[PoolConnectionProxy]:
        """Read, in one transaction, what was there at a place of the log. None: whatever is there.

        Raises:
            PassedOver: it has not come so far.
            Full: all connections to it are in use.
            DatabaseUnavailable: it does not answer.
        """
        if pools.is_full(self.pool):
            raise pools.Full("All connections to the replica are in use.")
        async with pools.borrowed(self.pool, wait_s=BORROW_TIMEOUT_S) as connection:
            # Each statement in it sees what was replayed before that statement.
            transaction = connection.transaction(isolation="read_committed", readonly=True)
            await transaction.start()
            try:
                if lsn is not None:
                    await self._catch_up(connection, lsn)
                self.reads += 1
                yield connection
            finally:
                if not connection.is_closed():
                    with suppress(*TROUBLE):  # there is nothing in it to lose
                        await transaction.rollback()

    async def _catch_up(self, connection: PoolConnectionProxy, lsn: int) -> None:
        deadline_s, pause_s = clock.monotonic_s() + CATCH_UP_S, FIRST_PAUSE_S
        while True:
            row = await connection.fetchrow(REPLAYED)
            if row is None or not row["is_replica"]:  # it was promoted a moment ago
                raise PassedOver("it is no streaming replica")
            if row["lsn"] is not None and row["lsn"] >= lsn:
                return
            if clock.monotonic_s() > deadline_s:
                self._missed_lsn = max(self._missed_lsn, lsn)
                raise PassedOver("it is behind")
            await anyio.sleep(pause_s)
            pause_s *= 2
