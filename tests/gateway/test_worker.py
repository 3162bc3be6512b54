"""`jan gateway` as a process: real keys, real rows, real signals."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import pytest

from jan.caller import Caller
from jan.db.engine import Database
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from tests.conftest import fetch
from tests.fakes import DONE, MODEL, FakeUpstream, Reply, Seen, chat_chunk
from tests.gateways import until
from tests.ports import free_port

PATH = "/v1/chat/completions"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "my-private-prompt"}]}
SECRET = "s" * 32
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
DEADLINE_S = 15


@dataclass
class Worker:
    """A running process."""

    process: Process
    url: str
    home: Path
    log: asyncio.Task[bytes]
    """All that it writes, read at once: a full pipe would stop it."""
    metrics: str
    """Where it tells them."""

    def client(self, key: str = "none") -> httpx.AsyncClient:
        """Make a client that sends `key`."""
        headers = {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=DEADLINE_S)

    async def until_ready(self) -> None:
        """Wait until a chat would be answered."""
        async with self.client() as client:
            with anyio.fail_after(DEADLINE_S):
                while (await client.get("/readyz")).status_code != 200:
                    await asyncio.sleep(0.02)

    async def end(self, *signals: signal.Signals) -> tuple[int, str]:
        """Send signals; tell the exit code and what was logged."""
        for number in signals:
            self.process.send_signal(number)
        with anyio.fail_after(DEADLINE_S):
            return await self.process.wait(), (await self.log).decode()

    async def kill(self) -> None:
        """End it without a word."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self.log


@asynccontextmanager
async def running(
    home: Path, database_url: str, upstream_url: str, **more: str
) -> AsyncGenerator[Worker]:
    """Run one on an inherited socket, until it answers at all."""
    listener = socket.create_server(("127.0.0.1", 0))
    private_port = free_port()
    environment = {
        **os.environ,
        "JAN_HOME": str(home),
        "JAN_DATABASE_URL": database_url,
        "JAN_INFERENCE_MODEL_URL": upstream_url,
        "JAN_API_KEY_SECRET": SECRET,
        "JAN_PRIVATE_PORT": str(private_port),
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jan", "gateway", "--fd", str(listener.fileno())),
        env=environment,
        pass_fds=[listener.fileno()],
        stderr=PIPE,
    )
    assert process.stderr is not None
    log = asyncio.create_task(process.stderr.read())
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    worker = Worker(process, url, home, log, f"http://127.0.0.1:{private_port}/metrics")
    listener.close()
    try:
        async with worker.client() as client:
            assert (await client.get("/healthcheck")).text == '"ok"'
        yield worker
    finally:
        await worker.kill()


@pytest.fixture
async def worker(
    home: Path, database: Database, database_url: str, upstream: FakeUpstream
) -> AsyncIterator[Worker]:
    """A worker that is ready."""
    async with running(home, database_url, upstream.url) as worker:
        await worker.until_ready()
        yield worker


@pytest.fixture
async def key(operator: Caller) -> str:
    """A key that works."""
    new = await keys.create(operator, KeyCreate(name="test"), hmac_secret=SECRET)
    return new.secret


async def test_requests_leave_rows_even_when_the_process_ends_right_after(
    worker: Worker, key: str, database: Database
) -> None:
    async with worker.client(key) as client:
        statuses = [(await client.post(PATH, json=CHAT)).status_code for _ in range(20)]
    code, _ = await worker.end(signal.SIGTERM)

    assert statuses == [200] * 20
    assert code == 0
    rows = await fetch("SELECT status, prompt_tokens, completion_tokens FROM usage")
    assert [tuple(row) for row in rows] == [(200, 11, 3)] * 20


async def test_it_is_not_ready_before_the_schema_is(
    home: Path, empty_database_url: str, upstream: FakeUpstream
) -> None:
    async with running(home, empty_database_url, upstream.url) as worker, worker.client() as client:
        states = (await client.get("/readyz")).json()["dependencies"]

    assert states["database"]["ok"]
    assert not states["schema"]["ok"]
    assert "migrations have not run" in states["schema"]["last_error"]


async def test_it_answers_probes_while_nothing_else_is_there(home: Path) -> None:
    async with running(home, NOWHERE, "http://127.0.0.1:1") as worker, worker.client() as client:
        ready = await client.get("/readyz")
        chat = await client.post(PATH, json=CHAT)

    assert ready.status_code == 503
    assert not any(state["ok"] for state in ready.json()["dependencies"].values())
    assert chat.status_code in {401, 503}


async def test_a_running_stream_may_finish_while_new_requests_are_refused(
    worker: Worker, key: str, upstream: FakeUpstream
) -> None:
    may_go_on = asyncio.Event()

    async def wait_in_between(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(chat_chunk("first"))
        await may_go_on.wait()
        await reply.chunk(DONE)
        await reply.end()

    async with worker.client(key) as kept, worker.client(key) as client:
        await kept.get("/livez")
        upstream.script(PATH, wait_in_between)
        async with client.stream("POST", PATH, json=CHAT | {"stream": True}) as answer:
            parts = answer.aiter_bytes()
            await anext(parts)
            worker.process.send_signal(signal.SIGTERM)
            with anyio.fail_after(DEADLINE_S):
                while (refused := await kept.post("/v1/nowhere")).status_code != 503:
                    await asyncio.sleep(0.005)
            with pytest.raises(httpx.ConnectError):
                await kept.get("/livez")
            may_go_on.set()
            rest = b"".join([part async for part in parts])
    code, _ = await worker.end()

    assert refused.json()["error"]["code"] == "shutting_down"
    assert refused.headers["connection"] == "close"
    assert rest == DONE
    assert code == 0


async def test_a_stream_that_outlives_the_grace_is_cut_and_counted(
    home: Path, database: Database, database_url: str, upstream: FakeUpstream, key: str
) -> None:
    async def begin_and_think(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.stall()

    upstream.script(PATH, begin_and_think)
    async with running(home, database_url, upstream.url, JAN_DRAIN_GRACE_S="0.2") as worker:
        await worker.until_ready()
        async with (
            worker.client(key) as client,
            client.stream("POST", PATH, json=CHAT | {"stream": True}) as answer,
        ):
            worker.process.send_signal(signal.SIGTERM)
            text = (await answer.aread()).decode()
        code, _ = await worker.end()

    assert json.loads(text.removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert code == 0
    ((error_code,),) = await fetch("SELECT error_code FROM usage")
    assert error_code == "shutting_down"
    assert upstream.aborts_s


async def test_a_second_signal_ends_it_at_once(
    worker: Worker, key: str, upstream: FakeUpstream
) -> None:
    async def think_for_ever(_: Seen, reply: Reply) -> None:
        await reply.stall()

    upstream.script(PATH, think_for_ever)
    async with worker.client(key) as client:
        asking = asyncio.create_task(client.post(PATH, json=CHAT))
        await until(lambda: upstream.running)
        worker.process.send_signal(signal.SIGTERM)
        async with worker.client() as other:
            with pytest.raises(httpx.ConnectError):
                while True:
                    await other.get("/livez", headers={"connection": "close"})
        code, _ = await worker.end(signal.SIGINT)
        await asyncio.wait([asking])
        asking.exception()

    assert code == 128 + signal.SIGINT


async def test_no_line_at_the_default_level_tells_a_secret(
    worker: Worker, key: str, upstream: FakeUpstream
) -> None:
    async def say_nonsense(_: Seen, reply: Reply) -> None:
        await reply.whole(b"my-private-answer", 500)

    private = {"x-api-key": "sk-jan-private-key", "cookie": "my-private-cookie"}
    async with worker.client(key) as client:
        await client.post(PATH, json=CHAT)
        await client.post(PATH, json=CHAT | {"stream": True})
        await client.post(PATH, json=CHAT | {"model": "my-private-model"})
        await client.post(PATH, content=b'{"my-private-json"')
        await client.get("/my-private-path?my-private-query")
        await client.get("/v1/models/my-private-model")
        upstream.script(PATH, say_nonsense)
        await client.post(PATH, json=CHAT, headers=private)
    async with worker.client("my-private-key") as client:
        await client.post(PATH, json=CHAT)
    _, log = await worker.end(signal.SIGTERM)

    lines = [json.loads(line) for line in log.splitlines()]
    assert sum(line["event"] == "request" for line in lines) >= 8
    for word in ("private", key, SECRET):
        assert word not in log


async def test_the_use_of_an_admin_key_is_noted(worker: Worker, operator: Caller) -> None:
    new = await keys.create(operator, KeyCreate(name="x", kind="admin"), hmac_secret=SECRET)
    async with worker.client(new.secret) as client:
        answer = await client.get("/v1/organization/admin_api_keys")
    await worker.end(signal.SIGTERM)

    assert answer.json()["data"][0]["last_used_at"] is None
    assert (await keys.get(operator, new.key.id)).last_used_at
