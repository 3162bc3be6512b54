"""One read: on a replica while that goes well, and on the primary from then on."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import asyncpg
import structlog

from jan.db.pool import Full
from jan.db.replica import PassedOver, Replica
from jan.db.replicas import Replicas
from jan.db.trouble import LOST, TROUBLE
from jan.errors import DatabaseUnavailable

Connecting = Callable[[], AbstractAsyncContextManager[Any]]
Begin = Callable[[Any], Awaitable[None]]
"""What a transaction begins with, on whichever server."""

BROKEN = (*LOST, OSError, asyncpg.InterfaceError)
"""What says that the server is gone. Others, such as a conflict with what it replays, do not."""

log = structlog.get_logger("jan.db")


class Reader:
    """Has what a connection has for reading."""

    def __init__(self, stack: AsyncExitStack, primary: Connecting, begin: Begin) -> None:
        self._stack = stack
        self._primary = primary
        self._begin = begin
        self._connection: Any = None
        self._replica: Replica | None = None

    async def fetch(self, query: str, *values: object) -> list[Any]:
        """Get the rows of a query."""
        return await self._run("fetch", query, values)

    async def fetchrow(self, query: str, *values: object) -> Any:
        """Get the first row of a query. None: it has none."""
        return await self._run("fetchrow", query, values)

    async def fetchval(self, query: str, *values: object) -> Any:
        """Get the first value of the first row of a query. None: there is none."""
        return await self._run("fetchval", query, values)

    async def open(self, replicas: Replicas, *, may_lag: bool) -> None:
        """Begin, on a replica if one can be read."""
        fit = list(replicas.in_turn(may_lag=may_lag))
        lsn: int | None = None
        if fit and not may_lag:
            try:
                lsn = await replicas.come_to()
            except DatabaseUnavailable:
                fit = []
        for replica in fit:
            try:
                self._connection = await self._stack.enter_async_context(replica.reading(lsn))
                self._replica = replica
                await self._begin(self._connection)
            except (PassedOver, Full):
                continue
            except (*TROUBLE, DatabaseUnavailable) as error:
                await self._leave(replica, error)
            else:
                return
        await self._go_to_primary()

    async def _run(self, method: str, query: str, values: tuple[object, ...]) -> Any:
        try:
            return await getattr(self._connection, method)(query, *values)
        except asyncpg.DataError:  # what was sent can't be asked for anywhere
            raise
        except TROUBLE as error:
            # The primary has the last word, whatever it is: a replica may be behind a migration.
            if self._replica is None:
                raise
            await self._leave(self._replica, error)
        await self._go_to_primary()
        return await getattr(self._connection, method)(query, *values)

    async def _leave(self, replica: Replica, error: Exception) -> None:
        self._replica = None
        with suppress(*TROUBLE, DatabaseUnavailable):
            await self._stack.aclose()
        kind = type(error).__name__  # its words may quote what is in the database
        if isinstance(error, DatabaseUnavailable):
            replica.turn(error.message.rstrip("."))
        elif isinstance(error, BROKEN):
            replica.turn(kind)
        else:
            log.info("a read goes on at the primary", replica=replica.name, reason=kind)

    async def _go_to_primary(self) -> None:
        self._connection = await self._stack.enter_async_context(self._primary())
        await self._begin(self._connection)


@asynccontextmanager
async def reading(
    replicas: Replicas, primary: Connecting, begin: Begin, *, may_lag: bool
) -> AsyncGenerator[Reader]:
    """Read in one transaction, which `primary` begins there.

    Raises:
        DatabaseUnavailable: neither a replica nor the primary can be read.
    """
    async with AsyncExitStack() as stack:
        reader = Reader(stack, primary, begin)
        await reader.open(replicas, may_lag=may_lag)
        yield reader
