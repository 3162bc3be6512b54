"""Chats that do not come to their end: what had come is kept, and said to be what it is."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from jan.caller import Caller
from jan.db.engine import PICCOLO, Database
from tests.conftest import execute, fetch, locking, until_blocked
from tests.conv.conftest import PROJECT
from tests.conv.talks import (
    CHAT,
    PATH,
    asks,
    brief,
    kept,
    parsed,
    rows,
    says,
    streams,
    told,
    user,
)
from tests.fakes import DONE, MODEL, FakeUpstream, Reply, Script, Seen
from tests.gateways import Gateway, until
from tests.responses.chats import as_event, as_events, call, delta, end

LIMIT_S = 0.1
"""From a hang-up to the model server knowing it."""

WORDS = [delta(role="assistant", content=""), delta(content="Hel"), delta(content="lo")]
END_ALONE = {"choices": [{"index": 0, "finish_reason": "stop"}]}
CALLS = [delta(content="Wait."), call(0, '{"a":1}', "add"), call(1, '{"b"', "sub")]


def begins(*chunks: dict[str, Any]) -> Script:
    """Script a stream that does not go on."""

    async def script(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        for event in as_events(*chunks, is_whole=False):
            await reply.chunk(event)
        await reply.stall()

    return script


async def items_of(ann: Caller, conversation_id: str | None = None) -> list[tuple[Any, ...]]:
    """Tell in short what the one conversation holds."""
    if conversation_id is None:
        [row] = await fetch("SELECT id FROM conversation")
        conversation_id = row["id"]
    return brief(await kept(ann, {"conversation_id": conversation_id}))


async def until_kept(count: int) -> None:
    """Wait until there are so many items."""
    deadline_s = time.monotonic() + 5
    while (await rows())[1] < count:
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (WORDS, [("assistant", "Hello", "incomplete")]),
        (
            [delta(reasoning="hm")],
            [("reasoning", "hm", "incomplete"), ("assistant", "", "incomplete")],
        ),
        (
            CALLS,
            [
                ("assistant", "Wait.", "completed"),
                ("function_call", '{"a":1}', "incomplete"),
                ("function_call", '{"b"', "incomplete"),
            ],
        ),
        ([*WORDS, end()], [("assistant", "Hello", "completed")]),
        ([*WORDS, END_ALONE], [("assistant", "Hello", "completed")]),
    ],
)
async def test_who_leaves_mid_stream_finds_what_had_come(  # noqa: PLR0913, PLR0917 - as many as there are cases
    client: httpx.AsyncClient,
    gateway: Gateway,
    ann: Caller,
    upstream: FakeUpstream,
    chunks: list[dict[str, Any]],
    expected: list[tuple[str, str, str]],
) -> None:
    upstream.script(CHAT, begins(*chunks))

    async with client.stream("POST", PATH, json=streams(store_reasoning=True)) as answer:
        heard = b""
        async for part in answer.aiter_bytes():
            heard += part
            if as_event(chunks[-1]) in heard:
                break
    left_s = time.monotonic()
    await until(lambda: upstream.aborts_s)
    await until_kept(1 + len(expected))

    assert upstream.aborts_s[0] - left_s < LIMIT_S
    [metadata, *_] = parsed(heard)
    said = await kept(ann, metadata)
    assert brief(said) == [("user", "hi", "completed"), *expected]
    assert metadata["completion_item_id"] in {item["id"] for item in said}
    await until(lambda: gateway.rows)
    assert (gateway.rows[0].status, gateway.rows[0].error_code) == (499, "client_closed_request")


@pytest.mark.parametrize("is_stream", [True, False])
async def test_who_leaves_before_the_answer_has_said_it_all_the_same(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, is_stream: bool
) -> None:
    async def think_for_ever(_: Seen, reply: Reply) -> None:
        await reply.stall()

    upstream.script(CHAT, think_for_ever)
    asking = asyncio.create_task(client.post(PATH, json=asks(stream=is_stream)))
    await until(lambda: upstream.running)
    asking.cancel()
    await asyncio.wait([asking])
    await until_kept(2)

    assert await items_of(ann) == [("user", "hi", "completed"), ("assistant", "", "incomplete")]
    [row] = await fetch("SELECT id FROM conversation")
    upstream.script(CHAT, says(delta(content="ok"), end()))
    await told(client, streams(user("Still there?"), conversation=row["id"]))
    assert upstream.requests[-1].json["messages"] == [user("hi"), user("Still there?")]


async def test_an_upstream_that_closes_mid_call_has_failed(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.script(CHAT, says(*CALLS, is_whole=False))

    answer = await client.post(PATH, json=streams())

    [metadata, *_, last] = parsed(answer.content)
    assert last["error"]["code"] == "upstream_error"
    assert DONE not in answer.content
    assert brief(await kept(ann, metadata)) == [
        ("user", "hi", "completed"),
        ("assistant", "Wait.", "completed"),
        ("function_call", '{"a":1}', "failed"),
        ("function_call", '{"b"', "failed"),
    ]
    assert gateway.rows[0].status == 502


async def test_calls_that_were_cut_are_not_given_to_the_model_again(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, says(*CALLS, is_whole=False))
    metadata = await told(client, streams())
    upstream.script(CHAT, says(delta(content="ok"), end()))

    await told(client, streams(user("Again?"), conversation=metadata["conversation_id"]))

    assert upstream.requests[-1].json["messages"] == [
        user("hi"),
        {"role": "assistant", "content": "Wait."},
        user("Again?"),
    ]


async def test_an_upstream_that_is_killed_has_failed(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, begins(*WORDS))

    async with client.stream("POST", PATH, json=streams()) as answer:
        heard = b""
        async for part in answer.aiter_bytes():
            heard += part
            if as_event(WORDS[-1]) in heard and upstream.running:
                await upstream.kill()

    [metadata, *_, last] = parsed(heard)
    assert last["error"]["code"] == "upstream_error"
    assert await items_of(ann, metadata["conversation_id"]) == [
        ("user", "hi", "completed"),
        ("assistant", "Hello", "failed"),
    ]


@pytest.mark.parametrize("is_done", [True, False])
async def test_an_error_of_the_model_servers_own_passes_and_has_failed(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, is_done: bool
) -> None:
    error = {"error": {"message": "out of memory", "type": "InternalServerError", "code": 500}}
    upstream.script(CHAT, says(*WORDS, error, is_whole=is_done))

    answer = await client.post(PATH, json=streams())

    assert answer.content.endswith(as_event(error) + (DONE if is_done else b""))
    [metadata, *_] = parsed(answer.content)
    assert await items_of(ann, metadata["conversation_id"]) == [
        ("user", "hi", "completed"),
        ("assistant", "Hello", "failed"),
    ]


async def test_an_end_without_its_mark_leaves_the_answer_whole(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, says(*WORDS, end(), is_whole=False))

    answer = await client.post(PATH, json=streams())

    [metadata, *_, last] = parsed(answer.content)
    assert last["error"]["code"] == "upstream_error"
    said = await items_of(ann, metadata["conversation_id"])
    assert said[1] == ("assistant", "Hello", "completed")


async def test_shutting_down_keeps_what_had_come(
    client: httpx.AsyncClient, gateway: Gateway, ann: Caller, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, begins(*WORDS))

    async with client.stream("POST", PATH, json=streams()) as answer:
        heard = b""
        async for part in answer.aiter_bytes():
            heard += part
            if as_event(WORDS[-1]) in heard:
                gateway.front.passages.cut()

    [metadata, *_, last] = parsed(heard)
    assert last["error"]["code"] == "shutting_down"
    assert await items_of(ann, metadata["conversation_id"]) == [
        ("user", "hi", "completed"),
        ("assistant", "Hello", "incomplete"),
    ]


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_prompt_that_is_too_long_is_refused_and_leaves_nothing(
    client: httpx.AsyncClient, upstream: FakeUpstream, is_stream: bool
) -> None:
    await execute(
        "INSERT INTO conversation (id, project_id, owner_id) VALUES ('conv_1', $1, 'user_ann')",
        PROJECT,
    )
    words = "This model's maximum context length is 8192 tokens. However, you requested 9000."

    async def refuse(_: Seen, reply: Reply) -> None:
        error = {"message": words, "type": "BadRequestError", "param": None, "code": 400}
        await reply.json({"error": error}, 400)

    upstream.script(CHAT, refuse)
    for more in ({}, {"conversation": "conv_1"}):
        answer = await client.post(PATH, json=asks(user("two"), stream=is_stream, **more))
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "context_length_exceeded"

    assert await rows() == (1, 0)
    assert (await fetch("SELECT title FROM conversation"))[0]["title"] is None


async def test_a_model_server_that_is_away_leaves_nothing(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    await upstream.kill()

    answer = await client.post(PATH, json=streams())

    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert await rows() == (0, 0)


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{", b'{"choices":[]}', b'{"a":1}'])
async def test_an_answer_that_is_none_leaves_nothing(
    client: httpx.AsyncClient, upstream: FakeUpstream, body: bytes
) -> None:
    async def answer_nonsense(_: Seen, reply: Reply) -> None:
        await reply.whole(body)

    upstream.script(CHAT, answer_nonsense)
    answer = await client.post(PATH, json=asks())

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    assert await rows() == (0, 0)


async def test_taking_back_spares_what_others_have_said_meanwhile(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    async def talk_and_refuse(_: Seen, reply: Reply) -> None:
        if len(upstream.requests) > 1:
            await reply.json({"choices": [{"message": {"content": "second"}}]})
            return
        [row] = await fetch("SELECT id FROM conversation")
        await told(client, asks(user("two"), conversation=row["id"]))
        await reply.json({"error": {"message": "no"}}, 400)

    upstream.script(CHAT, talk_and_refuse)
    answer = await client.post(PATH, json=asks(user("one")))

    assert answer.status_code == 400
    assert await items_of(ann) == [
        ("user", "two", "completed"),
        ("assistant", "second", "completed"),
    ]


async def test_who_leaves_while_the_answer_is_kept_finds_it_once_and_whole(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, database: Database
) -> None:
    may_end = asyncio.Event()

    async def wait(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(b"".join(as_events(*WORDS, end(), is_whole=False)))
        await may_end.wait()
        await reply.chunk(DONE)
        await reply.end()

    upstream.script(CHAT, wait)
    async with client.stream("POST", PATH, json=streams()) as answer:
        [metadata, *_] = parsed(await anext(answer.aiter_bytes()))
        held = locking(database, "SELECT FROM conversation FOR UPDATE")
        connection = await held.__aenter__()
        may_end.set()
        await until_blocked(connection)
    await asyncio.sleep(0)
    await held.__aexit__(None, None, None)
    await until_kept(2)

    assert await items_of(ann, metadata["conversation_id"]) == [
        ("user", "hi", "completed"),
        ("assistant", "Hello", "completed"),
    ]


async def test_a_conversation_that_is_deleted_meanwhile_stays_so(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    async def delete_and_end(_: Seen, reply: Reply) -> None:
        await execute("DELETE FROM conversation")
        await reply.events(as_events(*WORDS, end()))

    upstream.script(CHAT, delete_and_end)
    answer = await client.post(PATH, json=streams())

    assert answer.content.endswith(DONE)
    assert await rows() == (0, 0)


@pytest.mark.parametrize("is_stream", [True, False])
async def test_an_answer_that_can_not_be_kept_is_not_told_to_be_done(
    client: httpx.AsyncClient,
    upstream: FakeUpstream,
    monkeypatch: pytest.MonkeyPatch,
    is_stream: bool,
) -> None:
    async def lose_the_database(_: Seen, reply: Reply) -> None:
        monkeypatch.setattr(PICCOLO, "database", None)
        if is_stream:
            await reply.events(as_events(*WORDS, end()))
        else:
            await reply.json({"choices": [{"message": {"content": "a"}}], "model": MODEL})

    upstream.script(CHAT, lose_the_database)
    answer = await client.post(PATH, json=asks(stream=is_stream))
    monkeypatch.undo()

    assert DONE not in answer.content
    said = parsed(answer.content)[-1] if is_stream else answer.json()
    assert said["error"]["code"] == "database_unavailable"
    assert answer.status_code == (200 if is_stream else 503)
