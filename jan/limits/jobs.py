"""Buckets that are full again, removed by a job: a bucket without a row is a full one."""

from jan.db import scope
from jan.jobs.queue import Job, Schedule

NAME = "limits.clean"
SCHEDULE = Schedule("23 * * * *", NAME)

CLEAN = "DELETE FROM bucket WHERE full_at < now()"


def job() -> Job:
    """Make the job that removes them."""

    async def clean(_: None) -> None:
        async with scope.system() as connection:
            await connection.execute(CLEAN)

    return Job(NAME, clean)
