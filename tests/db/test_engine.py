"""Connections: bounded, always given back, and trouble has one name."""

import anyio
import asyncpg
import pytest

from jan.db import engine
from jan.db.dsn import ReadAddress
from jan.db.engine import Database, connect
from jan.errors import DatabaseUnavailable


async def _is_whole(database: Database) -> bool:
    """Whether every connection of the pool can be had at once."""
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(database.pool.get_max_size()):
                group.start_soon(database.pool.execute, "SELECT pg_sleep(0.05)")
    return engine.PICCOLO.current_transaction.get() is None


async def test_a_transaction_commits_at_its_end_and_rolls_back_on_an_error(
    database: Database,
) -> None:
    await database.pool.execute("CREATE TABLE t (n int)")
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO t VALUES (2)")
            raise ZeroDivisionError

    assert await database.pool.fetchval("SELECT sum(n) FROM t") == 1
    assert await _is_whole(database)


async def test_piccolos_queries_run_inside_the_transaction(database: Database) -> None:
    await database.pool.execute("CREATE TABLE t (n int)")
    with pytest.raises(ZeroDivisionError):
        async with database.transaction():
            await engine.PICCOLO.run_ddl("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError

    assert await database.pool.fetchval("SELECT count(*) FROM t") == 0


async def test_a_commit_that_fails_gives_the_connection_back(database: Database) -> None:
    await database.pool.execute("CREATE TABLE u (n int PRIMARY KEY)")
    await database.pool.execute("CREATE TABLE t (n int REFERENCES u INITIALLY DEFERRED)")
    for _ in range(database.pool.get_max_size() + 1):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            async with database.transaction() as connection:
                await connection.execute("INSERT INTO t VALUES (1)")

    assert await _is_whole(database)


async def test_a_cancelled_block_gives_the_connection_back(database: Database) -> None:
    for _ in range(database.pool.get_max_size() + 1):
        with anyio.move_on_after(0.05):
            async with database.transaction() as connection:
                await connection.execute("SELECT pg_sleep(5)")

    assert await _is_whole(database)


async def test_a_full_pool_is_an_unavailable_database(database_url: str) -> None:
    async with connect(database_url, pool_size=3, wait_s=0.05, application_name="test") as database:
        held = [await database.pool.acquire() for _ in range(3)]

        with pytest.raises(DatabaseUnavailable, match="All 3 connections") as refusal:
            async with database.connection():
                pass

        assert refusal.value.retry_after_s
        for connection in held:
            await database.pool.release(connection)
        assert await _is_whole(database)


async def test_a_server_that_is_not_there_is_an_unavailable_database() -> None:
    async with connect(
        "postgresql://jan:x@127.0.0.1:1/jan",
        read_from=[ReadAddress("postgresql://jan:x@127.0.0.1:1/replica")],
        pool_size=2,
        application_name="t",
    ) as database:
        with pytest.raises(DatabaseUnavailable):
            async with database.connection():
                pass
        with pytest.raises(DatabaseUnavailable):
            await database.ping()
        await database.replicas.look()
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            await database.replicas.every[0].check()


async def test_a_sessions_death_is_healed_by_the_next(database: Database, owner_url: str) -> None:
    pid = await database.pool.fetchval("SELECT pg_backend_pid()")
    other = await asyncpg.connect(owner_url)
    await other.execute("SELECT pg_terminate_backend($1)", pid)
    await other.close()

    with anyio.fail_after(5):
        while True:
            try:
                async with database.connection() as connection:
                    assert await connection.fetchval("SELECT 1") == 1
                break
            except DatabaseUnavailable:
                continue
