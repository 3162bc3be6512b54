"""Valkey may be killed, hang and come back under load: no request fails, and limits are kept."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.fakes import fake_upstream
from tests.mcp.test_http import ACCEPT, message, said
from tests.serving import DEADLINE_S, Serve, jan, serving, until
from tests.tools import providers
from tests.valkeys import valkey

GATEWAYS = 2
A_MINUTE = 120
CALLERS = 8
SEARCH = message("tools/call", {"name": "google_search", "arguments": {"q": "cats"}})
USED_UP = "This project has used up its 120 calls of tools a minute."


async def call(client: httpx.AsyncClient) -> bool:
    """Search. Returns whether it was allowed; everything but the limit fails the test."""
    # On a new connection each time: the kernel divides those between the gateways.
    headers = {**ACCEPT, "connection": "close"}
    answer = await client.post("/v1/mcp", json=SEARCH, headers=headers)
    assert answer.status_code == 200, answer.text
    result = said(answer)["result"]
    assert not result["isError"] or USED_UP in result["content"][0]["text"], result
    return not result["isError"]


def losses(serve: Serve) -> int:
    """Count how often a gateway lost it."""
    return sum(each["event"] == "valkey is not used" for each in serve.events)


def users(serve: Serve) -> int:
    """Count the gateways that use it now."""
    return sum(each["event"] == "valkey is used" for each in serve.events) - losses(serve)


@pytest.mark.slow
async def test_valkey_comes_and_goes_under_load_and_no_request_fails(home: Path) -> None:
    async with (
        fake_upstream() as upstream,
        valkey() as server,
        serving(
            home,
            *("--upstream", upstream.url, "--workers", str(GATEWAYS)),
            JAN_REDIS_URL=server.url,
            JAN_SEARXNG_URL=upstream.url,
            JAN_TOOL_CALLS_PER_MINUTE=str(A_MINUTE),
        ) as serve,
        AsyncExitStack() as stack,
    ):
        upstream.script("/search", providers.searxng_search)
        await serve.until_ready()
        await until(lambda: users(serve) == GATEWAYS)
        key = await jan(home, "key", "create", "--name", "chaos")
        clients = [await stack.enter_async_context(serve.client(key)) for _ in range(CALLERS)]
        outcomes: list[bool] = []
        slowest_s = 0.0

        async def go_on(client: httpx.AsyncClient) -> None:
            nonlocal slowest_s
            while True:
                started_s = time.monotonic()
                outcomes.append(await call(client))
                slowest_s = max(slowest_s, time.monotonic() - started_s)

        async def until_more(count: int) -> None:
            wanted = len(outcomes) + count
            await until(lambda: len(outcomes) > wanted)

        begun_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            load = [group.create_task(go_on(client)) for client in clients]
            await until_more(2 * A_MINUTE)
            allowed, passed_s = sum(outcomes), time.monotonic() - begun_s

            await server.kill()
            await until(lambda: users(serve) == 0)
            await until_more(2 * A_MINUTE)
            allowed_away = sum(outcomes) - allowed

            await server.start()
            await until(lambda: users(serve) == GATEWAYS)
            await until_more(100)
            keys = await server.keys()

            server.signal(signal.SIGSTOP)
            await until(lambda: users(serve) == 0)
            await until_more(100)
            async with serve.client() as client:
                without = await client.get("/readyz")
                server.signal(signal.SIGCONT)
                await until(lambda: users(serve) == GATEWAYS)
                ready = await client.get("/readyz")
            for task in load:
                task.cancel()

        assert A_MINUTE <= allowed <= A_MINUTE * (1 + passed_s / 60) + 1
        assert allowed_away >= A_MINUTE - 1  # the database counted, from the beginning
        assert {key.split(":")[2].split()[0] for key in keys} >= {"{limits}", "tool"}
        assert slowest_s < DEADLINE_S / 4
        assert (without.status_code, ready.status_code) == (200, 200)
        assert not without.json()["dependencies"]["valkey"]["ok"]
        assert ready.json()["dependencies"]["valkey"]["ok"]
        assert serve.errors == []
