"""Whose rows a transaction sees: PostgreSQL's row-level security is told by it.

The first wall is every query's own condition; this is the second. A query outside of these blocks
sees nothing at all.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from jan.caller import Caller
from jan.db.engine import PICCOLO, Database
from jan.db.reader import Reader
from jan.errors import DatabaseUnavailable, InvalidRequest

SET = """
SELECT set_config('jan.scope', $1, true), set_config('jan.organization', $2, true),
       set_config('jan.project', $3, true), set_config('jan.user', $4, true),
       set_config('jan.owner', $5, true)
"""
"""For the rest of the transaction. Source: https://www.postgresql.org/docs/18/functions-admin.html"""


@dataclass(frozen=True, slots=True)
class _Tenant:
    scope: str
    organization_id: str = ""
    project_id: str = ""
    user_id: str = ""
    owner_id: str = ""


SYSTEM = _Tenant("system")

UNSTORABLE = "The request holds text or numbers that can't be stored."


Last = Callable[[PoolConnectionProxy], Awaitable[object]]
"""What is left to the end of a transaction."""


@dataclass(frozen=True, slots=True)
class _Open:
    tenant: _Tenant
    connection: Any
    only_reads: bool = False
    last: list[tuple[str, Last]] = field(default_factory=list[tuple[str, Last]])


_open: ContextVar[_Open | None] = ContextVar("open", default=None)
"""The transaction that this task is in."""


@asynccontextmanager
async def of(caller: Caller) -> AsyncGenerator[PoolConnectionProxy]:
    """Do all of the block or none, seeing what the caller's organization or person may see.

    A block within one of the same caller takes part in its transaction.

    Raises:
        DatabaseUnavailable: as `Database.transaction`.
        InvalidRequest: what the caller sent can't be stored: NUL in a text, half a character.
    """
    with _storable():
        async with _transaction(_tenant(caller)) as connection:
            yield connection


@asynccontextmanager
async def reading(caller: Caller, *, may_lag: bool = False) -> AsyncGenerator[Reader]:
    """Read what the caller may see, on a replica if one can be read; nothing can be written.

    All is seen that was committed before, by whomever, and with `may_lag` what was committed until
    a moment ago. Within a block of the same caller it takes part in that transaction; blocks `of`
    the caller that are in it take part in this one. Raises as `of`.
    """
    with _storable():
        async with _read(_tenant(caller), may_lag=may_lag) as connection:
            yield connection


@asynccontextmanager
async def reading_all() -> AsyncGenerator[Reader]:
    """Read every row, as `reading` does, for whoever administers all of it."""
    with _storable():
        async with _read(SYSTEM, may_lag=False) as connection:
            yield connection


@asynccontextmanager
async def system() -> AsyncGenerator[PoolConnectionProxy]:
    """Do all of the block or none, seeing every row.

    For what runs before there is a caller, and for background work.

    Raises:
        DatabaseUnavailable: as `Database.transaction`.
    """
    async with _transaction(SYSTEM) as connection:
        yield connection


@asynccontextmanager
async def system_on(connection: asyncpg.Connection) -> AsyncGenerator[None]:
    """Do the same on a connection outside of the pool, for who holds a lock of a session on it."""
    async with connection.transaction():
        await _tell(connection, SYSTEM)
        yield


@asynccontextmanager
async def of_all() -> AsyncGenerator[PoolConnectionProxy]:
    """Do all of the block or none, seeing every row, as whoever administers all of it asked to.

    That they do is known by now. Raises as `of`.
    """
    with _storable():
        async with _transaction(SYSTEM) as connection:
            yield connection


@asynccontextmanager
async def joined(caller: Caller) -> AsyncGenerator[PoolConnectionProxy]:
    """Take part in the transaction that is open, whosever it is; open the caller's if none is."""
    if outer := _open.get():
        yield outer.connection
        return
    async with of(caller) as connection:
        yield connection


def at_the_end(lock: str, last: Last) -> None:
    """Leave something to the end of the open transaction, and do it only if that gets there.

    For what takes a lock that many transactions want: it is held for a moment, after all locks on
    rows, and several such locks are taken in the order of their names. So nobody who holds one
    waits for somebody who waits for it. A savepoint that is rolled back takes nothing back.
    """
    outer = _open.get()
    assert outer is not None
    assert not outer.only_reads
    outer.last.append((lock, last))


@asynccontextmanager
async def _transaction(tenant: _Tenant) -> AsyncGenerator[PoolConnectionProxy]:
    if outer := _open.get():
        # Two tenants in one transaction would be one that sees the other's rows.
        assert outer.tenant == tenant
        yield outer.connection
        return
    async with _database().transaction() as connection:
        await _tell(connection, tenant)
        opened = _Open(tenant, connection)
        token = _open.set(opened)
        try:
            yield connection
            for _, last in sorted(opened.last, key=itemgetter(0)):
                await last(connection)
        finally:
            _open.reset(token)


@asynccontextmanager
async def _read(tenant: _Tenant, *, may_lag: bool) -> AsyncGenerator[Any]:
    if outer := _open.get():
        assert outer.tenant == tenant
        yield outer.connection
        return

    async def begin(connection: asyncpg.Connection) -> None:
        await _tell(connection, tenant)

    async with _database().reading(begin, may_lag=may_lag) as reader:
        token = _open.set(_Open(tenant, reader, only_reads=True))
        try:
            yield reader
        finally:
            _open.reset(token)


@contextmanager
def _storable() -> Generator[None]:
    try:
        yield
    except asyncpg.DataError as error:
        raise InvalidRequest(UNSTORABLE) from error


def _database() -> Database:
    if PICCOLO.database is None:
        raise DatabaseUnavailable("No database is open in this process.")
    return PICCOLO.database


def _tenant(caller: Caller) -> _Tenant:
    return _Tenant(
        "tenant",
        caller.organization_id or "",
        caller.project_id or "",
        caller.user_id or "",
        caller.owner_id or "",
    )


async def _tell(connection: asyncpg.Connection | PoolConnectionProxy, tenant: _Tenant) -> None:
    await connection.execute(
        SET,
        tenant.scope,
        tenant.organization_id,
        tenant.project_id,
        tenant.user_id,
        tenant.owner_id,
    )
