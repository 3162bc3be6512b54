"""The worker's own connection to PostgreSQL, made again whenever it is lost.

Apart from the pool of requests: a flood of them must not keep heartbeats out, or another worker
would take over jobs that are being done. pgqueuer knows nothing of outages, and would forget what
jobs came to if it saw one: here whoever asks waits until the database is back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self

import asyncpg
import structlog
from pgqueuer.core.tm import TaskManager
from pgqueuer.ports.driver import Driver, NotifyCallback

from jan.db.pool import CONNECT_TIMEOUT_S
from jan.db.trouble import UNREACHED

COMMAND_TIMEOUT_S = 10.0
"""For one statement; each takes milliseconds. A longer one means that the cable is cut."""
RETRY_S = 0.25
MAX_RETRY_S = 2.0
CLOSE_TIMEOUT_S = 1.0

TROUBLE = (
    *UNREACHED,
    asyncpg.InterfaceError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, for now
    asyncpg.InsufficientResourcesError,  # a full disk, for one
)
"""What passes."""

log = structlog.get_logger("jan.jobs")


class Connection(Driver):
    """One connection, as pgqueuer uses it. Statements wait while the database is away."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: asyncpg.Connection | None = None
        self._lock = asyncio.Lock()
        self._listeners: list[tuple[str, NotifyCallback]] = []
        self._shutdown = asyncio.Event()
        self._tasks = TaskManager()
        self._is_patient = True
        self._is_away = False
        self._is_cut = False

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Run a statement and get its rows."""
        rows: list[asyncpg.Record] = await self._run(lambda known: known.fetch(query, *args))
        return [dict(row) for row in rows]

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement and get its tag."""
        return await self._run(lambda known: known.execute(query, *args))

    async def notify(self, channel: str, payload: str) -> None:
        """Send a notification."""
        await self.execute("SELECT pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Hand notifications on, from now and after each new connection."""
        await self._run(lambda known: _listen(known, channel, callback))
        self._listeners.append((channel, callback))

    def give_up(self) -> None:
        """Wait for an absent database no longer."""
        self._is_patient = False

    def cut(self) -> None:
        """Break off at once: from now on nothing is read or written."""
        self._is_patient = False
        self._is_cut = True
        self._drop()

    async def close(self) -> None:
        """Part in peace, if the server still answers."""
        if self._connection is not None:
            with suppress(*TROUBLE):
                await self._connection.close(timeout=CLOSE_TIMEOUT_S)
        self.cut()

    async def _run(self, statement: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
        retry_s = RETRY_S
        while True:
            try:
                result = await self._try(statement)
            except TROUBLE as error:
                if not self._is_patient:
                    raise
                if not self._is_away:
                    log.warning("jobs wait for the database", reason=str(error) or repr(error))
                self._is_away = True
            else:
                if self._is_away:
                    log.info("jobs are done again")
                self._is_away = False
                return result
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, MAX_RETRY_S)

    async def _try(self, statement: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
        async with self._lock:
            try:
                return await statement(await self._connected())
            except TROUBLE:
                self._drop()
                raise

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if self._is_cut:
            raise ConnectionAbortedError("the worker is ending")
        made: asyncpg.Connection = await asyncpg.connect(
            self._dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings={"application_name": "jan jobs"},
        )
        self._connection = made
        for channel, callback in self._listeners:
            await _listen(made, channel, callback)
        return made

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None

    @property
    def shutdown(self) -> asyncio.Event:
        """Pgqueuer's, unused."""
        return self._shutdown

    @property
    def tm(self) -> TaskManager:
        """Pgqueuer's, unused."""
        return self._tasks

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stay open: pgqueuer enters it from several places, and we close it."""


async def _listen(connection: asyncpg.Connection, channel: str, callback: NotifyCallback) -> None:
    await connection.add_listener(channel, lambda *got: callback(str(got[3])))
