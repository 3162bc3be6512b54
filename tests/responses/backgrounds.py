"""Replicas that make responses in the background, on one database and before one model server."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from jan.db.engine import Database
from jan.inference.chat import Chat
from jan.responses import log
from jan.responses.background import Background
from jan.responses.compaction import Seal
from jan.responses.leases import Leases
from jan.responses.news import News
from jan.telemetry import Exchange
from tests.conftest import fetch
from tests.conversations.owners import caller_of
from tests.fakes import MODEL, FakeUpstream, Reply, Script, Seen
from tests.gateways import KEY_SECRET, Gateway, running_gateway
from tests.jobs.workers import QUICK
from tests.jobs.workers import working as working_on
from tests.responses.chats import as_event
from tests.responses.stored import Keys
from tests.tenants import new_person

PATH = "/v1/responses"
CHAT = "/v1/chat/completions"
DEADLINE_S = 20
ENDED = frozenset({"completed", "incomplete", "failed", "cancelled"})

ASK = {"model": MODEL, "input": "hi", "background": True}
STREAM = ASK | {"stream": True}


@dataclass
class Replica:
    """A gateway, and a worker that can be run beside it."""

    gateway: Gateway
    client: httpx.AsyncClient
    """Ann's."""
    stranger: httpx.AsyncClient
    """Bob's."""
    leases: Leases
    background: Background
    usage: list[Exchange]
    """Rows of the worker's."""
    database_url: str

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[asyncio.Task[Any]]:
        """Do jobs during the block."""
        async with working_on(self.database_url, self.background.job(), pace=QUICK) as task:
            yield task

    async def ask(self, **parameters: Any) -> dict[str, Any]:
        """Have a response made."""
        answer = await self.client.post(PATH, json=ASK | parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def stream(self, **parameters: Any) -> bytes:
        """Have a response made, and follow its events to the last."""
        return (await self.client.post(PATH, json=STREAM | parameters)).content

    async def begin(self, **parameters: Any) -> str:
        """Have a response made with events that are kept, and leave at once. Returns its id."""
        async with self.client.stream("POST", PATH, json=STREAM | parameters) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    return line.partition('"id":"')[2].partition('"')[0]
        raise AssertionError("it has no events")

    async def get(self, response_id: str) -> dict[str, Any]:
        """Read a response."""
        answer = await self.client.get(f"{PATH}/{response_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def resume(self, response_id: str, after: int | None = None) -> bytes:
        """Follow the events of a response, after a number."""
        said = {} if after is None else {"starting_after": after}
        answer = await self.client.get(f"{PATH}/{response_id}", params={"stream": "true"} | said)
        assert answer.status_code == 200, answer.text
        return answer.content

    async def follow(self, response_id: str, after: int | None = None) -> asyncio.Task[bytes]:
        """Begin to follow the events of a response. The task gives all of them at their end."""
        said = {} if after is None else {"starting_after": after}
        request = self.client.build_request(
            "GET", f"{PATH}/{response_id}", params={"stream": "true"} | said
        )
        answer = await self.client.send(request, stream=True)
        assert answer.status_code == 200
        return asyncio.create_task(answer.aread())

    async def cancel(self, response_id: str) -> dict[str, Any]:
        """Cancel a response."""
        answer = await self.client.post(f"{PATH}/{response_id}/cancel")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ended(self, response_id: str) -> dict[str, Any]:
        """Wait for a response's end, and read it."""
        with anyio.fail_after(DEADLINE_S):
            while (found := await self.get(response_id))["status"] not in ENDED:
                await asyncio.sleep(0.01)
        return found


@dataclass
class Replicas:
    """What is there."""

    keys: Keys
    upstream: FakeUpstream
    database: Database
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def new(self, *, is_told: bool = True, lease_s: float = 30, **more: Any) -> Replica:
        """Make one more. `is_told`: whether notifications reach it."""
        news = News()
        leases = Leases(news, lease_s=lease_s)
        gateway = await self.stack.enter_async_context(
            running_gateway(
                self.upstream.url, credentials=self.keys, leases=leases, news=news, **more
            )
        )
        if is_told:
            self._run(news.run(self.database.dsn))
        self._run(leases.run())
        chat = Chat(gateway.fleet)
        usage: list[Exchange] = []
        background = Background(chat, Seal(KEY_SECRET), leases, usage.append, timeout_s=60)
        client = await self.stack.enter_async_context(gateway.client("ann"))
        client.timeout = httpx.Timeout(DEADLINE_S)  # of silence
        stranger = await self.stack.enter_async_context(gateway.client("bob"))
        return Replica(gateway, client, stranger, leases, background, usage, self.database.dsn)

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(work)

        async def end() -> None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        self.stack.push_async_callback(end)


@asynccontextmanager
async def replicas(database: Database, upstream: FakeUpstream) -> AsyncGenerator[Replicas]:
    """Have them, on an open database."""
    keys = Keys(
        ann=caller_of(await new_person("ann")),
        bob=caller_of(await new_person("bob")),
    )
    found = Replicas(keys, upstream, database)
    async with found.stack:
        yield found


class Stalling:
    """Scripts streams that tell some, and go on when they may."""

    def __init__(self, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
        self.may_go_on = asyncio.Event()
        self._before = before
        self._after = after

    async def __call__(self, _: Seen, reply: Reply) -> None:
        """Answer."""
        await reply.begin_events()
        for chunk in self._before:
            await reply.chunk(as_event(chunk))
        await self.may_go_on.wait()
        for chunk in self._after:
            await reply.chunk(as_event(chunk))
        await reply.chunk(b"data: [DONE]\n\n")
        await reply.end()


def in_turn(*scripts: Script) -> Script:
    """Script one answer after the other; the last one is repeated."""
    left = list(scripts)

    async def script(seen: Seen, reply: Reply) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(seen, reply)

    return script


async def stored(response_id: str) -> bytes:
    """Read all events that are kept."""
    rows = await fetch(log.READ_ALL, response_id)
    return b"".join(row["events"] for row in rows)


async def until_stored(response_id: str, text: bytes) -> None:
    """Wait until an event with this in it is kept."""
    with anyio.fail_after(DEADLINE_S):
        while text not in await stored(response_id):
            await asyncio.sleep(0.01)


async def until_status(response_id: str, status: str) -> None:
    """Wait until a response is of this status."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            (row,) = await fetch("SELECT status FROM response WHERE id = $1", response_id)
            if row["status"] == status:
                return
            await asyncio.sleep(0.01)
