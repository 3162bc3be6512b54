"""Kept answers that are too old, or too many, removed by a job."""

from jan.db import scope
from jan.jobs.queue import Job, Schedule

NAME = "tools.clean"
SCHEDULE = Schedule("*/5 * * * *", NAME)

OLD = "DELETE FROM tool_answer WHERE expires_at < now()"
TOO_MANY = """
DELETE FROM tool_answer WHERE key IN (
    SELECT key FROM (
        SELECT key, sum(size_bytes) OVER (ORDER BY created_at DESC, key) AS total FROM tool_answer
    ) AS latest
    WHERE total > $1
)
"""
"""Of the latest, those stay that fit."""


def job(max_bytes: int) -> Job:
    """Make the job that removes them."""

    async def clean(_: None) -> None:
        async with scope.system() as connection:
            await connection.execute(OLD)
            await connection.execute(TOO_MANY, max_bytes)

    return Job(NAME, clean)
