"""Buckets in Valkey: the same limit for all gateways, and what becomes of it while it is away."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import anyio
import pytest

from jan.db.engine import Database
from jan.errors import RateLimited
from jan.limits.buckets import Buckets, Limit
from tests.conftest import fetch
from tests.gateways import KEY_SECRET
from tests.ports import HOST, free_port
from tests.valkeys import ESCAPED, ValkeyServer, cluster, remembering, until_used, valkey

SLOW = Limit("slow", burst=20, per_s=1 / 3600)
"""Nothing comes back while a test runs."""


@pytest.fixture
async def server() -> AsyncGenerator[ValkeyServer]:
    async with valkey() as started:
        yield started


async def given(buckets: Buckets, tries: int, limit: Limit = SLOW) -> int:
    """Take one token after another. Returns how many there were."""
    count = 0
    for _ in range(tries):
        with contextlib.suppress(RateLimited):
            await buckets.take(limit.of("a"))
            count += 1
    return count


async def test_several_gateways_together_give_no_more_than_one(
    database: Database, server: ValkeyServer
) -> None:
    async with AsyncExitStack() as stack:
        gateways = [
            Buckets(
                database,
                await until_used(await stack.enter_async_context(remembering(server.url))),
            )
            for _ in range(4)
        ]

        counts = await asyncio.gather(*(given(each, 15) for each in gateways))

    assert sum(counts) == SLOW.burst
    assert await fetch("SELECT FROM bucket") == []


async def test_projects_and_jans_have_buckets_of_their_own(
    database: Database, server: ValkeyServer
) -> None:
    async with (
        remembering(server.url) as memory,
        remembering(server.url, KEY_SECRET[::-1] + "x") as other,
    ):
        mine = Buckets(database, await until_used(memory))
        theirs = Buckets(database, await until_used(other))
        await mine.take(SLOW.of("a", 20))

        await mine.take(SLOW.of("b", 20))
        await theirs.take(SLOW.of("a", 20))
        with pytest.raises(RateLimited):
            await mine.take(SLOW.of("a"))


async def test_a_bucket_is_forgotten_when_it_is_full_again(
    database: Database, server: ValkeyServer
) -> None:
    async with remembering(server.url) as memory:
        buckets = Buckets(database, await until_used(memory))
        await buckets.take(Limit("quick", burst=1, per_s=10).of("a"))
        assert any("quick a" in key for key in await server.keys())

        with anyio.fail_after(5):
            while any("quick a" in key for key in await server.keys()):
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "{key}", "cat"),
        ("SET", "{key}", "nan"),
        ("SET", "{key}", "-5"),
        ("RPUSH", "{key}", "cat"),
    ],
    ids=["a word", "no number", "less than nothing", "a list"],
)
async def test_what_others_wrote_in_place_of_a_bucket_is_a_full_one(
    database: Database, server: ValkeyServer, command: tuple[str, ...]
) -> None:
    async with remembering(server.url) as memory:
        buckets = Buckets(database, await until_used(memory))
        await buckets.take(SLOW.of("a", 20))
        (key,) = await server.keys("*slow a")
        await server.command("DEL", key)
        await server.command(*(part.format(key=key) for part in command))

        assert await given(buckets, 25) == SLOW.burst


async def test_a_clock_that_went_back_empties_a_bucket_and_no_more(
    database: Database, server: ValkeyServer
) -> None:
    limit = Limit("steady", burst=10, per_s=1)
    async with remembering(server.url) as memory:
        buckets = Buckets(database, await until_used(memory))
        await buckets.take(limit.of("a"))
        (key,) = await server.keys("*steady a")
        await server.command("SET", key, "9" * 16)  # hundreds of years ahead

        with pytest.raises(RateLimited) as refusal:
            await buckets.take(limit.of("a"))

    assert refusal.value.retry_after_s == 1


async def test_while_it_is_away_the_database_counts_and_nobody_fails(
    database: Database, server: ValkeyServer
) -> None:
    async with remembering(server.url) as memory:
        buckets = Buckets(database, await until_used(memory))
        there = await given(buckets, 25)

        await server.kill()
        away = await given(buckets, 25)
        counted = await fetch("SELECT name FROM bucket")

        await server.start()
        await until_used(memory)
        again = await given(buckets, 25)

    assert (there, away, again) == (20, 20, 20)
    assert [row["name"] for row in counted] == ["slow a"]


async def test_with_a_server_that_never_was_there_the_limit_is_kept(database: Database) -> None:
    async with remembering(f"redis://{HOST}:{free_port()}") as memory:
        assert await given(Buckets(database, memory), 25) == SLOW.burst


async def test_in_a_cluster_several_buckets_are_taken_from_at_once(database: Database) -> None:
    small, large = Limit("small", 1, 1 / 3600), Limit("large", 3, 1 / 3600)
    async with cluster() as servers:
        url = f"redis+cluster://:{ESCAPED}@{HOST}:{servers[0].port}"
        async with remembering(url) as memory:
            buckets = Buckets(database, await until_used(memory))
            await buckets.take(large.of("a"), small.of("b"))

            with pytest.raises(RateLimited):
                await buckets.take(large.of("a"), small.of("b"))
            left = await given(buckets, 5, large)

    assert left == 2
    assert await fetch("SELECT FROM bucket") == []
