"""Workers end, or are ended: their jobs are finished, given back or taken over, and never lost."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE

import anyio

from jan import clock
from jan.db.engine import Database
from jan.jobs.queue import Job
from jan.jobs.worker import Pace
from tests.jobs.workers import (
    DEADLINE_S,
    EAGER,
    SLOW_TO_TAKE_OVER,
    Done,
    enqueue,
    state_of,
    until,
    until_empty,
    working,
)

STUCK = """
import asyncio, sys
from jan.jobs import worker
from jan.jobs.queue import Job
async def stick(_):
    print("started", flush=True)
    await asyncio.sleep(600)
pace = worker.Pace(takeover_s=1.0, poll_s=0.2)
asyncio.run(worker.run(sys.argv[1], [Job("stick", stick)], (), pace))
"""
"""A worker that will be killed in the middle of a job."""


async def test_a_job_that_takes_longer_than_a_takeover_is_not_taken_over(
    database: Database, database_url: str
) -> None:
    starts: list[None] = []

    async def take_long(_: None) -> None:
        starts.append(None)
        await asyncio.sleep(3.0)

    job = Job("long", take_long)
    pace = Pace(takeover_s=2.0, poll_s=0.1, stop_grace_s=3)
    await enqueue(database, "long", None)
    async with working(database_url, job, pace=pace), working(database_url, job, pace=pace):
        await until_empty(database)

    assert len(starts) == 1


async def test_the_job_of_a_killed_worker_is_taken_over(
    database: Database, database_url: str
) -> None:
    done: list[None] = []

    async def finish(_: None) -> None:
        done.append(None)

    await enqueue(database, "stick", None)
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STUCK, database_url, stdout=PIPE
    )
    assert killed.stdout is not None
    with anyio.fail_after(DEADLINE_S):
        assert await killed.stdout.readline() == b"started\n"
    killed.send_signal(signal.SIGKILL)
    await killed.wait()
    assert (await state_of(database)).running == 1

    async with working(database_url, Job("stick", finish)):
        await until(lambda: done)
        await until_empty(database)

    assert len(done) == 1


async def test_a_job_that_kills_its_workers_is_given_up(
    database: Database, database_url: str
) -> None:
    done = Done()
    await enqueue(database, "deadly", "x")
    # Three workers took it, and none of them was heard of again.
    await database.pool.execute(
        "INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint)"
        " SELECT id, 'picked', 0, 'deadly' FROM pgqueuer, generate_series(1, 3)"
    )
    await database.pool.execute(
        "UPDATE pgqueuer SET status = 'picked', heartbeat = now() - interval '1 hour'"
    )

    async with working(database_url, Job("deadly", done, str, EAGER)):
        await until_empty(database)

    assert done.words == []
    assert (await state_of(database)).failed == 1


async def test_a_running_job_may_finish_at_the_end(database: Database, database_url: str) -> None:
    may_finish = asyncio.Event()
    steps: list[str] = []

    async def take_a_while(_: None) -> None:
        steps.append("started")
        await may_finish.wait()
        steps.append("finished")

    await enqueue(database, "slow", None)
    pace = Pace(poll_s=0.2, stop_grace_s=DEADLINE_S)
    async with working(database_url, Job("slow", take_a_while), pace=pace) as worker:
        await until(lambda: steps)
        worker.cancel()
        await asyncio.sleep(0)
        may_finish.set()

    assert steps == ["started", "finished"]
    state = await state_of(database)
    assert (state.waiting, state.running, state.failed) == (0, 0, 0)


async def test_a_job_that_does_not_finish_in_time_is_given_back(
    database: Database, database_url: str
) -> None:
    starts: list[None] = []

    async def take_for_ever(_: None) -> None:
        starts.append(None)
        await asyncio.sleep(600)

    async def finish(_: None) -> None:
        starts.append(None)

    await enqueue(database, "endless", None)
    async with working(
        database_url, Job("endless", take_for_ever), pace=SLOW_TO_TAKE_OVER
    ) as worker:
        await until(lambda: starts)
        stopped_s = clock.monotonic_s()
        worker.cancel()
        await asyncio.wait([worker])
        took_s = clock.monotonic_s() - stopped_s
    between = await state_of(database)
    async with working(database_url, Job("endless", finish), pace=SLOW_TO_TAKE_OVER):
        await until_empty(database)

    assert 0.3 <= took_s < 2
    assert between.waiting == 1
    assert len(starts) == 2


async def test_not_even_a_stubborn_job_holds_up_the_end_or_is_lost(
    database: Database, database_url: str
) -> None:
    release = asyncio.Event()
    starts: list[None] = []

    async def ignore_everything(_: None) -> None:
        starts.append(None)
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    await enqueue(database, "stubborn", None)
    async with working(
        database_url, Job("stubborn", ignore_everything), pace=SLOW_TO_TAKE_OVER
    ) as worker:
        await until(lambda: starts)
        worker.cancel()
        with anyio.fail_after(DEADLINE_S):
            await asyncio.wait([worker])
    release.set()

    assert worker.done()
    assert (await state_of(database)).running == 1
