"""Connections of one process to PostgreSQL: bounded pools, and transactions that do not leak.

Opening a `Database` connects nothing: it is there while the server is down, and heals with it.
Piccolo's tables run on whatever `Database` is open, through `PICCOLO`.
"""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self

import anyio
from asyncpg.pool import Pool, PoolConnectionProxy
from piccolo.engine.postgres import PostgresEngine, PostgresTransaction

from jan.db import pool as pools
from jan.db import reader
from jan.db.dsn import ReadAddress
from jan.db.pool import COMMAND_TIMEOUT_S
from jan.db.reader import Begin, Reader
from jan.db.replica import Replica
from jan.db.replicas import Replicas
from jan.db.trouble import UNREACHED, explained
from jan.errors import DatabaseUnavailable

WAIT_S = 5.0
"""For a connection from the pool, opening it included, where no setting says so."""
MAX_LAG_S = 5.0
"""How far behind a replica may be that is read, where no setting says so."""
PING_TIMEOUT_S = 2.0
"""For a sign of life."""

os.environ.setdefault("PICCOLO_CONF", "jan.db.piccolo_conf")  # where Piccolo's tables look


class _PiccoloEngine(PostgresEngine):
    """Piccolo's way to the pool. It never opens a connection outside of it."""

    database: "Database | None" = None
    """Whose pool it is."""

    async def get_version(self) -> float:
        """Answer without asking: at import there may be no server."""
        return float(self.min_version_number)

    async def get_new_connection(self) -> Any:
        raise DatabaseUnavailable("No database is open in this process.")

    async def run_querystring(self, querystring: Any, in_pool: bool = True) -> Any:
        with explained(UNREACHED):
            return await super().run_querystring(querystring, in_pool=in_pool)

    async def run_ddl(self, ddl: str, in_pool: bool = True) -> Any:
        with explained(UNREACHED):
            return await super().run_ddl(ddl, in_pool=in_pool)

    async def _run_in_pool(self, query: str, args: Sequence[Any] | None = None) -> Any:
        assert self.database is not None
        async with self.database.connection() as connection:
            return await connection.fetch(query, *(args or ()))


PICCOLO = _PiccoloEngine(config={})
"""The one engine of Piccolo's tables. `Database` gives it a pool for as long as it is open."""


class Database:
    """A pool to one PostgreSQL, and its read replicas. Open it with `async with`."""

    def __init__(self, dsn: str, pool: Pool, replicas: Replicas, wait_s: float) -> None:
        self.dsn = dsn
        """The primary's, past any pooler, for who needs a connection of their own."""
        self.pool = pool
        """The primary's."""
        self.replicas = replicas
        """Not read before their `run` has looked at them."""
        self._wait_s = wait_s
        self._outer: Database | None = None

    async def __aenter__(self) -> Self:
        for pool in (self.pool, *self.replicas.pools):
            await pool
        self._outer, PICCOLO.database = PICCOLO.database, self
        PICCOLO.pool = self.pool
        return self

    async def __aexit__(self, *_: object) -> None:
        PICCOLO.database = self._outer
        PICCOLO.pool = self._outer.pool if self._outer else None
        with anyio.CancelScope(shield=True):
            for pool in (self.pool, *self.replicas.pools):
                await pools.close(pool)

    def connection(self) -> AbstractAsyncContextManager[PoolConnectionProxy]:
        """Borrow a connection to the primary.

        Raises:
            DatabaseUnavailable: none came in time, or it broke meanwhile.
        """
        return pools.borrowed(self.pool, wait_s=self._wait_s)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[PoolConnectionProxy]:
        """Do all of the block, or none, on the primary. Piccolo's queries inside it take part.

        Inside, one thing at a time: neither `gather` nor a task started here may use the database.

        Raises:
            DatabaseUnavailable: as `connection`.
            TransactionError: there is one already, and PostgreSQL knows none within another.
        """
        # Piccolo's own context manager loses the connection when the commit fails or the block is
        # cancelled; only its record of the current transaction is used.
        current = PostgresTransaction(PICCOLO, allow_nested=False)
        async with self.connection() as current.connection, current.connection.transaction():
            token = PICCOLO.current_transaction.set(current)
            try:
                yield current.connection
            finally:
                PICCOLO.current_transaction.reset(token)

    def reading(self, begin: Begin, *, may_lag: bool) -> AbstractAsyncContextManager[Reader]:
        """Read in one transaction that begins with `begin`, on a replica if one can be read.

        Everything is seen that was committed before the call, on whichever server it is read, and
        not just what this process wrote: see `jan.db.replicas`. With `may_lag`, what was committed
        until a moment before, of which the settings say how long it may be.

        Raises:
            DatabaseUnavailable: as `connection`.
        """
        return reader.reading(self.replicas, self._reading_here, begin, may_lag=may_lag)

    @asynccontextmanager
    async def _reading_here(self) -> AsyncGenerator[PoolConnectionProxy]:
        async with self.connection() as connection, connection.transaction(readonly=True):
            yield connection

    async def ping(self) -> None:
        """Ask the primary for a sign of life.

        Raises:
            DatabaseUnavailable: there is none.
        """
        with explained(UNREACHED), anyio.fail_after(PING_TIMEOUT_S):
            await self.pool.fetchval("SELECT 1")


def connect(  # noqa: PLR0913 - as many as there are sides to it
    dsn: str,
    *,
    pool_size: int,
    application_name: str,
    direct_dsn: str | None = None,
    wait_s: float = WAIT_S,
    command_timeout_s: float | None = COMMAND_TIMEOUT_S,
    read_from: Sequence[ReadAddress] = (),
    read_pool_size: int = 1,
    max_lag_s: float = MAX_LAG_S,
) -> Database:
    """Make a `Database` of at most `pool_size` connections to the primary.

    `application_name` is how an administrator sees it in `pg_stat_activity`. `direct_dsn` says that
    `dsn` leads through a pooler, which gives each transaction another connection.
    """

    def pool(of: str, size: int) -> Pool:
        return pools.make(
            of,
            size=size,
            application_name=application_name,
            command_timeout_s=command_timeout_s,
            is_behind_pooler=direct_dsn is not None,
        )

    every = [
        Replica(f"replica_{number}", pool(of, read_pool_size), pool(of, 1), weight)
        for number, (of, weight) in enumerate(read_from, 1)
    ]
    return Database(
        direct_dsn or dsn, pool(dsn, pool_size), Replicas(pool(dsn, 1), every, max_lag_s), wait_s
    )
