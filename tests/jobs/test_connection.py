"""The database may go and come, be new, and give a worker no more than its rights."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from jan.db import dsn, embedded, migrate
from jan.db.engine import Database, connect
from jan.errors import Unavailable
from jan.jobs.queue import Job, Retry, Schedule
from tests.conftest import PASSWORD
from tests.jobs.workers import (
    DEADLINE_S,
    SLOW_TO_TAKE_OVER,
    Done,
    enqueue,
    state_of,
    until,
    until_empty,
    working,
)


@asynccontextmanager
async def served(home: Path) -> AsyncGenerator[Database]:
    """Run a server of its own during the block."""
    url = dsn.own(home, dsn.OWNER, dsn.DATABASE, PASSWORD)
    async with (
        embedded.running(home, PASSWORD),
        connect(url, pool_size=2, application_name="t") as database,
    ):
        yield database


async def test_a_lost_connection_costs_no_job_and_doubles_none(
    database: Database, database_url: str
) -> None:
    may_finish = asyncio.Event()
    done: list[str] = []

    async def take_a_while(word: str) -> None:
        await may_finish.wait()
        done.append(word)

    async with working(database_url, Job("slow", take_a_while, str)):
        await enqueue(database, "slow", "before")
        with anyio.fail_after(DEADLINE_S):
            while (await state_of(database)).running != 1:
                await asyncio.sleep(0.01)
        cut = await database.pool.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'jan jobs' AND datname = current_database()"
        )
        may_finish.set()
        await enqueue(database, "slow", "after")
        await until_empty(database)

    assert cut == 1
    assert sorted(done) == ["after", "before"]


async def test_a_worker_may_be_there_before_the_tables_are(empty_database_url: str) -> None:
    done = Done()
    async with (
        connect(empty_database_url, pool_size=2, application_name="t") as database,
        working(empty_database_url, Job("note", done, str)),
    ):
        await migrate.up(database)
        await enqueue(database, "note", "x")
        await until(lambda: done.words)

    assert done.words == ["x"]


async def test_the_rights_of_requests_are_enough(database: Database, database_url: str) -> None:
    done, failed = Done(), Done()

    async def fail(word: str) -> None:
        failed.words.append(word)
        raise Unavailable("no")

    await enqueue(database, "note", "x")
    await enqueue(database, "fail", "y")
    jobs = [Job("note", done, str), Job("fail", fail, str, Retry(2, 0.01))]
    async with working(database_url, *jobs, schedules=[Schedule("* * * * *", "note")]):
        await until_empty(database)
        scheduled = await database.pool.fetchval("SELECT count(*) FROM pgqueuer_schedules")
    state = await state_of(database)

    assert (done.words, failed.words, state.failed, scheduled) == (["x"], ["y", "y"], 1, 1)


@pytest.mark.slow
async def test_a_job_that_ends_while_the_server_is_away_is_not_done_twice(home: Path) -> None:
    may_finish = asyncio.Event()
    started, done = Done(), Done()

    async def take_a_while(word: str) -> None:
        await started(word)
        await may_finish.wait()
        await done(word)

    url = dsn.own(home, dsn.OWNER, dsn.DATABASE, PASSWORD)
    async with AsyncExitStack() as stack:
        async with served(home) as database:
            await migrate.up(database)
            job = Job("slow", take_a_while, str)
            await stack.enter_async_context(working(url, job, pace=SLOW_TO_TAKE_OVER))
            await enqueue(database, "slow", "before")
            await until(lambda: started.words)
            lines = stack.enter_context(capture_logs())
        may_finish.set()
        await until(lambda: done.words)
        await until(lambda: [line for line in lines if line["log_level"] == "warning"])
        async with served(home) as database:
            await enqueue(database, "slow", "after")
            await until_empty(database)
            # Before this server ends too.
            warnings = [line["event"] for line in lines if line["log_level"] == "warning"]

    assert started.words == done.words == ["before", "after"]
    assert warnings == ["jobs wait for the database"], "told once, not at every try"
