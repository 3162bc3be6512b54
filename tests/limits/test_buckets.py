"""Token buckets: what is taken is counted once, by all, and comes back in time."""

import time
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from jan.db.engine import Database, connect
from jan.errors import DatabaseUnavailable, RateLimited
from jan.limits import buckets as buckets_module
from jan.limits import jobs
from jan.limits.buckets import Buckets, Limit
from tests.conftest import execute, fetch, locking, until_blocked
from tests.valkeys import ValkeyServer, remembering, until_used, valkey

SLOW = Limit("slow", burst=3, per_s=1 / 3600)
"""Nothing comes back while a test runs."""


async def taken(buckets: Buckets, *claims: Any) -> bool:
    try:
        await buckets.take(*claims)
    except RateLimited:
        return False
    return True


@pytest.fixture(scope="module")
async def server(anyio_backend: str) -> AsyncGenerator[ValkeyServer]:
    """One for all tests of the module, which use limits or subjects of their own there."""
    async with valkey() as started:
        yield started


@pytest.fixture(params=["PostgreSQL", "Valkey"])
async def buckets(
    request: pytest.FixtureRequest, database_url: str, server: ValkeyServer
) -> AsyncGenerator[Buckets]:
    """Those of one gateway, wherever they are."""
    async with connect(database_url, pool_size=8, application_name="t") as database:
        if request.param == "PostgreSQL":
            yield Buckets(database)
            return
        await server.command("FLUSHALL")
        async with remembering(server.url) as memory:
            yield Buckets(database, await until_used(memory))
    assert await server.keys("*{limits}*")  # else it was the database that counted


async def test_a_full_bucket_gives_its_burst_and_no_more(buckets: Buckets) -> None:
    given = [await taken(buckets, SLOW.of("a")) for _ in range(5)]

    assert given == [True, True, True, False, False]
    assert await taken(buckets, SLOW.of("b"))


async def test_a_refusal_says_when_there_will_be_enough(buckets: Buckets) -> None:
    limit = Limit("steady", burst=10, per_s=0.5)
    await buckets.take(limit.of("a", 10))

    with pytest.raises(RateLimited) as refusal:
        await buckets.take(limit.of("a", 3))

    assert refusal.value.retry_after_s == 6


async def test_tokens_come_back_up_to_the_burst(database: Database) -> None:
    buckets = Buckets(database)
    limit = Limit("steady", burst=4, per_s=1)
    await buckets.take(limit.of("a", 4))

    await execute("UPDATE bucket SET full_at = full_at - interval '2 seconds'")
    two = [await taken(buckets, limit.of("a")) for _ in range(3)]
    await execute("UPDATE bucket SET full_at = full_at - interval '1 hour'")
    four = [await taken(buckets, limit.of("a")) for _ in range(5)]

    assert two == [True, True, False]
    assert four == [True] * 4 + [False]


async def test_many_at_once_are_given_no_more_than_one_after_another(buckets: Buckets) -> None:
    given: list[bool] = []

    async def take() -> None:
        given.append(await taken(buckets, Limit("l", burst=20, per_s=1 / 3600).of("a")))

    async with anyio.create_task_group() as group:
        for _ in range(60):
            group.start_soon(take)

    assert (given.count(True), given.count(False)) == (20, 40)


async def test_of_several_buckets_all_are_taken_from_or_none(buckets: Buckets) -> None:
    small, large = Limit("small", 1, 1 / 3600), Limit("large", 3, 1 / 3600)
    assert await taken(buckets, large.of("a"), small.of("a"))

    refused = await taken(buckets, large.of("a"), small.of("a"))

    assert not refused
    assert [await taken(buckets, large.of("a")) for _ in range(3)] == [True, True, False]


async def test_buckets_in_another_order_never_wait_for_one_another(buckets: Buckets) -> None:
    claims = [Limit("l", 1000, 1).of(subject) for subject in "abcd"]

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(lambda n=number: buckets.take(*claims[:: 1 if n % 2 else -1]))


async def test_tokens_come_back_at_their_pace(buckets: Buckets) -> None:
    limit = Limit("quick", burst=5, per_s=50)
    await buckets.take(limit.of("a", 5))
    given, started_s = 0, time.monotonic()

    with anyio.fail_after(10):
        while given < 20:
            given += await taken(buckets, limit.of("a"))

    assert 0.35 < time.monotonic() - started_s < 2


async def test_what_comes_back_while_one_waits_for_the_row_is_not_lost(database: Database) -> None:
    buckets = Buckets(database)
    limit = Limit("quick", burst=1, per_s=10)
    await buckets.take(limit.of("a"))
    given: list[bool] = []

    async def take() -> None:
        given.append(await taken(buckets, limit.of("a")))

    async with (
        anyio.create_task_group() as group,
        locking(database, "SELECT FROM bucket FOR UPDATE") as connection,
    ):
        group.start_soon(take)
        await until_blocked(connection)
        while not await connection.fetchval("SELECT clock_timestamp() > full_at FROM bucket"):
            await anyio.sleep(0.01)

    assert given == [True]


async def test_more_than_a_bucket_holds_is_refused_at_once(database: Database) -> None:
    with pytest.raises(RateLimited, match="3 at once") as refusal:
        await Buckets(database).take(SLOW.of("a", 4))

    assert refusal.value.retry_after_s is None


async def test_without_the_database_nobody_knows() -> None:
    async with connect("postgresql://x@127.0.0.1:1/x", pool_size=1, application_name="t") as gone:
        with pytest.raises(DatabaseUnavailable):
            await Buckets(gone).take(SLOW.of("a"))


async def test_a_database_that_hangs_or_takes_nothing_is_told_in_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets_module, "TIMEOUT_S", 0.1)
    async with locking(database, "LOCK TABLE bucket IN ACCESS EXCLUSIVE MODE"):
        with pytest.raises(DatabaseUnavailable):
            await Buckets(database).take(SLOW.of("a"))

    assert await taken(Buckets(database), SLOW.of("a"))


async def test_full_buckets_are_removed_and_others_kept(database: Database) -> None:
    buckets = Buckets(database)
    await buckets.take(SLOW.of("used"), Limit("quick", 1, 1000).of("full"))
    await execute("UPDATE bucket SET full_at = now() - interval '1 second' WHERE name ~ 'full'")

    await jobs.job().handler(None)

    assert [row["name"] for row in await fetch("SELECT name FROM bucket")] == ["slow used"]
