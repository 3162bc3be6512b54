"""Invites that nobody has accepted in time are marked as expired, and kept."""

from jan import clock
from jan.db import scope
from jan.jobs.queue import Job, Schedule

NAME = "invites.expire"
SCHEDULE = Schedule("23 * * * *", NAME)

EXPIRE = "UPDATE invite SET status = 'expired' WHERE status = 'pending' AND expires_at <= $1"


def job() -> Job:
    """Make the job that marks them."""

    async def expire(_: None) -> None:
        async with scope.system() as connection:
            await connection.execute(EXPIRE, clock.now())

    return Job(NAME, expire)
