"""Jobs are done, and what becomes of those that fail."""

import asyncio

from structlog.testing import capture_logs

from jan import clock
from jan.db.engine import Database
from jan.errors import Unavailable
from jan.jobs.queue import Hopeless, Job, Retry, Schedule
from tests.jobs.workers import EAGER, Done, enqueue, state_of, until, until_empty, working


async def test_a_job_that_fails_is_done_again(database: Database, database_url: str) -> None:
    tries: list[float] = []

    async def fail_twice(_: None) -> None:
        tries.append(clock.monotonic_s())
        if len(tries) < 3:
            raise Unavailable("The other side is away.")

    retry = Retry(attempts=3, first_delay_s=0.2, max_delay_s=9)
    await enqueue(database, "flaky", None)
    with capture_logs() as lines:
        async with working(database_url, Job("flaky", fail_twice, retry=retry)):
            await until(lambda: len(tries) == 3)
            await until_empty(database)

    first, second = tries[1] - tries[0], tries[2] - tries[1]
    assert (first >= 0.2, second >= 0.4) == (True, True)
    assert [line["attempt"] for line in lines if line["event"] == "job failed"] == [1, 2]
    assert "The other side is away." in [line.get("reason") for line in lines]
    assert (await state_of(database)).failed == 0


async def test_a_job_that_always_fails_is_given_up_and_kept(
    database: Database, database_url: str
) -> None:
    tries: list[str] = []

    async def fail(word: str) -> None:
        tries.append(word)
        raise ValueError(word)

    await enqueue(database, "bad", "my-private-payload")
    with capture_logs() as lines:
        async with working(database_url, Job("bad", fail, str, EAGER)):
            await until_empty(database)

    assert len(tries) == 3
    assert (await state_of(database)).failed == 1
    (line,) = [line for line in lines if line["event"] == "job given up"]
    assert (line["job"], line["reason"], line["log_level"]) == ("bad", "ValueError", "error")
    kept = await database.pool.fetch("SELECT traceback::text FROM pgqueuer_log")
    assert "my-private-payload" not in str(kept)
    assert "my-private-payload" not in str(lines)
    assert "in fail" in line["where"]


async def test_a_hopeless_job_is_not_tried_again(database: Database, database_url: str) -> None:
    tries: list[None] = []

    async def refuse(_: None) -> None:
        tries.append(None)
        raise Hopeless("nobody lives there")

    await enqueue(database, "hopeless", None)
    with capture_logs() as lines:
        async with working(database_url, Job("hopeless", refuse)):
            await until_empty(database)

    assert len(tries) == 1
    assert (await state_of(database)).failed == 1
    assert "nobody lives there" in [line.get("reason") for line in lines]


async def test_a_payload_of_another_shape_is_kept_for_a_version_that_knows_it(
    database: Database, database_url: str
) -> None:
    done = Done()
    await enqueue(database, "note", {"not": "a string"}, "a string")

    async with working(database_url, Job("note", done, str)):
        await until_empty(database)

    assert done.words == ["a string"]
    assert (await state_of(database)).failed == 1


async def test_jobs_of_unknown_names_are_left_alone(database: Database, database_url: str) -> None:
    done = Done()
    await enqueue(database, "of a later version", "x")
    await enqueue(database, "note", "y")

    async with working(database_url, Job("note", done, str)):
        await until(lambda: done.words)

    state = await state_of(database)
    assert (state.waiting, state.running, state.failed) == (1, 0, 0)


async def test_an_attempt_that_takes_too_long_has_failed(
    database: Database, database_url: str
) -> None:
    async def think(_: None) -> None:
        await asyncio.sleep(600)

    await enqueue(database, "long", None)
    with capture_logs() as lines:
        async with working(
            database_url, Job("long", think, retry=Retry(attempts=1), timeout_s=0.05)
        ):
            await until_empty(database)

    assert (await state_of(database)).failed == 1
    assert "timed out" in [line.get("reason") for line in lines]


async def test_a_job_whose_own_task_was_cancelled_has_failed_and_is_not_forgotten(
    database: Database, database_url: str
) -> None:
    async def wait_for_a_cancelled_task(_: None) -> None:
        task = asyncio.create_task(asyncio.sleep(600))
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    await enqueue(database, "odd", None)
    job = Job("odd", wait_for_a_cancelled_task, retry=Retry(attempts=1))
    async with working(database_url, job):
        await until_empty(database)

    assert (await state_of(database)).failed == 1


async def test_two_workers_do_each_job_once(database: Database, database_url: str) -> None:
    done = Done()
    words = [str(number) for number in range(60)]
    job = Job("note", done, str)

    async with working(database_url, job), working(database_url, job):
        await enqueue(database, "note", *words)
        await until_empty(database)

    assert sorted(done.words) == sorted(words)


async def test_what_is_due_is_enqueued_by_one_worker(database: Database, database_url: str) -> None:
    done: list[None] = []

    async def clean(_: None) -> None:
        done.append(None)

    await database.pool.execute(
        "INSERT INTO pgqueuer_schedules (expression, entrypoint, next_run)"
        " VALUES ('17 3 * * *', 'clean', now() - interval '1 day')"
    )
    job, schedules = Job("clean", clean), [Schedule("17 3 * * *", "clean")]
    async with (
        working(database_url, job, schedules=schedules),
        working(database_url, job, schedules=schedules),
    ):
        await until(lambda: done)
        await until_empty(database)

    assert len(done) == 1
    due_in = await database.pool.fetchval("SELECT next_run > now() FROM pgqueuer_schedules")
    assert due_in
