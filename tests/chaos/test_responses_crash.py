"""Processes are killed at random while clients have responses made: nothing acknowledged is lost.

Afterwards every acknowledged response is there and has ended, and what a client of a stream was
told, over however many connections, is what is stored.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import asyncpg
import httpx
import openai
import pytest

from jan import keyring, settings
from jan.db import dsn
from jan.jobs import queue
from jan.responses import sweep
from jan.responses.log import UNENDED
from tests.chaos.conftest import Scene
from tests.fakes import DONE, MODEL, Reply, Seen, chat_chunk, usage_chunk
from tests.responses import rules
from tests.serving import until

pytestmark = pytest.mark.slow

SEED = 20_261_125
VICTIMS = ["gateway"] * 4 + ["postgres"] * 3 + ["upstream"] * 5
"""In any order. A child that dies five times in a minute is given up, and Jan ends with it."""
END_S = 75.0
"""Within what everything has ended afterwards: a lease, and the look for those that ran out."""
PATH = "/v1/responses"
TROUBLE = (openai.APIError, httpx.HTTPError, OSError)
LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})

Event = tuple[int, str, str | None]
"""What a client keeps of an event: number, type, and the piece of text in it."""


@dataclass
class Told:
    """What clients were told, by the ids of responses."""

    background: set[str] = field(default_factory=set[str])
    cancelled: set[str] = field(default_factory=set[str])
    """Those whose cancellation was acknowledged."""
    streams: dict[str, list[Event]] = field(default_factory=dict[str, list[Event]])
    begun: set[str] = field(default_factory=set[str])
    """In the foreground: those of which an event came."""
    completed: dict[str, str] = field(default_factory=dict[str, str])
    """In the foreground: those that were told to be complete, and what they say."""
    conversations: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """By their ids, the responses in them that were told to be complete."""

    @property
    def ids(self) -> set[str]:
        """All responses that anybody was told of."""
        return {*self.background, *self.streams, *self.begun, *self.completed}


class Clients:
    """People who have responses made, until they are told to stop."""

    def __init__(self, scene: Scene, dice: random.Random) -> None:
        self.told = Told()
        self.may_begin = True
        self.may_go_on = True
        self._dice = dice
        self._sdk = openai.AsyncOpenAI(
            api_key=scene.key, base_url=f"{scene.serve.url}/v1", max_retries=0, timeout=5
        )

    async def run(self) -> None:
        """Ask all the time, in all the ways that there are."""
        kinds: list[Callable[[], Awaitable[object]]] = [
            self._stream,
            self._stream,
            self._promise,
            self._cancel,
            self._foreground,
            self._conversation,
        ]
        async with self._sdk, asyncio.TaskGroup() as group:
            for kind in kinds:
                group.create_task(self._again_and_again(kind))

    async def _again_and_again(self, kind: Callable[[], Awaitable[object]]) -> None:
        while self.may_begin:
            try:
                await kind()
            except TROUBLE:
                await asyncio.sleep(0.1)

    async def _create(self, **parameters: Any) -> Any:
        return await self._sdk.responses.create(model=MODEL, input="Count.", **parameters)

    async def _stream(self) -> None:
        response_id, kept = "", list[Event]()
        events = await self._create(background=True, stream=True)
        while True:
            try:
                async for event in events:
                    if not response_id:
                        response_id = event.response.id
                        self.told.streams[response_id] = kept
                    kept.append((event.sequence_number, event.type, getattr(event, "delta", None)))
            except TROUBLE:
                if not response_id:
                    raise
            if kept[-1][1] in LAST:
                return
            events = await self._resume(response_id, kept[-1][0])

    async def _resume(self, response_id: str, after: int) -> Any:
        """Try, for as long as there is a chance."""
        while True:
            try:
                return await self._sdk.responses.retrieve(
                    response_id, stream=True, starting_after=after
                )
            except TROUBLE:
                assert self.may_go_on, f"{response_id} can't be resumed"
                await asyncio.sleep(0.1)

    async def _promise(self) -> None:
        response = await self._create(background=True)
        self.told.background.add(response.id)
        while self.may_go_on and response.status in UNENDED:
            await asyncio.sleep(0.2)
            try:
                response = await self._sdk.responses.retrieve(response.id)
            except openai.NotFoundError:
                pytest.fail(f"{response.id} is gone")
            except TROUBLE:
                continue

    async def _cancel(self) -> None:
        response = await self._create(background=True)
        self.told.background.add(response.id)
        await asyncio.sleep(self._dice.uniform(0, 1))
        cancelled = await self._sdk.responses.cancel(response.id)
        assert cancelled.status not in UNENDED
        if cancelled.status == "cancelled":
            self.told.cancelled.add(response.id)

    async def _foreground(self, **parameters: Any) -> str | None:
        async for event in await self._create(stream=True, **parameters):
            if event.type == "response.created":
                self.told.begun.add(event.response.id)
            if event.type == "response.completed":
                self.told.completed[event.response.id] = event.response.output_text
                return event.response.id
        return None

    async def _conversation(self) -> None:
        conversation = await self._sdk.conversations.create()
        responses = self.told.conversations[conversation.id] = []
        for _ in range(3):
            made = await self._foreground(conversation=conversation.id)
            responses += [made] if made else []


async def kill_all(scene: Scene, dice: random.Random) -> None:
    """Kill one after the other, now and then."""
    for victim in dice.sample(VICTIMS, len(VICTIMS)):
        await asyncio.sleep(dice.uniform(0.5, 3))
        if victim == "upstream":
            await scene.upstream.kill()
            await asyncio.sleep(dice.uniform(0, 1))
            await scene.upstream.start()
            continue
        word = "gateway" if victim == "gateway" else "-D"
        await until(lambda word=word: scene.serve.children(word))
        dice.choice(scene.serve.children(word)).kill()


def counting(dice: random.Random) -> Callable[[Seen, Reply], Awaitable[None]]:
    """Script answers of any length, as quick as a real model's."""

    async def script(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(chat_chunk())
        for number in range(dice.choice([5, 20, 60, 150])):
            await reply.chunk(chat_chunk(f"{number} "))
            await asyncio.sleep(0.02)
        stop = {"index": 0, "delta": {}, "finish_reason": "stop"}
        for event in (chat_chunk(choices=[stop]), usage_chunk(), DONE):
            await reply.chunk(event)
        await reply.end()

    return script


async def test_nothing_that_was_acknowledged_is_lost(scene: Scene) -> None:
    dice = random.Random(SEED)
    scene.upstream.script("/v1/chat/completions", counting(dice))
    clients = Clients(scene, dice)

    asking = asyncio.create_task(clients.run())
    await kill_all(scene, dice)
    clients.may_begin = False
    await _until_all_have_ended(scene)
    clients.may_go_on = False
    with anyio.fail_after(20):
        await asking

    assert len(clients.told.ids) > 20
    assert any(clients.told.conversations.values())
    await _check(scene, clients.told)
    await until(lambda: scene.upstream.running == 0)


async def _until_all_have_ended(scene: Scene) -> None:
    await scene.serve.until_ready()
    with anyio.fail_after(END_S):
        while True:
            rows = await scene.serve.fetch(
                "SELECT id, status, is_background, attempt,"
                " coalesce(lease_expires_at < now(), false) AS is_left"
                " FROM response WHERE ended_at IS NULL"
            )
            if not rows:
                return
            if any(row["is_left"] for row in rows):
                await _sweep(scene)
            await asyncio.sleep(0.5)


async def _sweep(scene: Scene) -> None:
    """Have it done now, rather than within a minute."""
    loaded = settings.load({"home": scene.serve.home}).settings
    connection = await asyncpg.connect(dsn.resolve(loaded, keyring.load(loaded)))
    await queue.enqueue(connection, sweep.NAME, dedupe_key="schedule " + sweep.NAME)
    await connection.close()


async def _check(scene: Scene, told: Told) -> None:
    async with scene.serve.client(scene.key) as client:
        kept: dict[str, Any] = {}
        for response_id in told.ids:
            answer = await client.get(f"{PATH}/{response_id}")
            assert answer.status_code == 200, f"{response_id} is lost"
            kept[response_id] = answer.json()
            rules.validate_response(answer.content)
        assert all(response["status"] not in UNENDED for response in kept.values())
        for response_id, text in told.completed.items():
            assert kept[response_id]["status"] == "completed"
            assert _text(kept[response_id]) == text
        assert {kept[response_id]["status"] for response_id in told.cancelled} <= {"cancelled"}
        for response_id, events in told.streams.items():
            await _check_stream(client, response_id, events, kept[response_id])
        for conversation_id, response_ids in told.conversations.items():
            await _check_conversation(client, conversation_id, [kept[one] for one in response_ids])
    rows = await scene.serve.fetch("SELECT id FROM response WHERE ended_at IS NULL")
    assert rows == []


async def _check_stream(
    client: httpx.AsyncClient, response_id: str, events: list[Event], kept: Any
) -> None:
    query = f"{PATH}/{response_id}?stream=true"
    stored = (await client.get(query)).content
    parsed = rules.parsed(stored)
    assert rules.check(parsed) == kept
    assert events == [
        (event["sequence_number"], event["type"], event.get("delta")) for event in parsed
    ]
    pieces = [event + b"\n\n" for event in stored[:-2].split(b"\n\n")]
    for number in {0, len(pieces) // 2, len(pieces) - 1}:
        rest = (await client.get(f"{query}&starting_after={number}")).content
        assert rest == b"".join(pieces[number + 1 :])


async def _check_conversation(
    client: httpx.AsyncClient, conversation_id: str, responses: list[Any]
) -> None:
    answer = await client.get(f"/v1/conversations/{conversation_id}/items?order=asc&limit=100")
    assert answer.status_code == 200, f"{conversation_id} is lost"
    item_ids = [item["id"] for item in answer.json()["data"]]
    told = [item["id"] for response in responses for item in response["output"]]
    assert [item_id for item_id in item_ids if item_id in set(told)] == told


def _text(response: Any) -> str:
    return "".join(
        part["text"]
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
    )
