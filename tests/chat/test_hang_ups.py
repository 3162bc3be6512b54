"""Silence is filled, and whoever leaves is noticed."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from jan.chat.dialect import ENDPOINTS, Endpoint
from tests.fakes import (
    DONE,
    MODEL,
    FakeUpstream,
    Reply,
    Seen,
    chat_chunk,
)
from tests.gateways import Gateway, running_gateway, until

PATH = "/v1/chat/completions"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
STREAM = CHAT | {"stream": True}
MESSAGE = {"model": MODEL, "max_tokens": 5, "messages": CHAT["messages"]}

LIMIT_S = 0.1
"""From a hang-up to the model server knowing it."""


def parsed(text: str) -> list[object]:
    """The data of each event."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def test_silence_is_filled_between_events_only(upstream: FakeUpstream) -> None:
    event = chat_chunk("slow")

    async def think_long(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await asyncio.sleep(0.15)
        await reply.chunk(event[:10])
        await asyncio.sleep(0.15)
        await reply.chunk(event[10:])
        await reply.chunk(DONE)
        await reply.end()

    upstream.script(PATH, think_long)
    async with running_gateway(upstream.url, heartbeat_s=0.05) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        async with gateway.client() as client:
            answer = await client.post(PATH, json=STREAM)

    beats, rest = answer.content.split(event)
    assert beats.count(b": keep-alive\n\n") * len(b": keep-alive\n\n") == len(beats)
    assert 2 <= beats.count(b": keep-alive\n\n") <= 6
    assert rest == DONE


async def _hang_up(gateway: Gateway, upstream: FakeUpstream, *, path: str, **sent: Any) -> float:
    """Send a request, leave when the model server has it, and tell how long that took to notice."""
    async with gateway.client() as client:
        request = asyncio.create_task(client.post(path, **sent))
        await until(lambda: upstream.running)
        left_s = time.monotonic()
        request.cancel()
        await asyncio.wait([request])
        await until(lambda: upstream.aborts_s)
    return upstream.aborts_s[0] - left_s


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_before_the_answer_ends_the_work(
    gateway: Gateway, upstream: FakeUpstream, endpoint: Endpoint, stream: bool
) -> None:
    async def think_for_ever(_: Seen, reply: Reply) -> None:
        await reply.stall()

    upstream.script(endpoint.native or endpoint.path, think_for_ever)
    sent: dict[str, Any] = {"json": MESSAGE | {"stream": stream}}
    if endpoint.is_form:
        fields = {"model": MODEL, "stream": str(stream).lower()}
        sent = {"data": fields, "files": {"file": ("a.wav", b"RIFF")}}
    took_s = await _hang_up(gateway, upstream, path=endpoint.path, **sent)

    assert took_s < LIMIT_S
    assert upstream.running == 0
    await until(lambda: gateway.rows)
    [row] = gateway.rows
    assert (row.status, row.error_code) == (499, "client_closed_request")


async def test_a_client_that_leaves_between_head_and_first_token_ends_the_work(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    async def begin_and_think(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.stall()

    upstream.script(PATH, begin_and_think)
    async with gateway.client() as client:
        async with client.stream("POST", PATH, json=STREAM) as answer:
            assert answer.status_code == 200
        left_s = time.monotonic()
        await until(lambda: upstream.aborts_s)

    assert upstream.aborts_s[0] - left_s < LIMIT_S


async def test_a_client_that_leaves_mid_stream_ends_the_work(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    async def talk_for_ever(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        while True:
            await reply.chunk(chat_chunk("word"))
            await asyncio.sleep(0.002)

    upstream.script(PATH, talk_for_ever)
    async with gateway.client() as client:
        async with client.stream("POST", PATH, json=STREAM) as answer:
            await anext(answer.aiter_raw())
        left_s = time.monotonic()
        await until(lambda: upstream.aborts_s)

    assert upstream.aborts_s[0] - left_s < LIMIT_S
    await until(lambda: gateway.rows)
    assert gateway.rows[0].status == 499
    assert gateway.rows[0].time_to_first_token_ms is not None


async def test_a_client_that_does_not_read_slows_the_model_server_down(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    written = 0

    async def flood(_: Seen, reply: Reply) -> None:
        nonlocal written
        await reply.begin_events()
        while True:
            await reply.chunk(chat_chunk("x" * 100_000))
            written += 100_000

    upstream.script(PATH, flood)
    async with gateway.client() as client, client.stream("POST", PATH, json=STREAM):
        before = -1
        while written != before or not written:  # until it stands still
            before = written
            await asyncio.sleep(0.2)

    assert written < 20_000_000


async def test_shutting_down_cuts_a_stream_with_an_error_event(
    gateway: Gateway, client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    async def begin_and_think(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.stall()

    upstream.script(PATH, begin_and_think)
    async with client.stream("POST", PATH, json=STREAM) as answer:
        gateway.front.passages.cut()
        text = (await answer.aread()).decode()

    [event] = parsed(text)
    assert isinstance(event, dict)
    assert event["error"]["code"] == "shutting_down"
    await until(lambda: upstream.aborts_s)
