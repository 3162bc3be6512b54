"""The queue does not grow for ever."""

from jan.db.engine import Database
from jan.jobs import housekeeping, queue

ROWS = """
INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, created)
VALUES (1, 'queued', 0, 'x', now() - interval '8 days'), (1, 'queued', 0, 'x', now());

INSERT INTO pgqueuer (status, priority, entrypoint, updated)
VALUES ('failed', 0, 'old', now() - interval '31 days'), ('failed', 0, 'x', now()),
       ('queued', 0, 'waits', now() - interval '31 days');

INSERT INTO pgqueuer_schedules (expression, entrypoint, next_run)
VALUES ('* * * * *', 'gone', now() - interval '61 days'), ('* * * * *', 'x', now());
"""


async def test_what_is_old_is_removed_and_nothing_else(database: Database) -> None:
    await database.pool.execute(ROWS)

    await housekeeping.job(database).handler(None)

    async with database.connection() as connection:
        state = await queue.state(connection)
        logged = await connection.fetchval("SELECT count(*) FROM pgqueuer_log")
        due = await connection.fetch("SELECT entrypoint FROM pgqueuer_schedules")
    assert (state.waiting, state.failed, logged) == (1, 1, 1)
    assert [row["entrypoint"] for row in due] == ["x"]
