"""Acts are written down with what they are acts of, in one line, and hold nobody up."""

import asyncio
import tracemalloc
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from jan.audit import service as audit
from jan.audit.schemas import OUTSIDE, Filter
from jan.caller import Caller
from jan.db import scope
from jan.db.engine import Database
from jan.errors import Forbidden
from jan.pages import Wanted
from jan.permissions import Scope
from tests.conftest import execute, fetch

COUNT = "SELECT count(*) FROM audit_log"


@pytest.fixture
async def other(operator: Caller) -> Caller:
    """The operator, in another organization."""
    await execute("INSERT INTO organization (id, name) VALUES ('org_b', 'B')")
    return replace(operator, organization_id="org_b")


async def test_an_act_that_fails_is_not_written_down(operator: Caller) -> None:
    with pytest.raises(ZeroDivisionError):
        async with scope.of(operator):
            await audit.record(operator, "project.created", "proj_1")
            raise ZeroDivisionError

    assert (await fetch(COUNT))[0][0] == 0


async def test_an_act_that_can_not_be_written_down_does_not_happen(operator: Caller) -> None:
    stranger = replace(operator, organization_id="org_x")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with scope.of(operator) as connection:
            await connection.execute("UPDATE project SET name = 'changed'")
            await audit.record(stranger, "project.updated", "proj_1")

    assert await fetch("SELECT 1 FROM project WHERE name = 'changed'") == []


async def test_acts_of_one_transaction_are_in_the_order_in_which_they_were_done(
    operator: Caller,
) -> None:
    async with scope.of(operator):
        for number in range(5):
            await audit.record(operator, "project.created", f"proj_{number}")

    details = [link.details for link in await audit.export(operator)]
    assert details == [f'{{"id":"proj_{number}"}}' for number in range(5)]


async def test_what_people_do_outside_of_organizations_is_written_down_too(
    operator: Caller,
) -> None:
    somebody = Caller(kind="user", scopes=frozenset(), user_id="user_1", email="a@example.com")

    await audit.record(somebody, "login.succeeded", "user_1")
    await audit.record(operator, "api_key.created", "key_1", organization_id=OUTSIDE)

    rows = await fetch("SELECT chain, organization_id, sequence FROM audit_log ORDER BY sequence")
    assert [tuple(row) for row in rows] == [(OUTSIDE, None, 1), (OUTSIDE, None, 2)]


async def test_fifty_acts_at_once_make_one_unbroken_chain(operator: Caller) -> None:
    async def act(number: int) -> None:
        async with scope.of(operator) as connection:
            await connection.execute(
                "INSERT INTO project (id, organization_id, name) VALUES ($1, $2, 'x')",
                *(f"proj_{number}", operator.organization_id),
            )
            await audit.record(operator, "project.created", f"proj_{number}")

    await asyncio.gather(*(act(number) for number in range(50)))

    verdict = await audit.verify(operator)
    assert (verdict.broken, verdict.count, verdict.sequence) == (None, 50, 50)


async def test_acts_in_two_organizations_never_wait_for_one_another_in_a_circle(
    operator: Caller, other: Caller
) -> None:
    """Both lock the chains of both: were there no one order for it, PostgreSQL would end some."""

    async def act(first: Caller, second: Caller) -> None:
        async with scope.system() as connection:
            await audit.record(first, "project.created", "proj_1")
            await connection.execute("SELECT pg_sleep(0.01)")
            await audit.record(second, "project.created", "proj_1")

    acts = [act(*pair) for pair in [(operator, other), (other, operator)] * 10]
    async with asyncio.timeout(20):
        await asyncio.gather(*acts)

    for caller in (operator, other):
        verdict = await audit.verify(caller)
        assert (verdict.broken, verdict.count) == (None, len(acts))


async def test_a_row_that_an_act_holds_is_free_for_who_records_first(operator: Caller) -> None:
    """One records and then wants the row; the other has the row and then records."""
    has_recorded, has_row = asyncio.Event(), asyncio.Event()

    async def recording_first() -> None:
        async with scope.of(operator) as connection:
            await audit.record(operator, "project.updated", "proj_1")
            has_recorded.set()
            await has_row.wait()
            await connection.execute("UPDATE project SET name = name")

    async def changing_first() -> None:
        async with scope.of(operator) as connection:
            await has_recorded.wait()
            await connection.execute("UPDATE project SET name = name")
            has_row.set()
            await audit.record(operator, "project.updated", "proj_1")

    async with asyncio.timeout(5):
        await asyncio.gather(recording_first(), changing_first())

    assert (await audit.verify(operator)).count == 2


async def test_a_long_chain_is_verified_in_little_memory(operator: Caller) -> None:
    """Ten times as many rows take no more memory."""

    async def peak_bytes() -> int:
        tracemalloc.start()
        verdict = await audit.verify(operator)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert verdict.broken is None
        return peak

    async def grow(rows: int) -> None:
        async with scope.of(operator) as connection:
            await connection.execute(
                "INSERT INTO audit_log (id, organization_id, type, actor, details)"
                " SELECT gen_random_uuid(), $1, 'project.created', '{}', repeat('x', 500)"
                " FROM generate_series(1, $2::int)",
                *(operator.organization_id, rows),
            )

    await grow(500)
    await audit.verify(operator)
    short = await peak_bytes()
    await grow(4500)
    assert await peak_bytes() < short * 1.5


async def test_an_auditor_reads_their_own_organization_and_no_other(
    operator: Caller, other: Caller
) -> None:
    await audit.record(operator, "project.created", "proj_1")
    await audit.record(other, "project.created", "proj_2")
    auditor = Caller(kind="user", scopes=frozenset({Scope.AUDIT_READ}), organization_id="org_b")

    page = await audit.page(auditor, Wanted())

    assert [act.details.id for act in page.data] == ["proj_2"]
    with pytest.raises(Forbidden):
        await audit.page(replace(auditor, scopes=frozenset()), Wanted())


@pytest.mark.parametrize(
    ("which", "found"),
    [
        (Filter(), [1, 2, 3]),
        (Filter(types=["project.created", "x"]), [1]),
        (Filter(project_ids=["proj_1"]), [1, 2]),
        (Filter(actor_ids=["user_1"]), [1]),
        (Filter(actor_ids=["key_1", "nobody"]), [2]),
        (Filter(actor_ids=["acct_1"]), [3]),
        (Filter(actor_emails=["a@example.com"]), [1, 2]),
        (Filter(subject_ids=["key_9"]), [3]),
        (Filter(subject_ids=["key_9"], types=["project.created"]), []),
    ],
)
async def test_acts_are_found_by_what_they_are(
    operator: Caller, which: Filter, found: list[int]
) -> None:
    person = replace(operator, kind="user", user_id="user_1", email="a@example.com")
    key = replace(operator, kind="key", key_id="key_1", email="a@example.com")
    account = replace(operator, kind="key", service_account_id="acct_1")
    await audit.record(person, "project.created", "proj_1", project_id="proj_1")
    await audit.record(key, "project.archived", "proj_1", project_id="proj_1")
    await audit.record(account, "api_key.created", "key_9")

    page = await audit.page(operator, Wanted(), which)

    assert [act.sequence for act in page.data] == found


async def test_no_text_spoils_the_log_for_those_who_search_it(operator: Caller) -> None:
    for name in ("a\0b", "\\u0000", "two\nlines", "x" * 100_000, "\U0010ffff"):
        await audit.record(operator, "project.created", "proj_1", data={"name": name})

    page = await audit.page(operator, Wanted(), Filter(subject_ids=["proj_1"]))

    assert [act.details.data["name"][:5] for act in page.data] == [
        *("a\ufffdb", "\\ufff", "two\nl", "xxxxx", "\U0010ffff")
    ]
    assert (await audit.verify(operator)).broken is None


async def test_nobody_changes_the_log_but_by_adding_to_it(
    database: Database, operator: Caller, intruder: Any
) -> None:
    await audit.record(operator, "project.created", "proj_1")
    await intruder.execute("SET session_replication_role = origin")

    for statement in ("DELETE FROM audit_log", "UPDATE audit_log SET type = 'x'"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await execute(statement)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await intruder.execute(statement)
    # Numbers, times and hashes are not the writer's to choose.
    await execute(
        "INSERT INTO audit_log VALUES ('audit_x', $1, 'org_b', 99, 'x', '2001-01-01', NULL, '{}',"
        " '{}', repeat('a', 64), repeat('b', 64))",
        operator.organization_id,
    )
    verdict = await audit.verify(operator)
    assert (verdict.broken, verdict.count, verdict.sequence) == (None, 2, 2)
