"""The schema's history: what has run, what is to run, and refusing databases that are not ours.

All pending steps run in one transaction under an advisory lock, so that replicas may start at once
and a failed step leaves nothing behind. Going back is not offered: older versions run on the new
schema, as far as it says so itself (see `jan.db.migration` and `jan.db.oldest`).
"""

import contextlib
import functools
import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from piccolo.table import Table

from jan.db import grants, oldest
from jan.db.engine import Database, connect
from jan.errors import DatabaseUnavailable, Misconfigured

LOCK_TIMEOUT_S = 600.0
"""Wait for another process that migrates. It may be rewriting a large table."""
LOCK_KEY = int.from_bytes(b"jan-migr")
"""Any number that no other program uses on the same database."""

MIN_MAJOR = 13
"""The oldest PostgreSQL that takes the SQL of Jan: it has `gen_random_uuid()`."""

HAS_HISTORY = """
SELECT count(*) = 2 FROM pg_attribute
JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = $1 AND relname = 'migration' AND relkind = 'r' AND NOT attisdropped
AND attname IN ('name', 'app_name')
"""
"""Whether a schema has Piccolo's table of what has run."""

FOREIGN = """
WITH found AS (
    SELECT 'pg_class'::regclass AS catalog, oid, relnamespace AS schema, relname AS name,
           CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' WHEN 'S' THEN 'sequence'
           WHEN 'c' THEN 'type' ELSE 'table' END AS kind
    FROM pg_class WHERE relkind IN ('r', 'p', 'f', 'v', 'm', 'S', 'c')
    UNION ALL
    SELECT 'pg_proc'::regclass, oid, pronamespace, proname, 'function' FROM pg_proc
    UNION ALL
    SELECT 'pg_type'::regclass, oid, typnamespace, typname, 'type' FROM pg_type
    -- Not those that come with a table, a range or another type.
    WHERE typtype IN ('d', 'e', 'r') OR (typtype = 'b' AND typcategory <> 'A')
)
SELECT found.kind, format('%I.%I', nspname, found.name) AS name
FROM found JOIN pg_namespace ON pg_namespace.oid = found.schema
WHERE (nspname = $1 OR ($1 IS NULL AND nspname !~ '^pg_' AND nspname <> 'information_schema'))
-- Hosted databases come with pg_stat_statements and the like.
AND NOT EXISTS (
    SELECT FROM pg_depend
    WHERE classid = found.catalog AND objid = found.oid AND deptype = 'e'
)
ORDER BY found.kind <> 'table', 2 LIMIT 3
"""
"""What somebody else made in a schema, or, for NULL, in any: the first three, tables first."""

SPELLINGS = {
    "CHARACTER VARYING": "VARCHAR",
    "CHARACTER(": "VARCHAR(",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ",
    "BIGSERIAL": "BIGINT",
}
"""PostgreSQL's names of types, as Piccolo has them."""

APP_NAME = "jan"
"""Of the one app that Piccolo knows: see `jan.db.piccolo_app`."""
MIGRATIONS = Path(__file__).parent / "migrations"

ID = re.compile(r'^ID = "(.+)"$', re.MULTILINE)
"""Where a migration says its id."""

TEMPLATE = '''"""{title}. Safe while the previous version serves: WHY."""

from jan.db.migration import Migration

ID = "{migration_id}"
UP = ("SELECT 1",)

forwards = Migration(ID, UP, __doc__)
'''


async def up(database: Database, *, role: str | None = None) -> list[str]:
    """Run what has not run yet, all of it or nothing. Returns the ids that ran, oldest first.

    `database` is its owner's; `role`, where it is another, is given its rights.

    Raises:
        Misconfigured: the database is too new for this program, or is not Jan's. It was not
            altered.
        DatabaseUnavailable: it does not answer, or another process migrates it for too long.
    """
    # A connection of its own: a step may take longer than any statement of a request.
    patient = connect(
        database.dsn, pool_size=1, application_name="jan migrate", command_timeout_s=None
    )
    async with patient, patient.transaction() as connection:
        try:
            await connection.execute(
                "SELECT pg_advisory_xact_lock($1)", LOCK_KEY, timeout=LOCK_TIMEOUT_S
            )
        except TimeoutError:
            raise DatabaseUnavailable("Another process has been migrating for too long.") from None
        ran = await _checked(connection)
        pending = [step for step in known() if step not in ran]
        if pending:
            # It brings the formatter Black, and gateways only look at what has run.
            from piccolo.apps.migrations.commands import forwards  # noqa: PLC0415 - the above

            # A step that changes rows must see them, whosever they are.
            await connection.execute("SET LOCAL jan.scope = 'system'")
            with contextlib.redirect_stdout(io.StringIO()):  # Piccolo talks to people there
                await forwards.run_forwards(APP_NAME)
        # A newer program has given its own rights, and knows of tables that we don't.
        if role is not None and ran <= set(known()):
            await grants.grant(connection, role)
    return pending


async def status(database: Database) -> list[tuple[str, bool]]:
    """Every step that this program knows, oldest first, and whether it has run.

    Raises:
        Misconfigured: as `up`.
    """
    async with database.connection() as connection:
        ran = await _checked(connection)
    return [(step, step in ran) for step in known()]


async def drift(database: Database, tables: Sequence[type[Table]]) -> list[str]:
    """Where the database's columns are not those that `tables` declare, in words."""
    rows = await database.pool.fetch(
        "SELECT relname, attname, attnotnull, format_type(atttypid, atttypmod) AS kind"
        " FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
        " WHERE relnamespace = current_schema()::regnamespace AND attnum > 0 AND NOT attisdropped"
        " AND relname = ANY($1)",
        [table._meta.tablename for table in tables],
    )
    found = {
        f"{row['relname']}.{row['attname']}": _kind(row["attnotnull"], row["kind"]) for row in rows
    }
    declared = {
        f"{table._meta.tablename}.{column._meta.db_column_name}": _kind(
            not column._meta.null, column.column_type
        )
        for table in tables
        for column in table._meta.columns
    }
    return [
        f"{name} is {found.get(name, 'missing')}, not {declared.get(name, 'missing')}"
        for name in sorted(found.keys() | declared)
        if found.get(name) != declared.get(name)
    ]


def _kind(is_required: bool, name: str) -> str:
    """Write a type as Piccolo does. A serial is a bigint, and char(n) a varchar(n), to a reader."""
    kind = name.upper()
    for theirs, ours in SPELLINGS.items():
        kind = kind.replace(theirs, ours)
    return f"{kind} NOT NULL" if is_required else kind


def known() -> list[str]:
    """The ids of the steps that ship with this program, oldest first."""
    return list(_ids(MIGRATIONS))


@functools.cache
def _ids(folder: Path) -> tuple[str, ...]:
    """Read from the text. Cached: readiness looks each second."""
    texts = (path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    return tuple(sorted(found[1] for text in texts if (found := ID.search(text))))


def new(title: str, *, folder: Path = MIGRATIONS) -> Path:
    """Write an empty migration, next in order, for a developer to fill in.

    Raises:
        Misconfigured: the title has no word in it, or the folder can't be written to.
    """
    words = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
    if not words:
        raise Misconfigured("A migration wants a title, such as `add budgets`.")
    number = 1 + max((int(path.stem[1:5]) for path in folder.glob("m[0-9]*.py")), default=0)
    path = folder / f"m{number:04}_{words}.py"
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S:%f")
    try:
        path.write_text(TEMPLATE.format(title=title.strip(), migration_id=stamp), encoding="utf-8")
    except OSError as error:
        raise Misconfigured(f"Can't write {path}: {error.strerror}.") from None
    return path


async def _checked(connection: Any) -> set[str]:
    """What has run, or a refusal of a database that this program must not touch."""
    ran = set(await _ran(connection))
    if ran - set(known()):
        release = await oldest.read(connection)
        if release is not None and oldest.is_ours_older(release):
            raise Misconfigured(
                f"The database is newer than this Jan: it wants {release} or later.",
                hint="Start the version of Jan that was used last, or a later one.",
            )
    return ran


async def _ran(connection: Any) -> list[str]:
    """The steps that have run, by Jan's own history.

    Without that history the database has to be empty: all of it, or, where the search path begins
    with another schema than `public`, that schema. Nobody gets there by accident: a schema is made
    and named for Jan, and what stands in the others is neither looked at nor touched.
    """
    version = connection.get_server_version()
    if version.major < MIN_MAJOR:
        raise Misconfigured(
            f"The database is PostgreSQL {version.major}; Jan needs {MIN_MAJOR} or later."
        )
    schema = await connection.fetchval("SELECT current_schema()")
    if schema is None:
        raise Misconfigured(
            "The database's search path names no schema that is there.",
            hint="CREATE SCHEMA, or leave `search_path` out of the URL.",
        )
    if await connection.fetchval(HAS_HISTORY, schema):
        rows = await connection.fetch("SELECT name FROM migration WHERE app_name = $1", APP_NAME)
        if rows:
            return [row["name"] for row in rows]
    found = await connection.fetch(FOREIGN, None if schema == "public" else schema)
    if found:
        names = ", ".join(f"{row['kind']} {row['name']}" for row in found)
        raise Misconfigured(
            f"The database holds what is not Jan's ({names}).",
            hint="Give Jan a database of its own: CREATE DATABASE jan",
        )
    return []
