"""What an organization does not keep any longer, deleted by a job: conversations and responses.

Their age counts from when a conversation was last added to or changed, and from when a response
ended: what is in progress has no age. Neither has what people keep in projects of their own, which
are no organization's. Each transaction deletes a bounded number of rows of one project and waits
for nobody, so that the job may be cut short anywhere, and the next one goes on.
"""

from dataclasses import dataclass
from typing import Any

import structlog

from jan import clock
from jan.db import scope
from jan.jobs.queue import Job, Schedule

NAME = "retention.enforce"
SCHEDULE = Schedule("7 * * * *", NAME)
TIMEOUT_S = 3600.0
"""For the first time in an organization that has kept everything for years."""

BATCH = 100
"""Conversations or responses that are looked at in one transaction."""
ROWS = 2000
"""What is in them that is deleted in one: no more begin beyond it."""
DELETE_TIMEOUT_S = 300.0
"""For a conversation that alone is longer than that by far: it goes as a whole, or not at all."""

# The planner takes row security for something that leaves a handful of rows. It would read and sort
# all that is too old for each transaction, where an index has it in order.
NO_SORT = "SET LOCAL enable_sort = off"
PROJECTS = """
SELECT p.id FROM organization AS o JOIN project AS p ON p.organization_id = o.id
WHERE o.retention_days IS NOT NULL ORDER BY p.id
"""

# Asked each time: an organization that wants to keep everything is heard at once. Days have 24
# hours here, whatever the time zone of the session.
_KEPT_SINCE = """
(SELECT $2::timestamptz - make_interval(hours => 24 * o.retention_days)
FROM project AS p JOIN organization AS o ON o.id = p.organization_id WHERE p.id = $1)
"""
_IS_UNUSED = """
NOT IN (SELECT u.{column} FROM response AS u
WHERE u.project_id = $1 AND u.ended_at IS NULL AND u.{column} IS NOT NULL)
"""
_COUNT = "(SELECT count(*) FROM (SELECT FROM {table} WHERE {column} = old.id LIMIT $4) AS counted)"

log = structlog.get_logger("jan.responses")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of things, and how those are found that are too old."""

    table: str
    since: str
    """The column that its age counts from."""
    used_as: str
    """What a response calls it that needs it."""
    parts: tuple[tuple[str, str], ...]
    """Tables of what is deleted with it, and their column that names it."""

    @property
    def lock(self) -> str:
        """Lock some that are too old, the oldest first, and tell how long they are.

        Skipped is what somebody else has locked: it is being changed, or deleted.
        """
        rows = " + ".join(_COUNT.format(table=table, column=column) for table, column in self.parts)
        return f"""
        SELECT old.id, {rows} AS rows FROM {self.table} AS old
        WHERE old.project_id = $1 AND old.{self.since} <= {_KEPT_SINCE} AND old.id {self._is_unused}
        ORDER BY old.{self.since} LIMIT $3 FOR UPDATE OF old SKIP LOCKED
        """  # noqa: S608 - our own names

    @property
    def delete(self) -> str:
        """Delete what is locked by now, unless a response that needs it came before the lock."""
        return f"DELETE FROM {self.table} WHERE id = ANY($2) AND id {self._is_unused}"  # noqa: S608 - our own names

    @property
    def _is_unused(self) -> str:
        return _IS_UNUSED.format(column=self.used_as)


RESPONSES = Kind(
    "response",
    "ended_at",
    "previous_response_id",
    (("response_item", "response_id"), ("response_event", "response_id")),
)
CONVERSATIONS = Kind(
    "conversation", "updated_at", "conversation_id", (("conversation_item", "conversation_id"),)
)
KINDS = (RESPONSES, CONVERSATIONS)
"""In this order: of a conversation nothing has to be told to responses that are gone."""


def job() -> Job:
    """Make the job that deletes what is too old."""

    async def run(_: None) -> None:
        await enforce()

    return Job(NAME, run, timeout_s=TIMEOUT_S)


async def enforce() -> dict[str, int]:
    """Delete what is too old in all organizations. Returns how many of each table."""
    deleted = {kind.table: 0 for kind in KINDS}
    async with scope.system() as connection:
        projects = [row["id"] for row in await connection.fetch(PROJECTS)]
    for project_id in projects:
        for kind in KINDS:
            while count := await _delete_some(kind, project_id):
                deleted[kind.table] += count
    log.info("deleted what is not kept any longer", **deleted)
    return deleted


async def _delete_some(kind: Kind, project_id: str) -> int:
    """Delete the oldest. Returns how many: none when there are no more."""
    async with scope.system() as connection:
        await connection.execute(NO_SORT)
        rows = await connection.fetch(kind.lock, project_id, clock.now(), BATCH, ROWS)
        if not rows:
            return 0
        # A statement of its own sees what was committed until the locks were there.
        done = await connection.execute(
            kind.delete, project_id, _first(rows), timeout=DELETE_TIMEOUT_S
        )
    return int(done.removeprefix("DELETE "))


def _first(rows: list[Any]) -> list[str]:
    """Name as many as have `ROWS` rows together, and the one that goes beyond."""
    chosen: list[str] = []
    total = 0
    for row in rows:
        chosen.append(row["id"])
        total += row["rows"]
        if total >= ROWS:
            break
    return chosen
