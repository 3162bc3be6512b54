"""Workers in the test's own loop, and what they did."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio

from jan.db.engine import Database
from jan.jobs import queue, worker
from jan.jobs.queue import Job, Retry, Schedule
from jan.jobs.worker import Pace

DEADLINE_S = 10
QUICK = Pace(takeover_s=1.0, poll_s=0.2, stop_grace_s=0.5)
SLOW_TO_TAKE_OVER = Pace(takeover_s=600, poll_s=0.2, stop_grace_s=0.3)
EAGER = Retry(attempts=3, first_delay_s=0.01, max_delay_s=0.01)


@asynccontextmanager
async def working(
    url: str, *jobs: Job, schedules: Sequence[Schedule] = (), pace: Pace = QUICK
) -> AsyncGenerator[asyncio.Task[Any]]:
    """Run a worker during the block, and end it as a process does."""
    task = asyncio.create_task(worker.run(url, jobs, schedules, pace))
    try:
        yield task
    finally:
        if not task.cancelling():  # twice would be more than a process does
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], Any]) -> None:
    """Wait until it is so."""
    with anyio.fail_after(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


class Done:
    """A handler that keeps what it was given."""

    def __init__(self) -> None:
        self.words: list[str] = []

    async def __call__(self, word: str) -> None:
        """Keep it."""
        self.words.append(word)


async def enqueue(database: Database, name: str, *payloads: object) -> None:
    """Promise jobs of one kind."""
    async with database.transaction() as connection:
        for payload in payloads:
            await queue.enqueue(connection, name, payload)


async def state_of(database: Database) -> queue.State:
    """What is in the queue."""
    async with database.connection() as connection:
        return await queue.state(connection)


async def until_empty(database: Database) -> None:
    """Wait until nothing waits or runs any more."""
    with anyio.fail_after(DEADLINE_S):
        while (state := await state_of(database)).waiting or state.running:
            await asyncio.sleep(0.02)
