"""Real gateway processes: they know of each other only by the database."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from jan.db.engine import Database
from tests.conftest import fetch
from tests.fakes import MODEL, FakeUpstream, fake_upstream
from tests.fleet.test_leader import holders
from tests.gateway.test_worker import Worker, running

DEADLINE_S = 15


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with fake_upstream() as fake:
        yield fake


async def inference(worker: Worker) -> dict[str, Any]:
    async with worker.client() as client:
        return (await client.get("/readyz")).json()["dependencies"]["inference"]


async def until_it_is(worker: Worker, *, ok: bool) -> float:
    began_s = time.monotonic()
    with anyio.fail_after(DEADLINE_S):
        while (await inference(worker))["ok"] != ok:
            await asyncio.sleep(0.02)
    return time.monotonic() - began_s


async def until_somebody_leads(database: Database) -> None:
    with anyio.fail_after(DEADLINE_S):
        while len(await holders(database)) != 2:
            await asyncio.sleep(0.02)


async def test_readiness_tells_each_endpoint(
    home: Path, database: Database, database_url: str, upstream: FakeUpstream
) -> None:
    async with running(home, database_url, upstream.url) as worker:
        await until_it_is(worker, ok=True)
        well = await inference(worker)
        await upstream.kill()
        await until_it_is(worker, ok=False)
        away = await inference(worker)

    [endpoint] = well["endpoints"]
    assert (endpoint["provider"], endpoint["state"]) == ("configured", "healthy")
    assert well["models"] == endpoint["models"] == [MODEL]
    [endpoint] = away["endpoints"]
    assert (endpoint["state"], endpoint["ejections"], away["models"]) == ("ejected", 1, [])
    assert endpoint["last_error"] == away["last_error"] == "Connection refused"
    assert endpoint["since"].endswith("Z")


async def test_when_the_leader_is_killed_the_other_one_looks(
    home: Path, database: Database, database_url: str, upstream: FakeUpstream
) -> None:
    async with running(home, database_url, upstream.url) as first:
        await until_somebody_leads(database)
        async with running(home, database_url, upstream.url) as second:
            await until_it_is(second, ok=True)

            await first.end(signal.SIGKILL)
            await until_somebody_leads(database)
            await upstream.kill()
            assert await until_it_is(second, ok=False) < 6.5
            await upstream.start()
            assert await until_it_is(second, ok=True) < 1.5
    [row] = await fetch("SELECT state FROM endpoint")
    assert row["state"] == "healthy"


async def test_several_gateways_alone_know_one_model_server(
    home: Path, database: Database, database_url: str, upstream: FakeUpstream
) -> None:
    async with (
        running(home, database_url, upstream.url) as first,
        running(home, database_url, upstream.url) as second,
    ):
        for worker in (first, second):
            await until_it_is(worker, ok=True)
            assert len((await inference(worker))["endpoints"]) == 1
