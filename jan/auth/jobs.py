"""What signing in leaves behind, removed by a job: sessions, codes, counters, and lost guests."""

from jan.db import scope
from jan.jobs.queue import Job, Schedule

NAME = "auth.clean"
SCHEDULE = Schedule("41 * * * *", NAME)

STATEMENTS = (
    "DELETE FROM attempt WHERE ends_at < now()",
    "DELETE FROM one_time_code WHERE expires_at < now() - interval '1 day'",
    # A used token that comes later than this is refused all the same, but betrays nobody.
    "DELETE FROM refresh_token WHERE used_at < now() - interval '7 days'",
    "DELETE FROM session WHERE least(ended_at, expires_at) < now() - interval '7 days'",
    # A guest whose last session is gone can never come back, and nobody else sees what they left.
    """
    DELETE FROM users WHERE is_guest AND created_at < now() - interval '7 days'
    AND NOT EXISTS (SELECT FROM session WHERE user_id = users.id)
    AND NOT EXISTS (SELECT FROM api_key WHERE user_id = users.id)
    AND NOT EXISTS (SELECT FROM organization_member WHERE user_id = users.id)
    """,
)


def job() -> Job:
    """Make the job that removes what is old."""

    async def clean(_: None) -> None:
        for statement in STATEMENTS:
            async with scope.system() as connection:
                await connection.execute(statement)

    return Job(NAME, clean)
