"""Replicas: read while they can be, never behind what anybody was told, and never in the way."""

import asyncio
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import asyncpg
import pytest
from structlog.testing import capture_logs

from jan.caller import Caller
from jan.db import replica as one
from jan.db import replicas, scope
from jan.db.dsn import ReadAddress
from jan.db.engine import Database, connect
from jan.errors import DatabaseUnavailable, InvalidRequest
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from jan.organization import access
from jan.pages import Wanted
from tests import replication
from tests.conftest import execute
from tests.replication import Cluster
from tests.serving import until

DEADLINE_S = 15
WHERE = "SELECT CASE WHEN pg_is_in_recovery() THEN current_setting('cluster_name') ELSE '' END"
"""On which replica somebody reads. Empty: on none."""
COUNT = "SELECT count(*) FROM api_key"


@pytest.fixture(scope="module")
async def running(anyio_backend: str) -> AsyncIterator[Cluster]:
    async with replication.running() as cluster:
        yield cluster


@pytest.fixture
async def cluster(running: Cluster) -> AsyncIterator[Cluster]:
    yield running
    await running.heal()


@asynccontextmanager
async def opened(
    cluster: Cluster, name: str, *, weights: tuple[int, ...] = (1, 1), **more: Any
) -> AsyncGenerator[Database]:
    """Open a database of them, and look after its replicas."""
    read_from = [
        ReadAddress(replica.url(name), weight)
        for replica, weight in zip(cluster.replicas, weights, strict=False)
    ]
    said: dict[str, Any] = {"pool_size": 4, "read_pool_size": 4, "wait_s": 1.0, **more}
    async with connect(
        cluster.primary.url(name), read_from=read_from, application_name="test", **said
    ) as database:
        looking = asyncio.create_task(database.replicas.run())
        await until_fit(database)
        yield database
        looking.cancel()
        await asyncio.wait([looking])


async def until_fit(database: Database, fit: bool = True) -> None:
    """Wait until all replicas are read, or none."""
    with anyio.fail_after(DEADLINE_S):
        while any((each.trouble is None) != fit for each in database.replicas.every):
            await asyncio.sleep(0.01)


@pytest.fixture
async def name(cluster: Cluster) -> str:
    return await cluster.new_database()


@pytest.fixture
async def database(cluster: Cluster, name: str) -> AsyncIterator[Database]:
    async with opened(cluster, name) as database:
        yield database


async def where(caller: Caller, *, may_lag: bool = False) -> str:
    async with scope.reading(caller, may_lag=may_lag) as connection:
        return await connection.fetchval(WHERE)


async def new_key(caller: Caller) -> str:
    return (await keys.create(caller, KeyCreate(name="ci"), hmac_secret="s" * 32)).key.id


async def listed(caller: Caller) -> list[str]:
    return [key.id for key in (await keys.page(caller, Wanted())).data]


async def counted(caller: Caller) -> int:
    """Count keys as a report does."""
    async with scope.reading(caller, may_lag=True) as connection:
        return await connection.fetchval(COUNT)


async def test_reads_go_to_the_replicas_in_turns(database: Database, operator: Caller) -> None:
    seen = [await where(operator) for _ in range(4)]

    assert seen == ["replica-1", "replica-2"] * 2


async def test_a_replica_gets_as_many_turns_as_it_weighs(cluster: Cluster, name: str) -> None:
    async with opened(cluster, name, weights=(3, 1)):
        caller = await access.operator()
        seen = [await where(caller) for _ in range(8)]

    assert seen == ["replica-1", "replica-1", "replica-2", "replica-1"] * 2


async def test_a_replica_that_nobody_has_looked_at_is_not_read(cluster: Cluster, name: str) -> None:
    async with connect(
        cluster.primary.url(name),
        read_from=[ReadAddress(cluster.replicas[0].url(name))],
        pool_size=1,
        application_name="test",
    ):
        assert await where(await access.operator()) == ""


async def test_what_was_committed_is_seen_however_far_behind_the_replicas_are(
    cluster: Cluster, database: Database, operator: Caller
) -> None:
    assert await where(operator)
    await cluster.pause()
    for number in range(1, 6):
        key_id = await new_key(operator)
        assert key_id in await listed(operator)
        assert len(await listed(operator)) == number

    await cluster.resume()
    with anyio.fail_after(DEADLINE_S):
        while not await where(operator):
            await asyncio.sleep(0.05)
    assert len(await listed(operator)) == 5


async def test_another_process_sees_what_this_one_wrote(
    cluster: Cluster, name: str, database: Database, operator: Caller
) -> None:
    """As it does what a person at `psql` wrote: nobody has to tell it."""
    await cluster.pause()
    connection = await asyncpg.connect(cluster.primary.url(name))
    await connection.execute("SET jan.scope = 'system'")
    for number in range(20):
        await connection.execute(
            "UPDATE organization SET name = $1 WHERE is_default", f"name {number}"
        )
        async with scope.reading(operator) as reader:
            found = await reader.fetchval("SELECT name FROM organization WHERE is_default")
        assert found == f"name {number}"
    await connection.close()


async def test_a_report_may_be_older_but_not_older_than_the_settings_say(
    cluster: Cluster, name: str
) -> None:
    async with opened(cluster, name, max_lag_s=2.5) as database:
        caller = await access.operator()
        await cluster.pause()
        await new_key(caller)
        assert await counted(caller) == 0
        assert await where(caller, may_lag=True)

        await until_fit(database, False)
        assert await counted(caller) == 1
        assert database.replicas.every[0].trouble.startswith("it is behind, ")  # pyright: ignore[reportOptionalMemberAccess] - or it fails here

        await cluster.resume()
        await until_fit(database)
        assert await where(caller, may_lag=True)
        assert await counted(caller) == 1


async def test_lag_is_counted_in_seconds_and_bytes(
    cluster: Cluster, database: Database, operator: Caller
) -> None:
    (replica, _) = database.replicas.every
    well = await replica.check()
    await cluster.pause()
    await new_key(operator)
    with anyio.fail_after(DEADLINE_S):
        while replica.lag_s < 1:
            await asyncio.sleep(0.05)

    assert well["lag_s"] <= 2
    assert replica.lag_bytes > 100
    assert (await replica.check())["failures"] == 0


async def test_an_idle_primary_leaves_nobody_behind(database: Database) -> None:
    for _ in range(3):
        await database.replicas.look()

    assert [each.lag_s for each in database.replicas.every] == [0, 0]


async def test_no_read_fails_when_replicas_are_killed_and_they_are_read_again_when_they_are_back(
    cluster: Cluster, database: Database, operator: Caller
) -> None:
    seen: list[str] = []
    alone: set[str] = set()
    is_over = False

    async def read() -> None:
        while not is_over:
            seen.append(await where(operator))

    with capture_logs() as lines:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(read)
            for replica in cluster.replicas:
                before = len(seen)
                while len(seen) < before + 20:
                    await asyncio.sleep(0.01)
                await replica.stop(signal.SIGKILL)
            await until_fit(database, False)
            before = len(seen)
            while len(seen) < before + 20:
                await asyncio.sleep(0.01)
            alone |= set(seen[before + 3 :])
            for replica in cluster.replicas:
                await replica.start()
            await until_fit(database)
            before = len(seen)
            while set(seen[before:]) < {"replica-1", "replica-2"}:
                await asyncio.sleep(0.01)
            is_over = True

    assert alone == {""}
    words = [(line["event"], line["replica"]) for line in lines]
    assert words.count(("reads go past a replica", "replica_1")) == 1
    assert words.count(("a replica is read", "replica_1")) == 1
    assert [each.failures for each in database.replicas.every] == [1, 1]


async def test_a_read_whose_replica_breaks_goes_on_at_the_primary(
    cluster: Cluster, database: Database, operator: Caller
) -> None:
    await new_key(operator)
    async with scope.reading(operator) as connection:
        assert await connection.fetchval(WHERE)
        await cluster.replicas[0].fetchval(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
            " WHERE application_name = 'test' AND pid <> pg_backend_pid()"
        )
        # With row security's settings, which were the lost transaction's.
        assert await connection.fetchval(COUNT) == 1
        assert await connection.fetchval(WHERE) == ""


async def test_what_a_replica_can_not_answer_yet_the_primary_answers(
    cluster: Cluster, name: str, database: Database, operator: Caller
) -> None:
    """A report may come to a replica that has not replayed the migration that it needs."""
    await cluster.pause()
    connection = await asyncpg.connect(cluster.primary.url(name, "jan"))
    await connection.execute("CREATE TABLE t AS SELECT 7 AS n; GRANT SELECT ON t TO jan_app")
    await connection.close()

    async with scope.reading(operator, may_lag=True) as reader:
        assert await reader.fetchval(WHERE)
        assert await reader.fetchval("SELECT n FROM t") == 7


async def test_what_can_not_be_asked_for_is_not_asked_of_the_primary_too(
    database: Database, operator: Caller
) -> None:
    with capture_logs() as lines, pytest.raises(InvalidRequest):
        async with scope.reading(operator) as reader:
            await reader.fetchval("SELECT $1::text", "\0")

    assert lines == []
    assert await where(operator)


async def test_a_replica_whose_address_is_wrong_harms_nobody(cluster: Cluster, name: str) -> None:
    async with connect(
        cluster.primary.url(name),
        read_from=[ReadAddress(f"{cluster.replicas[0].url(name)}&sslmode=bogus")],
        pool_size=1,
        application_name="test",
    ) as database:
        await database.replicas.look()
        assert await where(await access.operator()) == ""
        with pytest.raises(DatabaseUnavailable, match="address"):
            await database.replicas.every[0].check()


async def test_reports_go_on_while_the_primary_is_away_and_all_does_when_it_is_back(
    cluster: Cluster, database: Database, operator: Caller
) -> None:
    await new_key(operator)
    await cluster.until_same()
    await cluster.primary.stop(signal.SIGKILL)
    for _ in range(3):
        await database.replicas.look()

    assert await counted(operator) == 1
    with pytest.raises(DatabaseUnavailable) as refusal:
        await listed(operator)
    assert refusal.value.retry_after_s

    await cluster.primary.start()
    with anyio.fail_after(DEADLINE_S):
        while True:
            try:
                key_id = await new_key(operator)
                break
            except DatabaseUnavailable:
                await asyncio.sleep(0.05)
    assert key_id in await listed(operator)
    with anyio.fail_after(DEADLINE_S):
        while not await where(operator):
            await asyncio.sleep(0.05)


async def test_a_transaction_stays_on_the_primary(database: Database, operator: Caller) -> None:
    async with scope.of(operator) as connection:
        key_id = await new_key(operator)
        assert key_id in await listed(operator)
        async with scope.reading(operator) as same:
            assert same is connection
            assert await same.fetchval(WHERE) == ""


async def test_blocks_within_a_read_are_part_of_it(database: Database, operator: Caller) -> None:
    async with scope.reading(operator), scope.of(operator) as connection:
        assert await connection.fetchval(WHERE)


async def test_a_read_writes_nothing_anywhere(database: Database, operator: Caller) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with scope.reading(operator) as connection:
            await connection.fetch("DELETE FROM api_key")


async def test_readers_that_find_no_free_connection_to_a_replica_go_to_the_primary(
    cluster: Cluster, name: str
) -> None:
    async with opened(cluster, name, read_pool_size=1) as database:
        caller = await access.operator()
        all_read = anyio.Event()
        seen: list[str] = []
        async with anyio.create_task_group() as group:

            async def read() -> None:
                async with scope.reading(caller) as connection:
                    seen.append(await connection.fetchval(WHERE))
                    await all_read.wait()

            for _ in range(4):
                group.start_soon(read)
            with anyio.fail_after(DEADLINE_S):
                while len(seen) < 4:
                    await asyncio.sleep(0.01)
            all_read.set()

        assert sorted(seen) == ["", "", "replica-1", "replica-2"]
        assert all(each.trouble is None for each in database.replicas.every)


async def test_a_cancelled_read_gives_its_connection_back(
    database: Database, operator: Caller
) -> None:
    for _ in range(10):
        with anyio.move_on_after(0.05):
            async with scope.reading(operator) as connection:
                await connection.fetchval("SELECT pg_sleep(5)")

    assert await where(operator)
    assert all(each.trouble is None for each in database.replicas.every)
    pools = [each.pool for each in database.replicas.every]
    # Their users are gone before the server has said that it stopped what they asked for.
    await until(lambda: all(pool.get_idle_size() == pool.get_size() for pool in pools))


async def test_a_server_that_takes_writes_is_no_replica(cluster: Cluster, name: str) -> None:
    async with connect(
        cluster.primary.url(name),
        read_from=[ReadAddress(cluster.primary.url(name))],
        pool_size=1,
        application_name="test",
    ) as database:
        await database.replicas.look()
        (replica,) = database.replicas.every
        with pytest.raises(DatabaseUnavailable, match="no streaming replica"):
            await replica.check()


async def test_the_primary_is_asked_once_for_all_who_come_together() -> None:
    asked = 0
    may_answer = anyio.Event()

    async def ask() -> int:
        nonlocal asked
        asked += 1
        number = asked
        await may_answer.wait()
        return number

    shared = replicas._Shared(ask)
    first = asyncio.create_task(shared())
    await asyncio.sleep(0)
    while asked < 1:
        await asyncio.sleep(0)
    later = [asyncio.create_task(shared()) for _ in range(100)]
    await asyncio.sleep(0)
    later[0].cancel()
    may_answer.set()

    assert await first == 1
    assert {await task for task in later[1:]} == {2}


async def test_a_replica_that_was_waited_for_in_vain_is_not_waited_for_again(
    cluster: Cluster, database: Database, operator: Caller
) -> None:
    await cluster.pause()
    await execute("UPDATE organization SET name = 'other' WHERE is_default")
    await listed(operator)
    assert any(each.is_behind for each in database.replicas.every)

    await cluster.resume()
    with anyio.fail_after(DEADLINE_S):
        while any(each.is_behind for each in database.replicas.every):
            await asyncio.sleep(0.05)
    assert one.CATCH_UP_S < 1
