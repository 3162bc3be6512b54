"""A gateway whose requests reach the database through PgBouncer in transaction mode."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from jan import keyring
from jan.caller import Caller
from jan.db import migrate, opening
from jan.db.engine import Database, connect
from jan.db.prepare import prepare
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from jan.settings import Settings
from tests import poolers
from tests.conftest import fetch
from tests.conversations.owners import caller_of
from tests.fakes import FakeUpstream
from tests.gateway.test_worker import CHAT, DEADLINE_S, PATH, SECRET, Worker, running
from tests.poolers import SERVERS, pooler
from tests.tenants import new_person

AT_ONCE = 20


@pytest.fixture
async def place(postgres: Path) -> AsyncIterator[str]:
    async with pooler(postgres) as place:
        yield place


@pytest.fixture
async def worker(
    home: Path,
    place: str,
    database: Database,
    database_name: str,
    upstream: FakeUpstream,
) -> AsyncIterator[Worker]:
    """A gateway that has ten connections to a pooler that has two."""
    async with running(
        home,
        poolers.url(place, database_name),
        upstream.url,
        JAN_DATABASE_DIRECT_URL=database.dsn,
    ) as worker:
        await worker.until_ready()
        yield worker


@pytest.fixture
async def admin(operator: Caller) -> str:
    new = await keys.create(operator, KeyCreate(name="ops", kind="admin"), hmac_secret=SECRET)
    return new.secret


@pytest.fixture
async def project_key(operator: Caller) -> str:
    """A person's own, with which responses can be kept."""
    assert operator.organization_id is not None
    person = await new_person("ann", organization_id=operator.organization_id, role="member")
    new = await keys.create(caller_of(person), KeyCreate(name="own"), hmac_secret=SECRET)
    return new.secret


async def made(client: httpx.AsyncClient, number: int) -> str:
    """Make a key by the administration, look at it and chat with it."""
    said = {"name": f"key {number}", "kind": "admin"}
    answer = await client.post("/v1/organization/admin_api_keys", json=said)
    assert answer.status_code == 200, answer.text
    new = answer.json()
    found = await client.get(f"/v1/organization/admin_api_keys/{new['id']}")
    assert found.json()["name"] == said["name"]
    return new["id"]


async def test_administration_and_chat_of_many_at_once(
    worker: Worker, admin: str, operator: Caller
) -> None:
    chat_key = await keys.create(operator, KeyCreate(name="chat"), hmac_secret=SECRET)
    async with worker.client(admin) as client, worker.client(chat_key.secret) as chatting:
        new = await asyncio.gather(
            *(made(client, number) for number in range(AT_ONCE)),
            *(chatting.post(PATH, json=CHAT) for _ in range(AT_ONCE)),
        )
        listed = await client.get("/v1/organization/admin_api_keys", params={"limit": 100})
        ready = (await client.get("/readyz")).json()
        await keys.revoke(operator, chat_key.key.id)
        began_s = time.monotonic()
        while (await chatting.post(PATH, json=CHAT)).status_code != 401:
            await asyncio.sleep(0.01)
        took_s = time.monotonic() - began_s
    code, _ = await worker.end(signal.SIGTERM)

    ids = {answer for answer in new if isinstance(answer, str)}
    chats = [answer for answer in new if not isinstance(answer, str)]
    assert len(ids) == AT_ONCE
    assert {key["id"] for key in listed.json()["data"]} >= ids
    assert [answer.status_code for answer in chats] == [200] * AT_ONCE
    assert all(state["ok"] for state in ready["dependencies"].values())
    assert took_s < 1
    assert code == 0
    [(count,)] = await fetch("SELECT count(*) FROM usage WHERE status = 200")
    assert count >= AT_ONCE


async def test_jobs_are_done(worker: Worker, project_key: str) -> None:
    """Each response is promised through the pooler, and made by a job past it."""
    said: dict[str, Any] = {"model": CHAT["model"], "input": "hi", "background": True}
    async with worker.client(project_key) as client:
        begun = await asyncio.gather(
            *(client.post("/v1/responses", json=said) for _ in range(AT_ONCE))
        )
        assert [answer.status_code for answer in begun] == [200] * AT_ONCE
        with anyio.fail_after(DEADLINE_S):
            for answer in begun:
                path = f"/v1/responses/{answer.json()['id']}"
                while (await client.get(path)).json()["status"] != "completed":
                    await asyncio.sleep(0.05)


async def test_only_what_needs_a_connection_of_its_own_goes_past_the_pooler(
    worker: Worker, admin: str, database: Database
) -> None:
    async with worker.client(admin) as client:
        await asyncio.gather(*(made(client, number) for number in range(AT_ONCE)))

    rows = await database.pool.fetch(
        "SELECT application_name AS name FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name <> 'test' ORDER BY 1"
    )
    names = [row["name"] for row in rows]
    own = ["jan fleet", *["jan jobs"] * 2, *["jan listen"] * 3]

    assert [name for name in names if name in own] == own
    assert 1 <= len(names) - len(own) <= SERVERS


async def test_the_schema_is_made_past_the_pooler(
    home: Path, place: str, postgres: Path, empty_database_url: str
) -> None:
    name = empty_database_url.partition("?")[0].rpartition("/")[2]
    settings = Settings(
        home=home,
        database_url=SecretStr(poolers.url(place, name)),
        database_migration_url=SecretStr(empty_database_url),
    )
    async with connect(empty_database_url, pool_size=1, application_name="test") as owner:
        ran = await prepare(settings, keyring.load(settings), owner)
        again = await prepare(settings, keyring.load(settings), owner)

    assert ran == migrate.known()
    assert again == []


async def test_a_pooler_in_transaction_mode_is_why_there_is_a_second_address(
    home: Path, place: str, database_name: str, database_url: str
) -> None:
    """With statements kept prepared, as on direct connections, it does not work."""
    settings = Settings(home=home, database_url=SecretStr(poolers.url(place, database_name)))
    with pytest.raises(asyncpg.PostgresError):
        await _asks_in_turns(settings, home)
    direct = settings.model_copy(update={"database_direct_url": SecretStr(database_url)})

    await _asks_in_turns(direct, home)


async def _asks_in_turns(settings: Settings, home: Path) -> None:
    async with opening.database(
        settings, keyring.load(settings), pool_size=AT_ONCE, application_name="test"
    ) as database:

        async def ask(number: int) -> None:
            for _ in range(20):
                async with database.connection() as connection:
                    assert await connection.fetchval("SELECT $1::int", number) == number

        await asyncio.gather(*(ask(number) for number in range(AT_ONCE)))
