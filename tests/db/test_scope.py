"""Row security: a transaction sees its tenant's rows, and a query outside of one sees none."""

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from jan.caller import Caller
from jan.db import scope
from jan.db.dsn import ReadAddress
from jan.db.engine import Database, connect
from jan.errors import InvalidRequest
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from tests.conftest import execute, fetch

COUNT = "SELECT count(*) FROM api_key"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open pool for the role that requests run as."""
    async with connect(database_url, pool_size=4, application_name="test") as opened:
        yield opened


@pytest.fixture
async def stranger(operator: Caller) -> Caller:
    """Somebody in another organization."""
    await execute("INSERT INTO organization (id, name) VALUES ('org_other', 'Other')")
    return replace(operator, organization_id="org_other")


async def test_a_tenant_sees_its_own_rows_and_no_others(operator: Caller, stranger: Caller) -> None:
    await keys.create(operator, KeyCreate(name="ci"), hmac_secret="s" * 32)

    async with scope.of(operator) as connection:
        assert await connection.fetchval(COUNT) == 1
    async with scope.of(stranger) as connection:
        assert await connection.fetchval(COUNT) == 0


async def test_a_query_outside_of_a_scope_sees_nothing(
    database: Database, operator: Caller
) -> None:
    await keys.create(operator, KeyCreate(name="ci"), hmac_secret="s" * 32)

    assert await database.pool.fetchval(COUNT) == 0
    assert [tuple(row) for row in await fetch(COUNT)] == [(1,)]


async def test_people_see_the_organizations_that_they_are_in_and_write_into_one(
    operator: Caller, stranger: Caller
) -> None:
    await execute("INSERT INTO users (id, email) VALUES ('user_1', 'a@example.com')")
    await execute("INSERT INTO organization (id, name) VALUES ('org_third', 'Third')")
    for organization_id in (operator.organization_id, "org_other"):
        await execute(
            "INSERT INTO organization_member (organization_id, user_id, role)"
            " VALUES ($1, 'user_1', 'owner')",
            organization_id,
        )

    async with scope.of(replace(stranger, user_id="user_1")) as connection:
        seen = await connection.fetch("SELECT id FROM organization")
        changed = await connection.fetch("UPDATE organization SET name = 'x' RETURNING id")

    assert {row["id"] for row in seen} == {operator.organization_id, "org_other"}
    assert [row["id"] for row in changed] == ["org_other"]


async def test_what_can_not_be_stored_is_refused_in_words(operator: Caller) -> None:
    for block in (scope.of(operator), scope.of_all()):
        with pytest.raises(InvalidRequest):
            async with block as connection:
                await connection.fetch("SELECT $1::text", "a\0b")


async def test_a_tenant_can_not_write_into_another(operator: Caller, stranger: Caller) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with scope.of(stranger) as connection:
            await connection.execute(
                "INSERT INTO project (id, organization_id, name) VALUES ('proj_x', $1, 'x')",
                operator.organization_id,
            )


async def test_the_scope_ends_with_its_transaction(database: Database, operator: Caller) -> None:
    await keys.create(operator, KeyCreate(name="ci"), hmac_secret="s" * 32)
    for _ in range(database.pool.get_max_size() + 1):
        async with scope.of(operator) as connection:
            assert await connection.fetchval(COUNT) == 1

    assert await database.pool.fetchval(COUNT) == 0


async def test_a_block_within_a_block_takes_part(operator: Caller) -> None:
    with pytest.raises(ZeroDivisionError):
        async with scope.of(operator):
            await keys.create(operator, KeyCreate(name="ci"), hmac_secret="s" * 32)
            raise ZeroDivisionError

    assert [tuple(row) for row in await fetch(COUNT)] == [(0,)]


async def test_two_tenants_never_share_a_transaction(operator: Caller, stranger: Caller) -> None:
    async with scope.of(operator):
        with pytest.raises(AssertionError):
            async with scope.of(stranger):
                pass


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (n int)",
        "ALTER TABLE api_key DISABLE ROW LEVEL SECURITY",
        "DROP POLICY api_key_tenant ON api_key",
        "TRUNCATE usage",
        "DELETE FROM audit_log",
        "UPDATE audit_log SET type = 'x'",
        "DELETE FROM migration",
        "SET ROLE jan",
        "ALTER ROLE jan_app BYPASSRLS",
    ],
)
async def test_requests_can_not_change_the_walls(database: Database, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await execute(statement)


async def test_the_owner_is_held_by_the_walls_too(owner_url: str, operator: Caller) -> None:
    await keys.create(operator, KeyCreate(name="ci"), hmac_secret="s" * 32)

    connection = await asyncpg.connect(owner_url)

    assert await connection.fetchval(COUNT) == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await connection.execute("SET jan.scope = 'system'; DELETE FROM audit_log")
    await connection.close()


async def test_without_a_replica_that_answers_the_primary_is_read(
    database_url: str, operator: Caller
) -> None:
    await keys.create(operator, KeyCreate(name="ci"), hmac_secret="s" * 32)
    async with connect(
        database_url,
        read_from=[ReadAddress("postgresql://jan@127.0.0.1:1/jan")],
        pool_size=1,
        application_name="test",
    ) as database:
        await database.replicas.look()
        async with scope.reading(operator) as connection:
            assert await connection.fetchval(COUNT) == 1
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            async with scope.reading(operator) as connection:
                await connection.fetch("DELETE FROM api_key")
