"""What many tests share: one real PostgreSQL for the run, a database of its own for each test."""

import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import pytest
from xdist.scheduler import LoadScopeScheduling

from jan.caller import Caller
from jan.db import dsn, embedded, migrate, scope
from jan.db.engine import Database, connect
from jan.organization import access

PASSWORD = "p" * 64
TEMPLATE = "jan_template"

ONE_AFTER_ANOTHER = (
    *(
        "tests/chaos/",
        "tests/e2e/",
        "tests/frozen/",
        "tests/images/",
        "tests/runner/test_engine.py",
    ),
)
"""They start whole programs, time them, and share what is dear to make."""

_numbers = count(1)


class ByFile(LoadScopeScheduling):
    """Gives each file of tests to one process, and to one all that can't run beside each other."""

    def _split_scope(self, nodeid: str) -> str:
        is_heavy = nodeid.startswith(ONE_AFTER_ANOTHER)
        return "programs" if is_heavy else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Share the tests out among the processes."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One event loop for the run: the server's process is watched by it."""
    return "asyncio"


def new_home() -> Path:
    # Not pytest's own folders: PostgreSQL's user may not enter them, and their names are long.
    home = Path(tempfile.mkdtemp(prefix="jan-test-"))
    home.chmod(0o711)
    return home


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty JAN_HOME."""
    path = new_home()
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own settings are not the tests'."""
    for name in [name for name in os.environ if name.startswith("JAN_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
async def postgres(anyio_backend: str) -> AsyncGenerator[Path]:
    """A running server with a migrated template database. The value is its home."""
    home = new_home()
    async with embedded.running(home, PASSWORD):
        admin = await asyncpg.connect(dsn.own(home, dsn.SUPERUSER, "postgres", PASSWORD))
        await admin.execute("ALTER SYSTEM SET fsync = off")  # tests lose nothing worth keeping
        await admin.execute("SELECT pg_reload_conf()")
        await admin.execute(f"CREATE DATABASE {TEMPLATE} OWNER {dsn.OWNER}")
        url = dsn.own(home, dsn.OWNER, TEMPLATE, PASSWORD)
        async with connect(url, pool_size=1, application_name="template") as database:
            await migrate.up(database, role=dsn.ROLE)
        await admin.close()
        yield home
    shutil.rmtree(home)


async def _create(home: Path, template: str) -> str:
    name = f"test_{next(_numbers)}"
    admin = await asyncpg.connect(dsn.own(home, dsn.SUPERUSER, "postgres", PASSWORD))
    await admin.execute(f"CREATE DATABASE {name} OWNER {dsn.OWNER} TEMPLATE {template}")
    await admin.close()
    return name


@pytest.fixture
async def empty_database_url(postgres: Path) -> str:
    """A database in which nothing is, for its owner."""
    return dsn.own(postgres, dsn.OWNER, await _create(postgres, "template0"), PASSWORD)


@pytest.fixture
async def database_name(postgres: Path) -> str:
    """A database with Jan's schema, the default organization in it, and nothing else."""
    return await _create(postgres, TEMPLATE)


@pytest.fixture
def database_url(postgres: Path, database_name: str) -> str:
    """That database, for the role that requests run as."""
    return dsn.own(postgres, dsn.ROLE, database_name, PASSWORD)


@pytest.fixture
def owner_url(postgres: Path, database_name: str) -> str:
    """That database, for its owner."""
    return dsn.own(postgres, dsn.OWNER, database_name, PASSWORD)


@pytest.fixture
async def operator(database: Database) -> Caller:
    """The operator, in the default organization."""
    return await access.operator()


async def fetch(query: str, *values: object) -> list[Any]:
    """Ask the open database, seeing all rows."""
    async with scope.system() as connection:
        return await connection.fetch(query, *values)


async def execute(statement: str, *values: object) -> None:
    """Change the open database, seeing all rows."""
    async with scope.system() as connection:
        await connection.execute(statement, *values)


@asynccontextmanager
async def locking(database: Database, statement: str) -> AsyncGenerator[Any]:
    """Hold locks during the block, of which code in it is no part. The value is a connection."""
    async with database.connection() as connection, connection.transaction():
        await connection.execute("SET LOCAL jan.scope = 'system'")
        await connection.execute(statement)
        yield connection


async def until_blocked(connection: Any, count: int = 1) -> None:
    """Wait until others stand in line for locks, such as those that `locking` holds."""
    with anyio.fail_after(5):
        while await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < count:
            await anyio.sleep(0.005)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open pool on it. Code under test really commits, as it will in production."""
    async with connect(database_url, pool_size=4, application_name="test") as opened:
        yield opened
