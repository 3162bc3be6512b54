"""Connections of one process to PostgreSQL: bounded pools, and transactions that do not leak.

Opening a `Database` connects nothing: it is there while the server is down, and heals with it.
Piccolo's tables run on whatever `Database` is open, through `PICCOLO`.
"""

import itertools
import os
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import anyio
import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy
from piccolo.engine.postgres import PostgresEngine, PostgresTransaction

from jan import clock
from jan.errors import DatabaseUnavailable, Misconfigured

CONNECT_TIMEOUT_S = 5
"""For opening one connection. PostgreSQL answers in milliseconds, or is in trouble."""
ACQUIRE_TIMEOUT_S = 5.0
"""For getting a connection from the pool, opening it included."""
COMMAND_TIMEOUT_S = 30.0
"""For one statement: a server behind a cut cable never answers."""
CLOSE_TIMEOUT_S = 5.0
"""For connections to come back at the end. Later ones are cut off."""
REPLICA_TIMEOUT_S = 1.0
"""For getting a connection to a replica: the primary can answer as well."""
REPLICA_REST_S = 5.0
"""How long a replica that did not answer is left alone."""
PING_TIMEOUT_S = 2.0
"""For a sign of life of one server."""

LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,  # used between the server's last word and the end of the socket
)
"""What PostgreSQL and its driver say when the server goes, comes, or is full."""
UNREACHED = (
    *LOST,
    OSError,  # TimeoutError too
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
"""What goes wrong before there is a connection."""

log = structlog.get_logger("jan.db")

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
        with _explained(UNREACHED):
            return await super().run_querystring(querystring, in_pool=in_pool)

    async def run_ddl(self, ddl: str, in_pool: bool = True) -> Any:
        with _explained(UNREACHED):
            return await super().run_ddl(ddl, in_pool=in_pool)

    async def _run_in_pool(self, query: str, args: Sequence[Any] | None = None) -> Any:
        assert self.pool is not None
        async with self.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            return await connection.fetch(query, *(args or ()))


PICCOLO = _PiccoloEngine(config={})
"""The one engine of Piccolo's tables. `Database` gives it a pool for as long as it is open."""


class Database:
    """Pools to one PostgreSQL and its read replicas. Open it with `async with`."""

    def __init__(self, dsn: str, pool: asyncpg.Pool, read_pools: Sequence[asyncpg.Pool]) -> None:
        self.dsn = dsn
        """The primary's, for who needs a connection outside of the pool."""
        self.pool = pool
        """The primary's."""
        self.read_pools = tuple(read_pools)
        """The replicas', in the order of their URLs. Any may be down."""
        self._outer: Database | None = None
        self._turns = itertools.count()
        self._rests_until_s: dict[int, float] = {}

    async def __aenter__(self) -> Self:
        for pool in (self.pool, *self.read_pools):
            await pool
        self._outer, PICCOLO.database = PICCOLO.database, self
        PICCOLO.pool = self.pool
        return self

    async def __aexit__(self, *_: object) -> None:
        PICCOLO.database = self._outer
        PICCOLO.pool = self._outer.pool if self._outer else None
        with anyio.CancelScope(shield=True):
            for pool in (self.pool, *self.read_pools):
                with anyio.move_on_after(CLOSE_TIMEOUT_S) as closing:
                    await pool.close()
                if closing.cancelled_caught:
                    pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[PoolConnectionProxy]:
        """Borrow a connection to the primary.

        Raises:
            DatabaseUnavailable: none came within `ACQUIRE_TIMEOUT_S`, or it broke meanwhile.
        """
        with _explained(UNREACHED):
            borrowed = await self.pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
        try:
            with _explained(LOST):
                yield borrowed
        finally:
            # Shielded by asyncpg: a connection comes back though its user was cancelled.
            with _explained(UNREACHED):
                await self.pool.release(borrowed)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[PoolConnectionProxy]:
        """Do all of the block, or none. Piccolo's queries inside it take part.

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

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[PoolConnectionProxy]:
        """Read in one transaction on a replica, each in its turn; on the primary if none answers.

        What is read may be older than what was written a moment ago. Raises as `connection`.
        """
        replica = await self._borrow_replica()
        if replica is None:
            async with self.connection() as connection, connection.transaction(readonly=True):
                yield connection
            return
        pool, borrowed = replica
        try:
            with _explained(LOST):
                async with borrowed.transaction(readonly=True):
                    yield borrowed
        finally:
            with _explained(UNREACHED):
                await pool.release(borrowed)

    async def _borrow_replica(self) -> tuple[asyncpg.Pool, PoolConnectionProxy] | None:
        first = next(self._turns)
        for offset in range(len(self.read_pools)):
            number = (first + offset) % len(self.read_pools)
            if self._rests_until_s.get(number, 0.0) > clock.monotonic_s():
                continue
            pool = self.read_pools[number]
            try:
                with _explained(UNREACHED):
                    return pool, await pool.acquire(timeout=REPLICA_TIMEOUT_S)
            except DatabaseUnavailable as error:
                log.warning("reads go past a replica", replica=number + 1, reason=error.message)
                self._rests_until_s[number] = clock.monotonic_s() + REPLICA_REST_S
        return None

    async def ping(self) -> dict[str, DatabaseUnavailable | None]:
        """Ask every server for a sign of life. `primary`, `replica_1`, ... -> what is wrong."""
        pools = {"primary": self.pool}
        pools.update((f"replica_{i}", pool) for i, pool in enumerate(self.read_pools, start=1))
        found: dict[str, DatabaseUnavailable | None] = dict.fromkeys(pools)

        async def ask(name: str, pool: asyncpg.Pool) -> None:
            try:
                with _explained(UNREACHED), anyio.fail_after(PING_TIMEOUT_S):
                    await pool.fetchval("SELECT 1")
            except DatabaseUnavailable as error:
                found[name] = error

        async with anyio.create_task_group() as tasks:
            for name, pool in pools.items():
                tasks.start_soon(ask, name, pool)
        return found


def connect(
    dsn: str,
    *,
    read_dsns: Sequence[str] = (),
    pool_size: int,
    application_name: str,
    command_timeout_s: float | None = COMMAND_TIMEOUT_S,
) -> Database:
    """Make a `Database` of at most `pool_size` connections to each server.

    `application_name` is how an administrator sees it in `pg_stat_activity`.
    """

    def pool(of: str) -> asyncpg.Pool:
        return asyncpg.create_pool(
            of,
            min_size=0,
            max_size=pool_size,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=command_timeout_s,
            server_settings={"application_name": application_name},
        )

    return Database(dsn, pool(dsn), [pool(read_dsn) for read_dsn in read_dsns])


@contextmanager
def _explained(kinds: tuple[type[Exception], ...]) -> Generator[None]:
    """Turn connection trouble into the error that the rest of Jan knows."""
    try:
        yield
    except asyncpg.ClientConfigurationError as error:
        raise Misconfigured(
            f"A database's address can't be used: {error}.",
            hint="Look at the settings `database_url` and `database_read_urls`.",
        ) from None
    except (*kinds, asyncpg.InterfaceError) as error:
        # The driver's word for a closed connection or pool is also the one for our own mistakes.
        if isinstance(error, asyncpg.InterfaceError) and "clos" not in str(error):
            raise
        raise DatabaseUnavailable(
            f"The database does not answer ({_reason(error)}).", retry_after_s=1
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
