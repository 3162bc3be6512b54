"""What is promised in a transaction is done after it, once; and otherwise never."""

from datetime import timedelta

import msgspec
import pytest

from jan import clock
from jan.db.engine import Database
from jan.jobs import queue
from jan.jobs.queue import Job, Retry
from tests.jobs.workers import until, working


class Greeting(msgspec.Struct):
    """A payload."""

    name: str
    times: int = 1


async def test_a_job_gets_the_payload_that_was_promised(
    database: Database, database_url: str
) -> None:
    done: list[Greeting] = []

    async def greet(greeting: Greeting) -> None:
        done.append(greeting)

    async with working(database_url, Job("greet", greet, Greeting)):
        async with database.transaction() as connection:
            job_id = await queue.enqueue(connection, "greet", Greeting("Ada", 2))
        await until(lambda: done)

    assert job_id is not None
    assert done == [Greeting("Ada", 2)]


async def test_a_job_of_a_transaction_that_failed_never_was(
    database: Database, database_url: str
) -> None:
    done: list[str] = []

    async def note(word: str) -> None:
        done.append(word)

    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as connection:
            await queue.enqueue(connection, "note", "rolled back")
            raise ZeroDivisionError
    async with database.transaction() as connection:
        await queue.enqueue(connection, "note", "committed")
    async with working(database_url, Job("note", note, str)):
        await until(lambda: done)

    assert done == ["committed"]


async def test_one_of_a_kind_waits_at_most_once(database: Database) -> None:
    async with database.transaction() as connection:
        first = await queue.enqueue(connection, "clean", dedupe_key="clean")
        second = await queue.enqueue(connection, "clean", dedupe_key="clean")
        state = await queue.state(connection)

    assert first is not None
    assert second is None
    assert state.waiting == 1


async def test_a_job_for_later_is_done_then(database: Database, database_url: str) -> None:
    done: list[str] = []

    async def note(word: str) -> None:
        done.append(word)

    now = clock.now()
    async with database.connection() as connection:
        await queue.enqueue(connection, "note", "later", run_at=now + timedelta(seconds=0.5))
        await queue.enqueue(connection, "note", "now", run_at=now - timedelta(days=1))
        await queue.enqueue(connection, "note", "tomorrow", run_at=now + timedelta(days=1))
    async with working(database_url, Job("note", note, str)):
        await until(lambda: len(done) == 2)

    assert done == ["now", "later"]
    assert clock.now() - now >= timedelta(seconds=0.5)


async def test_the_state_tells_what_nobody_has_taken(database: Database) -> None:
    async with database.connection() as connection:
        await queue.enqueue(connection, "unknown")
        await connection.execute("UPDATE pgqueuer SET execute_after = now() - interval '1 hour'")
        state = await queue.state(connection)

    assert (state.waiting, state.running, state.failed) == (1, 0, 0)
    assert 3600 <= state.overdue_s < 3700


def test_the_pauses_double_up_to_a_bound() -> None:
    retry = Retry(attempts=9, first_delay_s=1, max_delay_s=5)

    assert [retry.delay_s(attempt) for attempt in (1, 2, 3, 4, 400)] == [1, 2, 4, 5, 5]
