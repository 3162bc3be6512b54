"""Two versions on one database: the new one migrates while the old one serves and starts."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from jan.caller import Caller
from jan.db import dsn, migrate
from jan.db.engine import Database, connect
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from tests.fakes import FakeUpstream
from tests.gateway.test_worker import CHAT, DEADLINE_S, PATH, SECRET, Worker, running

STEP = '''"""Safe while the previous version serves: it knows none of this."""

from jan.db.migration import Migration

ID = "2999-01-01T00:00:00:000000"
UP = (
    "ALTER TABLE api_key ADD note text NOT NULL DEFAULT ''",
    "CREATE TABLE of_a_later_version (id int)",
    "SELECT pg_sleep(1)",
)

forwards = Migration(ID, UP, __doc__)
'''
KEYS = "/v1/organization/admin_api_keys"


@pytest.fixture
def later_version(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Be one that has a step more. Other processes are the version that is tested."""
    for path in migrate.MIGRATIONS.glob("m*.py"):
        (tmp_path / f"later_{path.name}").write_text(path.read_text(encoding="utf-8"))
    (tmp_path / "later_m9999.py").write_text(STEP, encoding="utf-8")
    monkeypatch.setattr("jan.db.piccolo_app.APP_CONFIG.migrations_folder_path", str(tmp_path))
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path)
    return database


async def migrate_as_the_old_version(home: Path, database: Database, owner_url: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jan", "migrate", "up"),
        env={
            **os.environ,
            "JAN_HOME": str(home),
            "JAN_DATABASE_URL": database.dsn,
            "JAN_DATABASE_MIGRATION_URL": owner_url,
        },
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    with anyio.fail_after(DEADLINE_S):
        _, words = await process.communicate()
    assert process.returncode == 0, words
    return words.decode()


async def works(worker: Worker, ops: str, name: str) -> None:
    """See that it is ready, chats and writes."""
    async with worker.client(ops) as client:
        ready = await client.get("/readyz")
        assert ready.status_code == 200, ready.text
        assert (await client.post(KEYS, json={"name": name})).status_code == 200
        assert name in [key["name"] for key in (await client.get(KEYS)).json()["data"]]


async def test_the_old_version_serves_and_starts_while_the_new_one_migrates(
    home: Path,
    later_version: Database,
    owner_url: str,
    operator: Caller,
    upstream: FakeUpstream,
) -> None:
    ops = await keys.create(operator, KeyCreate(name="ops", kind="admin"), hmac_secret=SECRET)
    chat = await keys.create(operator, KeyCreate(name="chat"), hmac_secret=SECRET)
    ran: list[list[str]] = []

    async def migrate_as_the_new_version() -> None:
        async with connect(owner_url, pool_size=1, application_name="new") as owner:
            ran.append(await migrate.up(owner, role=dsn.ROLE))

    async with running(home, later_version.dsn, upstream.url) as worker:
        await worker.until_ready()
        async with anyio.create_task_group() as group, worker.client(chat.secret) as client:
            for _ in range(2):
                group.start_soon(migrate_as_the_new_version)
            group.start_soon(migrate_as_the_old_version, home, later_version, owner_url)
            while len(ran) < 2:
                assert (await client.post(PATH, json=CHAT)).status_code == 200
        await works(worker, ops.secret, "by the old one")
        code, _ = await worker.end(signal.SIGTERM)
    words = await migrate_as_the_old_version(home, later_version, owner_url)
    async with running(home, later_version.dsn, upstream.url) as worker:
        await worker.until_ready()
        await works(worker, ops.secret, "by the old one, started again")

    assert sorted(ran) == [[], ["2999-01-01T00:00:00:000000"]]
    assert code == 0
    assert "Nothing to do" in words
