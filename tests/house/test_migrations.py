"""Migrations take nothing away from programs that still run: what is refused, and what is not."""

import importlib
from importlib.metadata import version

import pytest

from jan.db import migrate, oldest
from jan.db.migration import Migration
from tests.house.contraction import taken_away

BEFORE_THE_FIRST_RELEASE = {"m0003_tenancy", "m0007_row_security"}
"""They change tables that no released program has ever used. Never add to this."""

MIGRATIONS = {
    path.stem: importlib.import_module(f"jan.db.migrations.{path.stem}")
    for path in sorted(migrate.MIGRATIONS.glob("m[0-9]*.py"))
}


@pytest.mark.parametrize("name", MIGRATIONS)
def test_a_step_that_takes_something_away_says_since_when_it_is_unused(name: str) -> None:
    step: Migration = MIGRATIONS[name].forwards
    taken = taken_away(step.statements)

    if name not in BEFORE_THE_FIRST_RELEASE:
        assert bool(taken) == (step.unused_since is not None), taken


@pytest.mark.parametrize("name", MIGRATIONS)
def test_what_is_taken_away_was_unused_in_a_release_before(name: str) -> None:
    """Or else the release before this one would stop when this one is started."""
    since = MIGRATIONS[name].forwards.unused_since

    assert since is None or oldest.parts(since) < oldest.parts(version("jan"))


def test_what_is_noted_in_the_database_never_goes_back() -> None:
    said = [each.forwards.unused_since for each in MIGRATIONS.values()]
    releases = [oldest.parts(since) for since in said if since is not None]

    assert releases == sorted(releases)


@pytest.mark.parametrize("name", MIGRATIONS)
def test_a_step_says_why_it_is_safe(name: str) -> None:
    if name not in BEFORE_THE_FIRST_RELEASE:
        assert "Safe while the previous version serves" in (MIGRATIONS[name].__doc__ or "")


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE users",
        "ALTER TABLE users DROP COLUMN email",
        "ALTER TABLE users DROP email",
        "alter table users\n    alter column name drop default",
        "DROP INDEX users_email",
        "DROP TRIGGER users_access ON users",
        "DROP FUNCTION notify_access",
        "ALTER TABLE users RENAME COLUMN email TO address",
        "ALTER TABLE users RENAME TO people",
        "ALTER TABLE users SET SCHEMA other",
        "ALTER TABLE users ALTER COLUMN name TYPE text",
        "ALTER TABLE users ALTER name SET DATA TYPE text",
        "ALTER TABLE users ALTER COLUMN name SET NOT NULL",
        "ALTER TABLE users ADD COLUMN nick varchar(10) NOT NULL",
        "ALTER TABLE users ADD a int, ADD nick numeric(3, 1) CHECK (nick > 0) NOT NULL, ADD b int",
        "ALTER TABLE users ADD CONSTRAINT named CHECK (name <> '')",
        "ALTER TABLE users ADD UNIQUE (name)",
        "CREATE UNIQUE INDEX users_name ON users (name)",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        "TRUNCATE usage",
        "DELETE FROM usage",
        "REVOKE SELECT ON users FROM jan_app",
    ],
)
def test_what_an_older_program_may_not_bear_is_found(statement: str) -> None:
    assert taken_away([statement])


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE pets (id int PRIMARY KEY, name text NOT NULL, UNIQUE (name))"],
        ["CREATE TABLE pets (id int)", "ALTER TABLE pets ADD CONSTRAINT one CHECK (id = 1)"],
        ["CREATE TABLE pets (id int)", "CREATE UNIQUE INDEX pets_id ON pets (id)"],
        ["CREATE TABLE pets (id int)", "ALTER TABLE pets FORCE ROW LEVEL SECURITY"],
        ["ALTER TABLE users ADD COLUMN nick text"],
        ["ALTER TABLE users ADD nick text NOT NULL DEFAULT '', ADD age int CHECK (age > 0)"],
        ["ALTER TABLE users ADD number bigserial NOT NULL"],
        ["ALTER TABLE users ADD pet int REFERENCES pets (id) ON DELETE CASCADE"],
        ["ALTER TABLE users ALTER COLUMN name DROP NOT NULL"],
        ["ALTER TABLE users ALTER COLUMN name SET DEFAULT 'x'"],
        ["CREATE INDEX users_name ON users (name)"],
        ["UPDATE users SET name = 'DROP TABLE users'"],
        ["CREATE TRIGGER t AFTER DELETE OR TRUNCATE ON users EXECUTE FUNCTION f()"],
        ["CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DELETE FROM users $$"],
        ["SELECT 1 -- DROP TABLE users"],
    ],
)
def test_what_only_adds_is_let_through(statements: list[str]) -> None:
    assert taken_away(statements) == []
