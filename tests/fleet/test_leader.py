"""Who looks after endpoints: one process at a time, another one at once when it is gone."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from jan.db import dsn
from jan.db.engine import Database
from jan.fleet.leader import DOUBT, Leader
from jan.inference.registry import Endpoint
from tests.conftest import PASSWORD
from tests.gateways import until

SHARED = Endpoint(id="ep_shared", url="http://x")
OWN = Endpoint(id="ep_own", url="unix:///x", is_shared=False)


@asynccontextmanager
async def leading(url: str, node: str = "box:/a") -> AsyncGenerator[Leader]:
    leader = Leader(url, node)
    running = asyncio.create_task(leader.run())
    try:
        yield leader
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def cut(postgres: object, database_name: str, pids: list[int] | None = None) -> int:
    """End connections of `jan fleet`, as a network does."""
    admin = await asyncpg.connect(dsn.own(postgres, dsn.SUPERUSER, "postgres", PASSWORD))  # pyright: ignore[reportArgumentType]
    ended = await admin.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = $1 AND application_name = 'jan fleet' AND ($2::int[] IS NULL"
        " OR pid = ANY ($2))",
        database_name,
        pids,
    )
    await admin.close()
    return len(ended)


async def holders(database: Database) -> list[int]:
    """Tell which sessions hold advisory locks."""
    rows = await database.pool.fetch(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return [row["pid"] for row in rows]


async def test_one_leads_for_all_and_one_for_each_node(
    database: Database, database_url: str
) -> None:
    async with AsyncExitStack() as stack:
        leaders = [
            await stack.enter_async_context(leading(database_url, f"box:/{number % 2}"))
            for number in range(6)
        ]
        await until(lambda: all(leader.is_connected for leader in leaders))
        await until(lambda: sum(leader.leads(OWN) for leader in leaders) == 2)

        assert sum(leader.leads(SHARED) for leader in leaders) == 1
        for node in (leaders[::2], leaders[1::2]):
            assert sum(leader.leads(OWN) for leader in node) == 1
        assert len(await holders(database)) == 3


async def test_when_its_connection_is_cut_another_leads_within_a_second(
    database: Database, database_url: str, postgres: object, database_name: str
) -> None:
    async with leading(database_url) as first:
        await until(lambda: first.leads(SHARED) and first.leads(OWN))
        async with leading(database_url) as second:
            await until(lambda: second.is_connected)
            assert not second.leads(SHARED)
            changes: list[bool] = []
            first.on_change = lambda: changes.append(first.leads(SHARED))

            began_s = time.monotonic()
            await cut(postgres, database_name, list(set(await holders(database))))
            await until(lambda: second.leads(SHARED) or (first.leads(SHARED) and changes))
            took_s = time.monotonic() - began_s

            assert took_s < 1
            assert changes[0] is False
            await until(lambda: first.is_connected)
            assert first.leads(SHARED) + second.leads(SHARED) == 1
            assert first.leads(OWN) + second.leads(OWN) == 1


async def test_there_are_never_two_however_often_connections_are_cut(
    database: Database, database_url: str, postgres: object, database_name: str
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(leading(database_url))
        for _ in range(10):
            await cut(postgres, database_name)
            for _ in range(5):
                held = await holders(database)
                assert len(held) <= 2, "one lock for all, one for the node"
                await asyncio.sleep(0.01)


async def test_one_that_stops_is_followed_within_a_second(
    database: Database, database_url: str
) -> None:
    async with AsyncExitStack() as stack:
        async with leading(database_url) as first:
            await until(lambda: first.leads(SHARED))
            second = await stack.enter_async_context(leading(database_url))
            await until(lambda: second.is_connected)
        began_s = time.monotonic()
        await until(lambda: second.leads(SHARED) and second.leads(OWN))

        assert time.monotonic() - began_s < 1


async def test_a_doubt_is_told_to_all_and_not_too_often(
    database: Database, database_url: str
) -> None:
    async with leading(database_url) as first, leading(database_url) as second:
        heard: list[str] = []
        first.on_doubt = heard.append
        await until(lambda: first.is_connected and second.is_connected)

        for _ in range(1000):
            second.doubt("ep_1")
        second.doubt("ep_2")
        await until(lambda: len(heard) >= 2)
        await asyncio.sleep(0.05)

        assert sorted(heard) == ["ep_1", "ep_2"]


async def test_a_strange_doubt_harms_nobody(database: Database, database_url: str) -> None:
    async with leading(database_url) as leader:
        heard: list[str] = []
        leader.on_doubt = heard.append
        await until(lambda: leader.is_connected)

        await database.pool.execute("SELECT pg_notify($1, $2)", DOUBT, "'; DROP TABLE x; --")
        await until(lambda: heard)

        assert leader.is_connected


@pytest.mark.parametrize("url", ["postgresql://jan@127.0.0.1:1/jan?sslmode=bogus"])
async def test_without_a_database_nobody_leads(url: str) -> None:
    async with leading(url) as leader:
        await asyncio.sleep(0.3)

        assert not leader.is_connected
        assert not leader.leads(SHARED)
        leader.doubt("ep_1")
