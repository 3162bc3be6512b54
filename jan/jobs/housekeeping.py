"""What the queue leaves behind, removed by a job of its own: nothing in Jan grows for ever."""

from jan.db.engine import Database
from jan.jobs.queue import Job, Schedule

NAME = "jobs.clean"
SCHEDULE = Schedule("17 3 * * *", NAME)

STATEMENTS = (
    # Each step of each job has a row there. Nothing asks for those of jobs that are long done.
    "DELETE FROM pgqueuer_log WHERE created < now() - interval '7 days'",
    "DELETE FROM pgqueuer WHERE status = 'failed' AND updated < now() - interval '30 days'",
    # Of a version that ran something at other times.
    "DELETE FROM pgqueuer_schedules WHERE next_run < now() - interval '60 days'",
)


def job(database: Database) -> Job:
    """Make the job that removes what is old."""

    async def clean(_: None) -> None:
        for statement in STATEMENTS:
            async with database.connection() as connection:
                await connection.execute(statement)

    return Job(NAME, clean)
