"""What is too old goes, and nothing else: not what is in use, and not what others keep."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from jan import clock
from jan.db.engine import Database
from jan.errors import DatabaseUnavailable
from jan.responses import retention
from tests.conftest import execute, fetch, locking, until_blocked

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAYS = 30
TOO_OLD = timedelta(days=DAYS)
YOUNGER = TOO_OLD - timedelta(microseconds=1)

CONVERSATION = """
INSERT INTO conversation (id, project_id, owner_id, created_at, updated_at)
VALUES ($1, $2, 'user_1', $3, $4)
"""
ITEM = """
INSERT INTO conversation_item (conversation_id, id, project_id, owner_id, type, item)
SELECT $1, 'msg_' || n, $2, 'user_1', 'message', '{}' FROM generate_series(1, $3::int) AS n
"""
RESPONSE = """
INSERT INTO response (id, project_id, owner_id, conversation_id, previous_response_id, status,
    is_background, is_stream, parameters, object, caller, created_at, ended_at, lease_expires_at)
VALUES ($1, $2, 'user_1', $3, $4, $5, true, true, '{}', '{}', '{}', $6, $7,
    CASE WHEN $5 = 'in_progress' THEN $6::timestamptz END)
"""
RESPONSE_PARTS = """
WITH item AS (
    INSERT INTO response_item (response_id, position, is_output, id, project_id, owner_id, item)
    VALUES ($1, 1, false, 'msg_1', $2, 'user_1', '{}')
)
INSERT INTO response_event (response_id, first_number, last_number, events)
VALUES ($1, 0, 5, 'events')
"""
LONG_AGO = NOW - timedelta(days=4000)


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is always the same moment."""
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture(autouse=True)
async def _places(database: Database) -> None:
    """Two organizations with a project each, of which one keeps things for 30 days; a person's."""
    await execute("INSERT INTO users (id, email) VALUES ('user_1', 'a@example.com')")
    await execute(
        "INSERT INTO organization (id, name, retention_days)"
        " VALUES ('org_a', 'A', $1), ('org_b', 'B', NULL)",
        DAYS,
    )
    await execute(
        "INSERT INTO project (id, organization_id, owner_user_id, name) VALUES"
        " ('proj_a', 'org_a', NULL, 'x'), ('proj_b', 'org_b', NULL, 'x'),"
        " ('proj_own', NULL, 'user_1', 'Personal')"
    )


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction for each thing that is deleted."""
    monkeypatch.setattr(retention, "BATCH", 1)


async def converse(
    conversation_id: str, age: timedelta, *, project_id: str = "proj_a", items: int = 2
) -> None:
    """Have a conversation that was last changed then."""
    await execute(CONVERSATION, conversation_id, project_id, LONG_AGO, NOW - age)
    await execute(ITEM, conversation_id, project_id, items)


async def respond(  # noqa: PLR0913 - as many as a response has sides
    response_id: str,
    age: timedelta | None,
    *,
    project_id: str = "proj_a",
    conversation_id: str | None = None,
    previous_id: str | None = None,
    status: str = "completed",
) -> None:
    """Have a response that ended then, with an item and events."""
    await execute(
        RESPONSE,
        *(response_id, project_id, conversation_id, previous_id, status, LONG_AGO),
        None if age is None else NOW - age,
    )
    await execute(RESPONSE_PARTS, response_id, project_id)


async def kept(table: str = "conversation", column: str = "id") -> list[str]:
    """What there is."""
    return [
        row["id"] for row in await fetch(f"SELECT DISTINCT {column} AS id FROM {table} ORDER BY 1")
    ]


async def test_what_is_as_old_as_the_organization_says_goes_to_the_microsecond() -> None:
    await converse("conv_old", TOO_OLD)
    await converse("conv_young", YOUNGER)
    await respond("resp_old", TOO_OLD)
    await respond("resp_young", YOUNGER)

    deleted = await retention.enforce()

    assert deleted == {"conversation": 1, "response": 1}
    assert await kept() == ["conv_young"]
    assert await kept("conversation_item", "conversation_id") == ["conv_young"]
    assert await kept("response") == ["resp_young"]
    assert await kept("response_item", "response_id") == ["resp_young"]
    assert await kept("response_event", "response_id") == ["resp_young"]


async def test_what_others_keep_stays_however_old_it_is() -> None:
    for place in ("b", "own"):
        await converse(f"conv_{place}", timedelta(days=4000), project_id=f"proj_{place}")
        await respond(f"resp_{place}", timedelta(days=4000), project_id=f"proj_{place}")
    before = [await fetch(f"SELECT * FROM {t}") for t in ("conversation_item", "response_event")]

    deleted = await retention.enforce()

    assert deleted == {"conversation": 0, "response": 0}
    assert await kept() == ["conv_b", "conv_own"]
    assert await kept("response") == ["resp_b", "resp_own"]
    assert before == [
        await fetch(f"SELECT * FROM {t}") for t in ("conversation_item", "response_event")
    ]


async def test_each_organization_has_its_own_age() -> None:
    await execute("UPDATE organization SET retention_days = 36500 WHERE id = 'org_b'")
    for place in ("a", "b"):
        await converse(f"conv_{place}", TOO_OLD, project_id=f"proj_{place}")
    await converse("conv_century", timedelta(days=36500), project_id="proj_b")

    await retention.enforce()

    assert await kept() == ["conv_b"]


async def test_an_archived_projects_content_ages_as_well() -> None:
    await execute("UPDATE project SET archived_at = $1 WHERE id = 'proj_a'", NOW)
    await converse("conv_old", TOO_OLD)

    await retention.enforce()

    assert await kept() == []


async def test_workspaces_stay_and_so_do_younger_conversations_in_them() -> None:
    await execute(
        "INSERT INTO workspace (id, project_id, owner_id, name, created_at, updated_at)"
        " VALUES ('ws_1', 'proj_a', 'user_1', 'x', $1, $1)",
        LONG_AGO,
    )
    await converse("conv_old", TOO_OLD)
    await converse("conv_young", YOUNGER)
    await execute("UPDATE conversation SET workspace_id = 'ws_1'")

    await retention.enforce()

    assert await kept("workspace") == ["ws_1"]
    assert await kept() == ["conv_young"]


@pytest.mark.parametrize("status", ["queued", "in_progress"])
async def test_what_is_in_progress_stays_with_all_that_it_needs(status: str) -> None:
    await converse("conv_used", TOO_OLD)
    await respond("resp_before", TOO_OLD)
    await respond("resp_long_before", TOO_OLD)
    await execute("UPDATE response SET previous_response_id = 'resp_long_before'")
    await respond("resp_1", None, conversation_id="conv_used", status=status)
    await respond("resp_2", None, previous_id="resp_before", status=status)

    await retention.enforce()

    assert await kept() == ["conv_used"]
    assert await kept("response") == ["resp_1", "resp_2", "resp_before"]


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "cancelled"])
async def test_however_a_response_ended_its_age_counts_from_then(status: str) -> None:
    await respond("resp_old", TOO_OLD, status=status)
    await respond("resp_young", YOUNGER, status=status)

    await retention.enforce()

    assert await kept("response") == ["resp_young"]


async def test_a_response_that_ended_lately_outlives_its_conversation() -> None:
    await converse("conv_old", TOO_OLD)
    await respond("resp_young", YOUNGER, conversation_id="conv_old")

    await retention.enforce()

    assert await kept() == []
    [row] = await fetch("SELECT id, conversation_id FROM response")
    assert tuple(row) == ("resp_young", None)


async def test_a_conversation_that_is_changed_meanwhile_is_kept_whole(database: Database) -> None:
    await converse("conv_changed", TOO_OLD)
    await converse("conv_old", TOO_OLD)

    change = "UPDATE conversation SET updated_at = now() WHERE id = 'conv_changed'"
    async with locking(database, change):
        async with asyncio.timeout(5):  # it waits for nobody
            await retention.enforce()
    await retention.enforce()

    assert await kept() == ["conv_changed"]
    assert len(await fetch("SELECT FROM conversation_item")) == 2


async def test_a_conversation_that_a_response_takes_up_meanwhile_is_kept(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there once the conversation is locked, and was not when that began."""
    await converse("conv_used", TOO_OLD)
    lock = retention.CONVERSATIONS.lock
    monkeypatch.setattr(retention.Kind, "lock", property(lambda kind: _without_looking(kind, lock)))
    await respond("resp_1", None, conversation_id="conv_used", status="queued")

    await retention.enforce()

    assert await kept() == ["conv_used"]


def _without_looking(kind: retention.Kind, lock: str) -> str:
    return lock.replace(kind._is_unused, " <> ''") if kind.table == "conversation" else lock


async def test_two_that_do_it_at_once_delete_each_thing_once(one_by_one: None) -> None:
    for number in range(20):
        await converse(f"conv_{number}", TOO_OLD)
        await respond(f"resp_{number}", TOO_OLD, conversation_id=f"conv_{number}")

    first, second = await asyncio.gather(retention.enforce(), retention.enforce())

    assert await kept() == await kept("response") == []
    assert {table: first[table] + second[table] for table in first} == {
        "conversation": 20,
        "response": 20,
    }


async def test_one_that_is_killed_half_way_has_done_half_and_the_next_does_the_rest(
    database: Database, one_by_one: None
) -> None:
    for number in range(10):
        await converse(f"conv_{number}", TOO_OLD + timedelta(days=10 - number))

    item = "SELECT FROM conversation_item WHERE conversation_id = 'conv_4' FOR UPDATE"
    async with locking(database, item) as connection:
        enforcing = asyncio.create_task(retention.enforce())
        await until_blocked(connection)
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
        with pytest.raises(DatabaseUnavailable):
            async with asyncio.timeout(5):
                await enforcing
    half = [f"conv_{number}" for number in range(4, 10)]
    assert await kept() == half
    assert await kept("conversation_item", "conversation_id") == half
    assert len(await fetch("SELECT FROM conversation_item")) == 12

    await retention.enforce()

    assert await kept() == []


async def test_an_organization_that_wants_to_keep_everything_is_heard_at_once(
    database: Database, one_by_one: None
) -> None:
    for number in range(4):
        await converse(f"conv_{number}", TOO_OLD + timedelta(days=10 - number))

    item = "SELECT FROM conversation_item WHERE conversation_id = 'conv_1' FOR UPDATE"
    async with locking(database, item) as connection:
        enforcing = asyncio.create_task(retention.enforce())
        await until_blocked(connection)
        await connection.execute("UPDATE organization SET retention_days = NULL")
    async with asyncio.timeout(5):
        deleted = await enforcing

    assert deleted == {"conversation": 2, "response": 0}
    assert await kept() == ["conv_2", "conv_3"]


async def test_a_transaction_ends_when_many_rows_went(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number of items, not only of conversations: some have thousands."""
    monkeypatch.setattr(retention, "ROWS", 100)
    for number in range(6):
        await converse(f"conv_{number}", TOO_OLD, items=60)
    counts: list[int] = []
    delete_some = retention._delete_some

    async def counted(kind: retention.Kind, project_id: str) -> int:
        counts.append(await delete_some(kind, project_id))
        return counts[-1]

    monkeypatch.setattr(retention, "_delete_some", counted)

    await retention.enforce()

    assert [count for count in counts if count] == [2, 2, 2]


MANY = 20_000
FILL = f"""
INSERT INTO project (id, organization_id, name)
SELECT 'proj_' || n, 'org_b', 'x' FROM generate_series(1, 9) AS n;

INSERT INTO conversation (id, project_id, owner_id, created_at, updated_at)
SELECT 'conv_' || n, CASE n % 10 WHEN 0 THEN 'proj_a' ELSE 'proj_' || n % 10 END, 'user_1',
       '2026-05-31', timestamptz '2026-05-31' - n * interval '10 minutes'
FROM generate_series(1, {MANY}) AS n;

INSERT INTO conversation_item (conversation_id, id, project_id, owner_id, type, item)
SELECT c.id, 'msg_' || n, c.project_id, c.owner_id, 'message', '{{}}'
FROM conversation AS c, generate_series(1, 2) AS n;

INSERT INTO response (id, project_id, owner_id, conversation_id, status, is_background, is_stream,
    parameters, object, caller, ended_at, lease_expires_at)
SELECT 'resp_' || n, c.project_id, c.owner_id, c.id,
    CASE WHEN n % 1000 = 0 THEN 'in_progress' ELSE 'completed' END, false, false,
    '{{}}', '{{}}', '{{}}', CASE WHEN n % 1000 <> 0 THEN c.updated_at END,
    CASE WHEN n % 1000 = 0 THEN c.updated_at END
FROM generate_series(1, {MANY}) AS n JOIN conversation AS c ON c.id = 'conv_' || n;

INSERT INTO response_item (response_id, position, is_output, id, project_id, owner_id, item)
SELECT id, 1, false, 'msg_1', project_id, owner_id, '{{}}' FROM response;

INSERT INTO response_event (response_id, first_number, last_number, events)
SELECT id, 0, 5, 'events' FROM response;
"""
ROWS_READ = """
SELECT coalesce(sum(seq_tup_read), 0) AS by_scan,
       coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0) AS rows
FROM pg_stat_xact_user_tables
WHERE relname ~ '^(conversation|response)'
"""


@pytest.mark.parametrize("kind", retention.KINDS, ids=lambda kind: kind.table)
async def test_among_many_rows_what_is_too_old_is_found_by_an_index(
    database: Database, owner_url: str, kind: retention.Kind
) -> None:
    await execute(FILL)
    owner = await asyncpg.connect(owner_url)
    await owner.execute("ANALYZE")
    await owner.close()

    async with locking(database, "SELECT") as connection:
        await connection.execute(retention.NO_SORT)
        # Of earlier transactions of this connection, if they have not been told yet.
        before = await connection.fetchrow(ROWS_READ)
        values = ("proj_a", NOW, retention.BATCH, retention.ROWS)
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {kind.lock}", *values))
        rows = await connection.fetch(kind.lock, *values)
        done = await connection.execute(
            kind.delete, "proj_a", [row["id"] for row in rows], timeout=5
        )
        read = await connection.fetchrow(ROWS_READ)

    assert f"Index Scan using {kind.table}_project_id" in plan, plan
    for table in ("conversation", "response"):
        assert f"Seq Scan on {table}" not in plan, plan
    assert done == f"DELETE {retention.BATCH}"
    assert read["by_scan"] == before["by_scan"]
    assert read["rows"] - before["rows"] < 10 * retention.BATCH


async def test_what_gathered_for_years_goes_and_what_is_used_stays() -> None:
    await execute(FILL)
    await execute("UPDATE organization SET retention_days = 1")

    await retention.enforce()

    [row] = await fetch("SELECT count(*) FROM conversation")
    in_progress = await fetch("SELECT FROM response WHERE status = 'in_progress'")
    assert row["count"] == len(in_progress) == MANY // 1000
