"""All connections to the database in use: everybody is told to come again, and nobody is sent away.

A client that gets 401 throws its key away, or its person has to sign in again; 503 is tried again.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from jan.db.engine import Database, connect
from jan.keys import service as keys
from jan.keys import text
from jan.keys.schemas import KeyCreate
from tests import gateways
from tests.auth.test_providers import CALLBACK, VISIT, answer_of
from tests.contract.test_isolation import BODY, cases, values_of
from tests.doors import door, login, new_person
from tests.fakes import MODEL
from tests.oidc_provider import FakeProvider, fake_provider
from tests.tenants import Tenants

POOL_SIZE = 3
NEEDS_NO_DATABASE = {200, 400, 403, 404, 409}
"""What is on the disk, what is wrong in itself, and what nobody may."""
MCP = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """One that nobody waits long for."""
    async with connect(
        database_url, pool_size=POOL_SIZE, wait_s=0.05, application_name="test"
    ) as opened:
        yield opened


@asynccontextmanager
async def full(database: Database) -> AsyncGenerator[None]:
    """Use all of its connections for something else."""
    async with AsyncExitStack() as stack:
        for _ in range(POOL_SIZE):
            await stack.enter_async_context(database.connection())
        yield


def told_to_come_again(answer: httpx.Response) -> bool:
    """Whether it says so; in JSON, with the code of an absent database."""
    is_page = answer.headers["content-type"].startswith("text/html")
    return (
        answer.status_code == 503
        and int(answer.headers["retry-after"]) > 0
        and (is_page or answer.json()["error"]["code"] == "database_unavailable")
    )


async def test_every_route_says_so_to_somebody_who_is_known(tenants: Tenants) -> None:
    owner, platform = tenants.a.owner, tenants.platform
    asked = [
        (owner if who is tenants.a else platform, case.method, case.path(values))
        for who in (tenants.a, None)
        for case in cases(tenants)
        for values in [await values_of(tenants.a, case)]
    ]
    async with full(tenants.database):
        answers = [
            (method, path, await tenants.call(person, method, path, BODY))
            for person, method, path in asked
        ]

    without = [each for each in answers if not told_to_come_again(each[2])]
    assert [each for each in without if each[2].status_code not in NEEDS_NO_DATABASE] == []
    assert len(without) < len(answers) / 2


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/chat/completions", CHAT),
        ("POST", "/v1/responses", {"model": MODEL, "input": "hello"}),
        ("POST", "/v1/mcp", MCP),
        ("GET", "/v1/models", None),
        ("GET", "/v1/organization/projects", None),
        ("GET", "/v1/auth/me", None),
    ],
)
async def test_a_credential_that_nobody_knows_yet_is_not_called_wrong(
    tenants: Tenants, method: str, path: str, body: Any
) -> None:
    caller = await tenants.caller(tenants.a.project_member)
    new = await keys.create(caller, KeyCreate(name="new"), hmac_secret=gateways.KEY_SECRET)
    async with full(tenants.database):
        for token in (new.secret, text.new()):
            async with tenants.client(None) as client:
                answer = await client.request(
                    method, path, json=body, headers={"authorization": f"Bearer {token}"}
                )
            assert told_to_come_again(answer), (answer.status_code, answer.text)


async def test_chat_and_mcp_of_who_is_known_go_on(tenants: Tenants) -> None:
    key = tenants.a.project_key
    await tenants.caller(key)
    async with full(tenants.database):
        chat = await tenants.call(key, "POST", "/v1/chat/completions", CHAT)
        ping = await tenants.call(
            *(key, "POST", "/v1/mcp", MCP),
            headers={"accept": "application/json, text/event-stream"},
        )

    assert chat.status_code == ping.status_code == 200


async def test_a_revoked_key_stops_all_the_same(tenants: Tenants) -> None:
    caller = await tenants.caller(tenants.a.owner)
    path, key = "/v1/chat/completions", tenants.a.project_key
    assert (await tenants.call(key, "POST", path, CHAT)).status_code == 200
    changes = tenants.credentials._changes
    await keys.revoke(caller, key.id)
    await gateways.until(lambda: tenants.credentials._changes > changes)

    async with full(tenants.database):
        assert told_to_come_again(await tenants.call(key, "POST", path, CHAT))
    tenants.credentials._down_until_s = 0
    assert (await tenants.call(key, "POST", path, CHAT)).status_code == 401


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with fake_provider() as provider:
        yield provider


async def test_nobody_is_refused_at_the_door(database: Database, fake: FakeProvider) -> None:
    providers = {"google": fake.config}
    async with (
        door(database, providers=providers, registration="open", guest_login=True) as house,
        house.visitor(sec_fetch_site="same-origin") as browser,
        house.visitor() as stranger,
    ):
        await new_person(house.means.passwords)
        assert (await login(browser)).status_code == 200
        back, again = [await answer_of(stranger, fake) for _ in range(2)]
        async with full(database):
            answers = [
                await login(browser),
                await browser.post("/v1/auth/refresh-token"),
                await browser.post("/v1/auth/guest-login"),
                await stranger.post("/v1/auth/guest-login"),
                await stranger.post(CALLBACK, json={"code": back.code, "state": back.state}),
                await stranger.get(
                    CALLBACK, params={"code": again.code, "state": again.state}, headers=VISIT
                ),
            ]
        refreshed = await browser.post("/v1/auth/refresh-token")

    assert [answer.status_code for answer in answers] == [503] * len(answers)
    assert all(told_to_come_again(answer) for answer in answers)
    assert refreshed.status_code == 200
