"""Jobs: work that is promised within a transaction and done after it, by whatever process is free.

A job is done at least once: a worker may die between doing it and saying so. Handlers bear that.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver

from jan import clock
from jan.jobs import schema

DEPTHS = """
SELECT entrypoint AS kind,
       count(*) FILTER (WHERE status = 'queued') AS waiting,
       count(*) FILTER (WHERE status = 'picked') AS running,
       count(*) FILTER (WHERE status = 'failed') AS failed,
       coalesce(extract(epoch FROM now() - min(execute_after)
                FILTER (WHERE status = 'queued' AND execute_after < now())), 0)::float8 AS overdue_s
FROM pgqueuer GROUP BY entrypoint
"""


class Hopeless(Exception):
    """A handler's word that trying again will not help. Its sentence goes to the log."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a job that fails is tried, and how long it rests in between."""

    attempts: int = 5
    """All in all. Being cut off by the end of a process is one too."""
    first_delay_s: float = 5.0
    """After the first failure. Doubled after each further one."""
    max_delay_s: float = 3600.0

    def delay_s(self, attempt: int) -> float:
        """How long to rest after this attempt, of which the first is 1."""
        return min(self.first_delay_s * 2 ** (attempt - 1), self.max_delay_s)


@dataclass(frozen=True, slots=True)
class Job:
    """A kind of job: its name in the database, and what does it."""

    name: str
    """Never changes meaning: jobs of an older version are done by a newer one."""
    handler: Callable[[Any], Awaitable[None]]
    payload: Any = None
    """The type that the handler takes; None: the handler is called with None."""
    retry: Retry = field(default_factory=Retry)
    timeout_s: float = 300.0
    """For one attempt. A longer one has failed."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a job is due by itself. It is enqueued then, unless the last one still waits or runs."""

    cron: str
    """`minute hour day month weekday`, in UTC."""
    job: str
    """Its name. It has no payload."""


@dataclass(frozen=True, slots=True)
class State:
    """What is in the queue."""

    waiting: int
    running: int
    failed: int
    """Given up, and kept to be looked at."""
    overdue_s: float
    """How long the oldest one has been due that nobody has taken."""


async def enqueue(
    connection: Any,
    name: str,
    payload: Any = None,
    *,
    run_at: datetime | None = None,
    dedupe_key: str | None = None,
) -> int | None:
    """Promise a job, as part of the connection's transaction: rolled back, it never was.

    `payload` is anything that msgspec writes as JSON. Not before `run_at` is it done. Returns its
    number, or None where one of this `dedupe_key` waits or runs already.
    """
    delay = None if run_at is None else max(run_at - clock.now(), timedelta())
    (job_id,) = await schema.queries(AsyncpgDriver(connection)).enqueue(
        name,
        msgspec.json.encode(payload),
        execute_after=delay,
        dedupe_key=dedupe_key,
        on_conflict="skip",
    )
    return job_id


async def state(connection: Any) -> State:
    """Count the jobs."""
    every = (await depths(connection)).values()
    return State(
        waiting=sum(each.waiting for each in every),
        running=sum(each.running for each in every),
        failed=sum(each.failed for each in every),
        overdue_s=max((each.overdue_s for each in every), default=0.0),
    )


async def depths(connection: Any) -> dict[str, State]:
    """Count the jobs of each kind of which there are any."""
    rows = map(dict, await connection.fetch(DEPTHS))
    return {row.pop("kind"): State(**row) for row in rows}
