"""A bounded number of connections to one server, each borrowed and always given back."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import asyncpg
from asyncpg.pool import PoolConnectionProxy

from jan.db.trouble import LOST, UNREACHED, explained
from jan.errors import DatabaseUnavailable

CONNECT_TIMEOUT_S = 5
"""For opening one connection. PostgreSQL answers in milliseconds, or is in trouble."""
COMMAND_TIMEOUT_S = 30.0
"""For one statement: a server behind a cut cable never answers."""
STATEMENTS = 100
"""Kept prepared on each connection."""
CLOSE_TIMEOUT_S = 5.0
"""For connections to come back at the end. Later ones are cut off."""


class Full(DatabaseUnavailable):
    """All connections are in use. The server itself may be well."""


def make(
    dsn: str,
    *,
    size: int,
    application_name: str,
    command_timeout_s: float | None = COMMAND_TIMEOUT_S,
    is_behind_pooler: bool = False,
) -> asyncpg.Pool:
    """Make a pool that connects nothing before it is used.

    `is_behind_pooler`: one that gives each transaction another connection. A statement that was
    prepared on one is unknown on the next, so none is kept.
    """
    return asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=command_timeout_s,
        server_settings={"application_name": application_name},
        statement_cache_size=0 if is_behind_pooler else STATEMENTS,
    )


@asynccontextmanager
async def borrowed(pool: asyncpg.Pool, *, wait_s: float) -> AsyncGenerator[PoolConnectionProxy]:
    """Borrow a connection.

    Raises:
        Full: none was given back within `wait_s`.
        DatabaseUnavailable: none could be opened, or it broke meanwhile.
    """
    try:
        with explained(UNREACHED):
            connection = await pool.acquire(timeout=wait_s)
    except DatabaseUnavailable as error:
        if is_full(pool) and isinstance(error.__cause__, TimeoutError):
            raise Full(
                f"All {pool.get_max_size()} connections to the database are in use.",
                retry_after_s=1,
            ) from error
        raise
    try:
        with explained(LOST):
            yield connection
    finally:
        # Shielded by asyncpg: a connection comes back though its user was cancelled. What was done
        # on it is done, though it breaks on the way.
        with suppress(DatabaseUnavailable), explained(UNREACHED):
            await pool.release(connection)


def is_full(pool: asyncpg.Pool) -> bool:
    """Whether who wants a connection now has to wait until another one is given back."""
    return pool.get_idle_size() == 0 and pool.get_size() >= pool.get_max_size()


def waiting(pool: asyncpg.Pool) -> int:
    """Tell how many wait for a connection. asyncpg knows, and does not say."""
    queue: Any = pool._queue
    return 0 if queue is None else len(queue._getters)


async def close(pool: asyncpg.Pool) -> None:
    """Wait a while for connections to come back, then cut off those that do not."""
    with anyio.move_on_after(CLOSE_TIMEOUT_S) as closing:
        await pool.close()
    if closing.cancelled_caught:
        pool.terminate()
