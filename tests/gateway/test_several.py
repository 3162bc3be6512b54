"""Three gateway processes on one database: what one is told all know, and nothing is done twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import psutil
import pytest

from jan.caller import Caller
from jan.db.engine import Database
from jan.jobs import housekeeping
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from tests.conftest import fetch
from tests.conversations.owners import caller_of
from tests.fakes import MODEL, FakeUpstream, Reply, Seen, chat, fake_upstream
from tests.gateway.test_worker import CHAT, DEADLINE_S, PATH, SECRET, Worker, running
from tests.mcp.test_http import ACCEPT, INITIALIZE, message, said
from tests.tenants import Person, new_person

AT_ONCE_S = 1.0
"""Within what all know."""
TAKEOVER_S = 60.0
"""A lease of half a minute, and what it takes to notice that it ran out."""
DUE = """
INSERT INTO pgqueuer_schedules (expression, entrypoint, next_run)
VALUES ($1, $2, now() - interval '1 day')
"""
DONE_JOBS = "SELECT count(*) FROM pgqueuer_log WHERE entrypoint = $1 AND status = 'successful'"
MAKERS = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'jan jobs' AND datname = current_database()
"""


@dataclass
class Several:
    """They run, before one model server."""

    workers: list[Worker]
    clients: list[httpx.AsyncClient]
    """Of each of them: to make one takes as long as many requests."""
    ops: str
    """An administrator's key."""
    ann: Person
    key: str
    """Ann's, with which she chats."""

    async def ask(
        self, number: int, key: str, method: str, path: str, json: Any = None, **more: str
    ) -> httpx.Response:
        """Ask one of them. `more` are headers, with underscores for dashes."""
        named = {name.replace("_", "-"): value for name, value in more.items()}
        headers = {"authorization": f"Bearer {key}", **named}
        return await self.clients[number].request(method, path, json=json, headers=headers)

    async def chats(self, number: int, model: str = MODEL) -> int:
        """Have Ann chat. Returns the status."""
        return (await self.ask(number, self.key, "POST", PATH, CHAT | {"model": model})).status_code

    async def until_all(self, is_so: Callable[[int], Awaitable[bool]]) -> float:
        """Wait until all of them see something so. Returns how long that took."""
        began_s = time.monotonic()

        async def wait_for(number: int) -> None:
            while not await is_so(number):
                await asyncio.sleep(0.01)

        with anyio.fail_after(DEADLINE_S):
            await asyncio.gather(*map(wait_for, range(len(self.workers))))
        return time.monotonic() - began_s


@pytest.fixture
async def due(database: Database) -> None:
    """Housekeeping should have been done yesterday, when none of them ran."""
    await database.pool.execute(DUE, housekeeping.SCHEDULE.cron, housekeeping.NAME)


@pytest.fixture
async def several(
    home: Path, database: Database, due: None, operator: Caller, upstream: FakeUpstream
) -> AsyncIterator[Several]:
    assert operator.organization_id is not None
    ann = await new_person("ann", organization_id=operator.organization_id, role="member")
    ops = await keys.create(operator, KeyCreate(name="ops", kind="admin"), hmac_secret=SECRET)
    own = await keys.create(caller_of(ann), KeyCreate(name="own"), hmac_secret=SECRET)
    async with AsyncExitStack() as stack:
        starting = [running(home, database.dsn, upstream.url) for _ in range(3)]
        workers = await asyncio.gather(*map(stack.enter_async_context, starting))
        for worker in workers:
            await worker.until_ready()
        clients = [await stack.enter_async_context(worker.client()) for worker in workers]
        yield Several(workers, clients, ops.secret, ann, own.secret)


async def test_what_one_is_told_all_know_within_a_second(several: Several) -> None:
    assert [await several.chats(number) for number in range(3)] == [200] * 3

    # A key that is revoked.
    found = (await several.ask(0, several.ops, "GET", "/v1/organization/admin_api_keys")).json()
    made = await several.ask(
        0, several.ops, "POST", "/v1/organization/admin_api_keys", {"name": "temporary"}
    )
    temporary, path = made.json()["value"], "/v1/organization/admin_api_keys"

    async def knows_it(number: int) -> bool:
        return (await several.ask(number, temporary, "GET", path)).status_code == 200

    async def refuses_it(number: int) -> bool:
        return (await several.ask(number, temporary, "GET", path)).status_code == 401

    assert await several.until_all(knows_it) < AT_ONCE_S
    gone = await several.ask(1, several.ops, "DELETE", f"{path}/{made.json()['id']}")
    assert gone.status_code == 200
    assert await several.until_all(refuses_it) < AT_ONCE_S
    assert len(found["data"]) == 1

    # A person who is locked out, and in again.
    user = f"/v1/users/{several.ann.id}"
    for is_enabled, status in ((False, 401), (True, 200)):
        changed = await several.ask(2, several.ops, "PATCH", user, {"is_enabled": is_enabled})
        assert changed.status_code == 200, changed.text

        async def answers(number: int, status: int = status) -> bool:
            return await several.chats(number) == status

        assert await several.until_all(answers) < AT_ONCE_S


async def test_what_one_learns_of_a_model_server_all_know_within_a_second(
    several: Several,
) -> None:
    async with fake_upstream() as other:
        model = f"more/{MODEL}"
        provider = {"name": "other", "url": other.url, "prefix": "more/"}

        async def is_asked(number: int) -> bool:
            return await several.chats(number, model) == 200

        async def is_unknown(number: int) -> bool:
            return await several.chats(number, model) == 404

        made = await several.ask(0, several.ops, "POST", "/v1/admin/providers", provider)
        assert made.status_code == 200, made.text
        assert await several.until_all(is_asked) < AT_ONCE_S

        async def sees(number: int, state: str) -> bool:
            ready = (await several.clients[number].get("/readyz")).json()
            endpoints = ready["dependencies"]["inference"]["endpoints"]
            return [each["state"] for each in endpoints if each["provider"] == "other"] == [state]

        async def sees_it_gone(number: int) -> bool:
            return await sees(number, "ejected")

        async def sees_it_back(number: int) -> bool:
            return await sees(number, "healthy")

        await other.kill()
        assert await several.chats(1, model) >= 500  # it is one of them that finds out
        assert await several.until_all(sees_it_gone) < AT_ONCE_S
        await other.start()
        # Who looks after it for all does so each second at the latest.
        assert await several.until_all(sees_it_back) < 1 + AT_ONCE_S

        removed = await several.ask(2, several.ops, "DELETE", "/v1/admin/providers/other")
        assert removed.status_code == 200
        assert await several.until_all(is_unknown) < AT_ONCE_S


async def test_what_is_due_is_done_once(several: Several, database: Database) -> None:
    with anyio.fail_after(DEADLINE_S):
        while await database.pool.fetchval(DONE_JOBS, housekeeping.NAME) == 0:
            await asyncio.sleep(0.05)
        while await database.pool.fetchval("SELECT count(*) FROM pgqueuer"):
            await asyncio.sleep(0.05)

    assert await database.pool.fetchval(MAKERS) == 2 * len(several.workers)
    assert await database.pool.fetchval(DONE_JOBS, housekeeping.NAME) == 1


async def test_an_mcp_client_may_reach_another_one_with_each_request(several: Several) -> None:
    begun = await several.ask(
        0, several.key, "POST", "/v1/mcp", message("initialize", INITIALIZE), **ACCEPT
    )
    version = said(begun)["result"]["protocolVersion"]
    headers = ACCEPT | {"mcp_protocol_version": version}
    noted = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    answers = [
        await several.ask(number, several.key, "POST", "/v1/mcp", body, **headers)
        for number, body in [
            (1, noted),
            (2, message("tools/list", None, 2)),
            (0, message("resources/list", None, 3)),
            (1, message("prompts/list", None, 4)),
            (2, message("ping", None, 5)),
        ]
    ]

    assert "mcp-session-id" not in begun.headers
    assert [answer.status_code for answer in answers] == [202, 200, 200, 200, 200]
    assert all("result" in said(answer) for answer in answers[1:])


@pytest.mark.slow
async def test_a_response_outlives_the_process_that_makes_it_and_is_made_once(
    several: Several, upstream: FakeUpstream
) -> None:
    ports: list[int] = []

    async def stall_once(seen: Seen, reply: Reply) -> None:
        ports.append(reply._writer.get_extra_info("peername")[1])
        if len(ports) == 1:
            await reply.stall()
        await chat(seen, reply)

    upstream.script(PATH, stall_once)
    wanted = {"model": MODEL, "input": "hi", "background": True}
    begun = await several.ask(0, several.key, "POST", "/v1/responses", wanted)
    with anyio.fail_after(DEADLINE_S):
        while not ports:
            await asyncio.sleep(0.01)
    (maker,) = [
        number
        for number, worker in enumerate(several.workers)
        if any(
            each.laddr.port == ports[0]
            for each in psutil.Process(worker.process.pid).net_connections()
        )
    ]
    await several.workers[maker].kill()

    other, path = (maker + 1) % 3, f"/v1/responses/{begun.json()['id']}"
    with anyio.fail_after(TAKEOVER_S):
        while True:
            response = (await several.ask(other, several.key, "GET", path)).json()
            if response["status"] not in {"queued", "in_progress"}:
                break
            await asyncio.sleep(0.2)
    seen_by_the_third = await several.ask((maker + 2) % 3, several.key, "GET", path)
    with anyio.fail_after(DEADLINE_S):
        while not (rows := await fetch("SELECT status FROM usage WHERE status = 200")):
            await asyncio.sleep(0.1)

    assert response["status"] == "completed", response
    assert seen_by_the_third.json() == response
    assert len(ports) == 2
    assert len(rows) == 1
