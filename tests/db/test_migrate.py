"""Migrations: all or nothing, by one process at a time, and never on somebody else's database."""

from importlib.metadata import version
from pathlib import Path

import anyio
import asyncpg
import pytest
from piccolo.apps.migrations.commands.base import BaseMigrationManager

from jan.db import dsn, migrate, oldest
from jan.db.engine import Database, connect
from jan.db.migration import Migration
from jan.doctor.tables import TABLES
from jan.errors import Misconfigured
from tests.conftest import PASSWORD

NOT_OURS = {
    "migration",
    "pgqueuer",
    "pgqueuer_log",
    "pgqueuer_schedules",
    "pgqueuer_statistics",
}
"""Piccolo's own: what has run. pgqueuer's own: the queue, which is no tenant's."""


async def _dump(url: str) -> list[tuple[str, int]]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        "SELECT relname, relnatts FROM pg_class WHERE relnamespace::regnamespace::text !~ '^pg_'"
        " AND relnamespace <> 'information_schema'::regnamespace ORDER BY relname"
    )
    await connection.close()
    return [(row["relname"], row["relnatts"]) for row in rows]


async def test_every_step_runs_once(empty_database_url: str) -> None:
    async with connect(empty_database_url, pool_size=2, application_name="t") as database:
        before = await migrate.status(database)
        first = await migrate.up(database)
        second = await migrate.up(database)
        after = await migrate.status(database)

    assert first == migrate.known()
    assert second == []
    assert [has_run for _, has_run in before] == [False] * len(first)
    assert [has_run for _, has_run in after] == [True] * len(first)


async def test_replicas_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    done: list[list[str]] = []
    async with connect(empty_database_url, pool_size=4, application_name="t") as database:

        async def start() -> None:
            done.append(await migrate.up(database))

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(start)

    assert sorted(map(len, done)) == [0, 0, 0, len(migrate.known())]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        ("CREATE TABLE customers (id int)", "table public.customers"),
        ("CREATE TABLE migration (version int)", "table public.migration"),
        ("CREATE TABLE m (id int) PARTITION BY RANGE (id)", "table public.m"),
        ("CREATE VIEW report AS SELECT 1 AS one", "view public.report"),
        ("CREATE MATERIALIZED VIEW report AS SELECT 1 AS one", "view public.report"),
        ("CREATE SEQUENCE numbers", "sequence public.numbers"),
        ("CREATE TYPE mood AS ENUM ('good')", "type public.mood"),
        ("CREATE TYPE pair AS (a int, b int)", "type public.pair"),
        ("CREATE DOMAIN tags AS text[]", "type public.tags"),
        ("CREATE TYPE span AS RANGE (subtype = int)", "type public.span"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function public.f"),
        ("CREATE SCHEMA app; CREATE TABLE app.customers (id int)", "table app.customers"),
        ('CREATE SCHEMA "My App"; CREATE SEQUENCE "My App".s', 'sequence "My App".s'),
    ],
)
async def test_a_database_of_another_program_is_refused_and_left_alone(
    empty_database_url: str, make: str, named: str
) -> None:
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(make)
    await connection.close()
    before = await _dump(empty_database_url)

    async with connect(empty_database_url, pool_size=2, application_name="t") as database:
        with pytest.raises(Misconfigured, match="not Jan's") as refusal:
            await migrate.up(database)

    assert named in refusal.value.message
    assert await _dump(empty_database_url) == before


async def _make_newer(owner_url: str, release: str | None) -> None:
    """Do what a later version did, which lets `release` and later ones run on it."""
    connection = await asyncpg.connect(owner_url)
    await connection.execute(
        "INSERT INTO migration (name, app_name, ran_on)"
        " VALUES ('2999-01-01T00:00:00:000000', 'jan', now());"
        "CREATE TABLE of_a_later_version (id int);"
        "GRANT SELECT ON of_a_later_version TO jan_app"
    )
    if release is not None:
        await connection.execute(oldest.note(release))
    await connection.close()


@pytest.mark.parametrize("release", [None, "0.0.9", version("jan")])
async def test_a_database_that_only_got_more_is_gone_on_with_and_left_alone(
    owner_url: str, release: str | None
) -> None:
    await _make_newer(owner_url, release)
    before = await _dump(owner_url)

    async with connect(owner_url, pool_size=2, application_name="t") as database:
        assert await migrate.up(database, role=dsn.ROLE) == []
        assert all(has_run for _, has_run in await migrate.status(database))
        may_write = "SELECT has_table_privilege('jan_app', 'of_a_later_version', 'INSERT')"
        assert not await database.pool.fetchval(may_write)

    assert await _dump(owner_url) == before


async def test_a_step_notes_which_release_is_the_oldest_that_bears_it(database: Database) -> None:
    manager = await Migration("x", ("SELECT 1",), "", unused_since="0.3.0")()
    async with database.transaction() as connection:
        assert await oldest.read(connection) is None
        for run in manager.raw:
            await run()  # pyright: ignore[reportGeneralTypeIssues] - it is ours
        assert await oldest.read(connection) == "0.3.0"

    assert [oldest.is_ours_older(release) for release in ("0.0.1", "0.1.0", "0.10.0")] == [
        False,
        False,
        True,
    ]


async def test_a_database_that_is_too_new_is_refused_and_left_alone(owner_url: str) -> None:
    await _make_newer(owner_url, "99.0.0")
    before = await _dump(owner_url)

    async with connect(owner_url, pool_size=2, application_name="t") as database:
        with pytest.raises(Misconfigured, match="newer than this Jan"):
            await migrate.up(database)
        with pytest.raises(Misconfigured, match="newer than this Jan"):
            await migrate.status(database)

    assert await _dump(owner_url) == before


async def test_a_step_that_fails_leaves_nothing_behind(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = max(migrate.MIGRATIONS.glob("m*.py"))
    for path in migrate.MIGRATIONS.glob("m*.py"):
        (tmp_path / f"failing_{path.name}").write_text(path.read_text(encoding="utf-8"))
    broken = last.read_text(encoding="utf-8").replace(
        "forwards =", 'UP = ("SELECT 1/0", *UP)\nforwards ='
    )
    (tmp_path / f"failing_{last.name}").write_text(broken, encoding="utf-8")
    monkeypatch.setattr("jan.db.piccolo_app.APP_CONFIG.migrations_folder_path", str(tmp_path))
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path)

    async with connect(empty_database_url, pool_size=2, application_name="t") as database:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate.up(database)

    assert await _dump(empty_database_url) == []


def test_the_steps_are_those_that_piccolo_would_run() -> None:
    steps = BaseMigrationManager().get_migration_modules(str(migrate.MIGRATIONS))

    assert migrate.known() == sorted(steps)


def test_a_new_migration_is_next_in_order_and_runs(tmp_path: Path) -> None:
    (tmp_path / "m0007_before.py").touch()

    path = migrate.new("Add budgets!", folder=tmp_path)

    assert path.name == "m0008_add_budgets.py"
    compile(path.read_text(encoding="utf-8"), path, "exec")
    with pytest.raises(Misconfigured):
        migrate.new("!!!", folder=tmp_path)


@pytest.mark.parametrize("extension", ["pg_stat_statements", "hstore", "citext"])
async def test_what_an_extension_brought_is_nobodys_table(
    empty_database_url: str, postgres: Path, extension: str
) -> None:
    name = empty_database_url.partition("?")[0].rpartition("/")[2]
    admin = await asyncpg.connect(dsn.own(postgres, dsn.SUPERUSER, name, PASSWORD))
    await admin.execute(f"CREATE SCHEMA extensions; CREATE EXTENSION {extension}")
    await admin.execute("CREATE EXTENSION ltree SCHEMA extensions")
    await admin.close()

    async with connect(empty_database_url, pool_size=1, application_name="t") as database:
        assert await migrate.up(database) == migrate.known()


@pytest.mark.parametrize("schema", ["jan", "Jan"])
async def test_a_schema_of_its_own_is_looked_at(empty_database_url: str, schema: str) -> None:
    """It is enough that this one is empty: whoever named it has thought of it."""
    url = f"{empty_database_url}&search_path=%22{schema}%22"
    connection = await asyncpg.connect(url)
    await connection.execute(f'CREATE SCHEMA "{schema}"; CREATE TABLE public.customers (id int)')
    await connection.close()

    async with connect(url, pool_size=1, application_name="t") as database:
        assert await migrate.up(database) == migrate.known()
        assert await migrate.up(database) == []


async def test_every_table_is_declared_and_has_row_security(database: Database) -> None:
    rows = await database.pool.fetch(
        "SELECT relname, relrowsecurity AND relforcerowsecurity AS is_secure FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )

    found = {row["relname"]: row["is_secure"] for row in rows if row["relname"] not in NOT_OURS}

    assert found == dict.fromkeys((table._meta.tablename for table in TABLES), True)


async def test_a_schema_of_its_own_that_holds_something_else_is_refused(
    empty_database_url: str,
) -> None:
    url = f"{empty_database_url}&search_path=jan"
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE SCHEMA jan; CREATE TABLE jan.customers (id int)")
    await connection.close()

    async with connect(url, pool_size=1, application_name="t") as database:
        with pytest.raises(Misconfigured, match=r"table jan\.customers"):
            await migrate.up(database)


async def test_a_schema_that_is_not_there_is_named_as_the_trouble(empty_database_url: str) -> None:
    url = f"{empty_database_url}&search_path=jna"

    async with connect(url, pool_size=1, application_name="t") as database:
        with pytest.raises(Misconfigured, match="names no schema"):
            await migrate.up(database)


async def test_a_server_that_is_too_old_is_refused_and_left_alone(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "MIN_MAJOR", 99)

    async with connect(empty_database_url, pool_size=2, application_name="t") as database:
        with pytest.raises(Misconfigured, match="99 or later"):
            await migrate.up(database)

    assert await _dump(empty_database_url) == []


async def test_tables_are_as_declared_and_a_difference_is_named(database: Database) -> None:
    assert await migrate.drift(database, TABLES) == []

    await database.pool.execute("ALTER TABLE usage DROP COLUMN cached_tokens")
    await database.pool.execute("ALTER TABLE api_key ALTER COLUMN name DROP NOT NULL")

    assert await migrate.drift(database, TABLES) == [
        "api_key.name is VARCHAR(200), not VARCHAR(200) NOT NULL",
        "usage.cached_tokens is missing, not INTEGER NOT NULL",
    ]
