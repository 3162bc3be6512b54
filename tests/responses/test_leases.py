"""Leases are renewed while a process lives and hears from the database, and lost otherwise."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import anyio
import pytest

from jan.db.engine import Database
from jan.responses import store
from jan.responses.leases import LeaseLost, Leases
from jan.responses.news import News
from tests.conftest import execute, fetch
from tests.conversations.owners import caller_of
from tests.gateways import until
from tests.responses.test_store import begin
from tests.tenants import new_person

DEADLINE_S = 5


@asynccontextmanager
async def renewing(lease_s: float, news: News | None = None) -> AsyncGenerator[Leases]:
    """Renew during the block."""
    leases = Leases(news, lease_s=lease_s)
    task = asyncio.create_task(leases.run())
    try:
        yield leases
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def new_response() -> str:
    """Begin a response, which is on lease."""
    return (await begin(caller_of(await new_person("ann")))).response.id


async def hold(leases: Leases, response_id: str) -> None:
    """Hold the lease until it is lost."""
    async with leases.hold(response_id, store.FIRST_ATTEMPT):
        await asyncio.sleep(600)


async def test_what_is_held_is_renewed(database: Database) -> None:
    response_ids = [await new_response() for _ in range(3)]
    await execute("UPDATE response SET lease_expires_at = now() - interval '1 hour'")

    async with AsyncExitStack() as stack:
        leases = await stack.enter_async_context(renewing(0.5))
        for response_id in response_ids[:2]:
            await stack.enter_async_context(leases.hold(response_id, store.FIRST_ATTEMPT))
        with anyio.fail_after(DEADLINE_S):
            while True:
                rows = await fetch("SELECT id FROM response WHERE lease_expires_at > now()")
                if rows:
                    break
                await asyncio.sleep(0.01)

    assert {row["id"] for row in rows} == set(response_ids[:2])


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE response SET attempt = attempt + 1",
        "UPDATE response SET status = 'cancelled', lease_expires_at = NULL, ended_at = now()",
        "DELETE FROM response",
    ],
)
async def test_what_is_ours_no_more_is_lost(database: Database, change: str) -> None:
    response_id = await new_response()

    async with renewing(0.5) as leases:
        holding = asyncio.create_task(hold(leases, response_id))
        await until(lambda: leases._held)
        await execute(change)
        with anyio.fail_after(DEADLINE_S), pytest.raises(LeaseLost):
            await holding

    assert not leases._held


async def test_a_loss_that_is_told_is_heard_at_once(database: Database) -> None:
    response_id, news = await new_response(), News()
    listening = asyncio.create_task(news.run(database.dsn))
    await until(lambda: news._is_listening)

    async with renewing(3600, news) as leases:
        holding = asyncio.create_task(hold(leases, response_id))
        await until(lambda: leases._held)
        await asyncio.sleep(0)
        await execute("DELETE FROM response")
        await execute("SELECT pg_notify('jan_response', $1 || ' end')", response_id)
        with anyio.fail_after(DEADLINE_S), pytest.raises(LeaseLost):
            await holding

    listening.cancel()


async def test_without_the_database_it_is_lost_before_its_end() -> None:
    loop = asyncio.get_running_loop()
    since_s = loop.time()

    async with renewing(0.5) as leases:
        with anyio.fail_after(DEADLINE_S), pytest.raises(LeaseLost):
            await hold(leases, "resp_1")

    assert loop.time() - since_s < 0.5


async def test_one_that_is_released_can_not_be_lost(database: Database) -> None:
    response_id = await new_response()

    async with (
        renewing(0.5) as leases,
        leases.hold(response_id, store.FIRST_ATTEMPT) as lease,
    ):
        lease.release()
        await execute("DELETE FROM response")
        assert await leases._renew()
        await asyncio.sleep(0)

    assert not lease.is_lost


async def test_an_end_of_the_block_for_another_reason_passes() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with Leases().hold("resp_1", 1):
            raise ValueError("mine")
