"""The database for a command at the terminal, whether or not `jan serve` is running."""

import fcntl
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

import anyio
import asyncpg

from jan import clock, keyring
from jan.db import dsn, embedded, opening
from jan.db.engine import Database, connect
from jan.db.pool import CONNECT_TIMEOUT_S
from jan.db.prepare import prepare
from jan.db.trouble import UNREACHED
from jan.errors import Conflict
from jan.settings import Loaded

POOL_SIZE = 2
POLL_S = 0.05
STAY_S = 30.0
"""A command that started the server lets others finish with it for at most this long."""


@asynccontextmanager
async def opened(loaded: Loaded) -> AsyncGenerator[Database]:
    """Open the database, with the schema of this program; start Jan's own server where it is down.

    Raises:
        DatabaseUnavailable: a configured database does not answer.
        Misconfigured: see `jan.db.embedded.running` and `jan.db.prepare`.
    """
    secrets = keyring.load(loaded.settings)
    async with opened_as_owner(loaded) as owner:
        await prepare(loaded.settings, secrets, owner)
        async with opening.database(
            loaded.settings, secrets, pool_size=POOL_SIZE, application_name="jan command"
        ) as database:
            yield database


@asynccontextmanager
async def opened_as_owner(loaded: Loaded) -> AsyncGenerator[Database]:
    """Open the database as it is, for the role that migrates. Raises as `opened`."""
    secrets = keyring.load(loaded.settings)
    url = dsn.resolve_owner(loaded.settings, secrets)
    async with (
        _served(loaded, url, secrets.database_password),
        connect(url, pool_size=POOL_SIZE, application_name="jan command") as database,
    ):
        yield database


@asynccontextmanager
async def _served(loaded: Loaded, url: str, password: str) -> AsyncGenerator[None]:
    """See to it that the server answers during the block."""
    home = loaded.settings.home
    if not loaded.settings.manages_database:
        yield
        return
    with _guests(home) as guests:
        async with AsyncExitStack() as stack:
            if await _is_host(stack, guests, home, url, password):
                yield
                with anyio.move_on_after(STAY_S):
                    while not _locks(guests, fcntl.LOCK_EX):
                        await anyio.sleep(POLL_S)
            else:
                yield


async def _is_host(
    stack: AsyncExitStack, guests: IO[str], home: Path, url: str, password: str
) -> bool:
    """Get to a server: somebody else's (False), or one that runs until `stack` ends (True).

    Whoever has the lock may be starting it or stopping it, so both ways are tried in turn.
    """
    deadline_s = clock.monotonic_s() + embedded.LOCK_TIMEOUT_S
    while True:
        # A guest of a server that somebody else runs: they wait for us before they stop it.
        if _locks(guests, fcntl.LOCK_SH):
            if await _answers(url):
                return False
            fcntl.flock(guests, fcntl.LOCK_UN)
            try:
                server = embedded.running(home, password, lock_timeout_s=POLL_S)
                await stack.enter_async_context(server)
            except Conflict:
                if clock.monotonic_s() > deadline_s:
                    raise
            else:
                return True
        await anyio.sleep(POLL_S)


async def _answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
    except (*UNREACHED, asyncpg.PostgresError):
        return False
    await connection.close()
    return True


@contextmanager
def _guests(home: Path) -> Generator[IO[str]]:
    (home / "run").mkdir(parents=True, exist_ok=True)
    with (home / "run" / "postgres.guests").open("a") as file:
        yield file


def _locks(guests: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(guests, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
