"""Requests and answers pass through unchanged, and as they come."""

import asyncio

import httpx
import pytest

from tests.fakes import (
    DONE,
    MODEL,
    USAGE,
    FakeUpstream,
    Reply,
    Seen,
    chat_chunk,
    chat_events,
)
from tests.gateways import Gateway, until

PATH = "/v1/chat/completions"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
STREAM = CHAT | {"stream": True}
MESSAGE = {"model": MODEL, "max_tokens": 5, "messages": CHAT["messages"]}


async def test_the_body_goes_on_byte_for_byte(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    body = (
        b'{ "model":"fake\\/model-1", "temperature":0, "seed":123456789012345678901234567890,'
        b'"top_p":1e400, "x":1.0, "messages":[{"content":"\\u00e9 \\ud83d\\ude00"}],"top_k":-1 }'
    )
    answer = await client.post(PATH, content=body, headers={"content-type": "text/plain"})

    assert answer.status_code == 200
    assert upstream.requests[0].body == body
    assert upstream.requests[0].headers["content-type"] == "application/json"


async def test_lone_surrogates_survive(client: httpx.AsyncClient, upstream: FakeUpstream) -> None:
    body = b'{"model":"fake/model-1","stream":true,"messages":[{"content":"\\ud800"}],"x":1e400}'
    answer = await client.post(PATH, content=body)

    assert answer.status_code == 200
    sent = upstream.requests[0].body
    assert sent.replace(b'"stream_options":{"include_usage":true},', b"") == body


async def test_the_answer_comes_back_byte_for_byte(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    body = b'{"id": "x",  "choices":[], "unknown": 1e400, "usage": null, "t": "\\ud800"}\n'

    async def answer_oddly(_: Seen, reply: Reply) -> None:
        await reply.whole(body, 200, "application/json; charset=utf-8")

    upstream.script(PATH, answer_oddly)
    answer = await client.post(PATH, json=CHAT)

    assert answer.content == body
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


async def test_headers_go_on_but_for_credentials_and_hop_by_hop(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    sent = {"x-api-key": "k", "cookie": "c=1", "te": "trailers", "x-mine": "m", "x-request-id": "r"}
    await client.post(PATH + "?beta=true", json=CHAT, headers=sent | {"anthropic-version": "v"})

    seen = upstream.requests[0]
    assert seen.target == PATH + "?beta=true"
    assert seen.headers["authorization"] == "Bearer upstream-secret"
    assert seen.headers["x-request-id"] == "r"
    assert seen.headers["x-mine"] == "m"
    assert seen.headers["anthropic-version"] == "v"
    assert seen.headers["accept-encoding"] == "identity"
    assert not {"x-api-key", "cookie", "te"} & set(seen.headers)


@pytest.mark.parametrize("split_every", [1, 2, 3, 7, 64, 0])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
async def test_a_stream_split_at_any_byte_is_the_same_stream(
    client: httpx.AsyncClient, upstream: FakeUpstream, split_every: int, newline: bytes
) -> None:
    events = chat_events("Hé", "llo", usage=True)
    events = [event.replace(b"\n", newline) for event in events]

    async def stream(_: Seen, reply: Reply) -> None:
        await reply.events(events, split_every=split_every)

    upstream.script(PATH, stream)
    asked = STREAM | {"stream_options": {"include_usage": True}}
    answer = await client.post(PATH, json=asked)

    assert answer.content == b"".join(events)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"


async def test_events_are_relayed_as_they_come(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    may_go_on = asyncio.Event()

    async def wait_in_between(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(chat_chunk("first"))
        await may_go_on.wait()
        await reply.chunk(DONE)
        await reply.end()

    upstream.script(PATH, wait_in_between)
    async with client.stream("POST", PATH, json=STREAM) as answer:
        parts = answer.aiter_bytes()
        first = await anext(parts)
        may_go_on.set()
        rest = b"".join([part async for part in parts])

    assert first == chat_chunk("first")
    assert rest == DONE


async def test_an_answer_that_is_no_stream_passes_though_one_was_asked_for(
    client: httpx.AsyncClient, upstream: FakeUpstream, gateway: Gateway
) -> None:
    async def answer_whole(_: Seen, reply: Reply) -> None:
        await reply.json({"choices": [], "usage": USAGE})

    upstream.script(PATH, answer_whole)
    answer = await client.post(PATH, json=STREAM)

    assert answer.json() == {"choices": [], "usage": USAGE}
    await until(lambda: gateway.rows)
    assert gateway.rows[0].completion_tokens == 3
