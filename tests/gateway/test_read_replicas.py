"""Gateway processes with read replicas: a client may write through one and read through another."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from jan.db.engine import connect
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from jan.organization import access
from tests import replication
from tests.fakes import FakeUpstream
from tests.gateway.test_worker import CHAT, DEADLINE_S, PATH, SECRET, Worker, running
from tests.replication import Cluster

KEYS = "/v1/organization/admin_api_keys"


@pytest.fixture(scope="module")
async def cluster(anyio_backend: str) -> AsyncIterator[Cluster]:
    async with replication.running() as cluster:
        yield cluster


@dataclass
class Pair:
    """Two gateways, and keys for them."""

    cluster: Cluster
    workers: list[Worker]
    ops: str
    chat: str

    async def replicas(self, number: int) -> list[dict[str, Any]]:
        """What one of them tells of the replicas."""
        async with self.workers[number].client() as client:
            answer = await client.get("/readyz")
        assert answer.status_code == 200
        told = answer.json()["dependencies"]
        return [told["replica_1"], told["replica_2"]]

    async def until(self, *, ok: bool) -> None:
        """Wait until both read both replicas, or neither any."""
        with anyio.fail_after(DEADLINE_S):
            for number in (0, 1):
                while any(each["ok"] != ok for each in await self.replicas(number)):
                    await asyncio.sleep(0.05)

    async def names(self, number: int) -> list[str]:
        """List the administrators' keys."""
        async with self.workers[number].client(self.ops) as client:
            answer = await client.get(KEYS, params={"limit": 100})
        assert answer.status_code == 200, answer.text
        return [key["name"] for key in answer.json()["data"]]

    async def make(self, number: int, name: str) -> None:
        """Make another."""
        async with self.workers[number].client(self.ops) as client:
            assert (await client.post(KEYS, json={"name": name})).status_code == 200


@pytest.fixture
async def pair(cluster: Cluster, home: Path, upstream: FakeUpstream) -> AsyncIterator[Pair]:
    name = await cluster.new_database()
    url = cluster.primary.url(name)
    async with connect(url, pool_size=1, application_name="test"):
        operator = await access.operator()
        ops = await keys.create(operator, KeyCreate(name="ops", kind="admin"), hmac_secret=SECRET)
        chat = await keys.create(operator, KeyCreate(name="chat"), hmac_secret=SECRET)
    read_urls = ",".join(replica.url(name) for replica in cluster.replicas)
    async with AsyncExitStack() as stack:
        starting = [
            running(
                home,
                url,
                upstream.url,
                JAN_DATABASE_READ_URLS=read_urls,
                JAN_DATABASE_READ_MAX_LAG_S="2",
                JAN_DATABASE_WAIT_S="1",
            )
            for _ in range(2)
        ]
        workers = await asyncio.gather(*map(stack.enter_async_context, starting))
        for worker in workers:
            await worker.until_ready()
        pair = Pair(cluster, workers, ops.secret, chat.secret)
        await pair.until(ok=True)
        yield pair
    await cluster.heal()


async def test_what_one_wrote_the_other_lists_though_the_replicas_stand_still(pair: Pair) -> None:
    await pair.names(1)
    assert sum(each["reads"] for each in await pair.replicas(1)) == 1
    await pair.cluster.pause()

    for number in range(10):
        await pair.make(number % 2, f"key {number}")
        for reader in (1 - number % 2, number % 2):
            assert f"key {number}" in await pair.names(reader)

    await pair.until(ok=False)
    behind = await pair.replicas(0)
    assert all(each["last_error"].startswith("It is not read: it is behind, ") for each in behind)
    await pair.cluster.resume()
    await pair.until(ok=True)
    before = sum(each["reads"] for each in await pair.replicas(1))
    assert len(await pair.names(1)) == 11
    assert sum(each["reads"] for each in await pair.replicas(1)) == before + 1


async def test_nothing_fails_while_replicas_are_killed(pair: Pair) -> None:
    is_over = False
    lists = chats = 0

    async def chat() -> None:
        nonlocal chats
        async with pair.workers[0].client(pair.chat) as client:
            while not is_over:
                assert (await client.post(PATH, json=CHAT)).status_code == 200
                chats += 1

    async def read() -> None:
        nonlocal lists
        while not is_over:
            assert await pair.names(1) == ["ops"]
            lists += 1

    async with anyio.create_task_group() as group:
        group.start_soon(chat)
        group.start_soon(read)
        for replica in pair.cluster.replicas:
            before = lists
            while lists < before + 10:
                await asyncio.sleep(0.01)
            await replica.stop(signal.SIGKILL)
        await pair.until(ok=False)
        before = lists, chats
        while lists < before[0] + 10 or chats < before[1] + 10:
            await asyncio.sleep(0.01)
        is_over = True

    assert [each["ok"] for each in await pair.replicas(0)] == [False, False]


async def test_when_the_primary_restarts_writes_wait_and_nothing_is_lost(pair: Pair) -> None:
    await pair.make(0, "before")
    async with pair.workers[0].client(pair.chat) as client:
        assert (await client.post(PATH, json=CHAT)).status_code == 200
    await pair.cluster.primary.stop(signal.SIGKILL)

    async with pair.workers[0].client(pair.ops) as client:
        refused = await client.post(KEYS, json={"name": "during"})
        unread = await client.get(KEYS)
        chat = await client.post(PATH, json=CHAT, headers={"authorization": f"Bearer {pair.chat}"})
    await pair.cluster.primary.start()
    with anyio.fail_after(DEADLINE_S):
        while True:
            async with pair.workers[1].client(pair.ops) as client:
                made = await client.post(KEYS, json={"name": "after"})
            if made.status_code == 200:
                break
            assert made.status_code == 503
            await asyncio.sleep(0.1)

    assert chat.status_code == 200
    for answer in (refused, unread):
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "database_unavailable"
        assert int(answer.headers["retry-after"]) > 0
    assert set(await pair.names(0)) == {"ops", "before", "after"}
