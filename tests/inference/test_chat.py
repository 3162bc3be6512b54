"""Chat completions read as decoded chunks."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from jan.errors import ModelLoading, ModelNotFound, UpstreamError
from jan.inference.chat import Chat
from jan.inference.chunks import Chunk
from jan.inference.fleet import Fleet
from jan.inference.registry import Registry, Served
from jan.inference.upstream import Refused
from jan.telemetry import Exchange
from tests.fakes import DONE, MODEL, FakeUpstream, Reply, Script, Seen, chat_chunk, chat_events
from tests.gateways import CALLER, endpoint, until, upstream

__all__ = ["upstream"]

PATH = "/v1/chat/completions"
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


@dataclass
class Asking:
    """Who asks, and of whom."""

    fleet: Fleet
    doubts: list[str]


@pytest.fixture
async def asking(upstream: FakeUpstream) -> AsyncIterator[Asking]:
    """The fake, as the registry has it."""
    fleet, doubts = Fleet(connect_timeout_s=2), list[str]()
    fleet.doubted = doubts.append
    fleet.apply(Registry([endpoint(upstream.url, served=(Served(MODEL),))]))
    fleet.instances["ep_1"].condition.good()
    yield Asking(fleet, doubts)
    fleet.close()


@pytest.fixture
def chat(asking: Asking) -> Chat:
    """What is tested."""
    return Chat(asking.fleet)


def _exchange() -> Exchange:
    return Exchange("req_1", "POST", PATH, caller=CALLER)


async def texts(chat: Chat) -> list[str | None]:
    """Read a stream to its end."""
    found: list[str | None] = []
    async with chat.stream(ASK, _exchange()) as batches:
        async for batch in batches:
            found += [c.choices[0].delta.content for c in batch if c.choices and c.choices[0].delta]
    return found


def says(*events: bytes) -> Script:
    """Script a stream."""

    async def script(_: Seen, reply: Reply) -> None:
        await reply.events(events)

    return script


async def test_a_stream_is_asked_for_with_its_tokens(chat: Chat, upstream: FakeUpstream) -> None:
    async with chat.stream(ASK, _exchange(), headers=[(b"x-own", b"1")]) as batches:
        said = [chunk async for batch in batches for chunk in batch]

    assert said[-1].usage
    assert (said[-1].usage.prompt_tokens, said[-1].usage.cached_tokens) == (11, 4)
    [seen] = upstream.requests
    assert seen.json == ASK | {"stream": True, "stream_options": {"include_usage": True}}
    assert (seen.headers["x-request-id"], seen.headers["x-own"]) == ("req_1", "1")


async def test_a_whole_answer(chat: Chat) -> None:
    answer = await chat.whole(ASK, _exchange())

    assert answer.choices
    assert answer.choices[0].message
    assert answer.choices[0].message.content == "Hello there!"


async def test_a_connection_is_used_again_after_a_stream(
    chat: Chat, upstream: FakeUpstream
) -> None:
    for _ in range(3):
        await texts(chat)

    assert upstream.connections == 1


async def test_leaving_ends_the_work(chat: Chat, upstream: FakeUpstream) -> None:
    async def talk_for_ever(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        while True:
            await reply.chunk(chat_chunk("a"))
            await asyncio.sleep(0.002)

    upstream.script(PATH, talk_for_ever)
    async with chat.stream(ASK, _exchange()) as batches:
        await anext(batches)

    await until(lambda: upstream.aborts_s)


async def test_what_came_before_an_error_in_the_same_piece_is_read(
    chat: Chat, upstream: FakeUpstream
) -> None:
    error = b'data: {"error": {"message": "oom", "code": 507}}\n\n'
    upstream.script(PATH, says(chat_chunk("a") + error + DONE))
    found: list[Chunk] = []
    with pytest.raises(Refused) as caught:
        async with chat.stream(ASK, _exchange()) as batches:
            async for batch in batches:
                found += batch

    assert len(found) == 1
    assert (caught.value.status, caught.value.message) == (507, "oom")


@pytest.mark.parametrize("error", [b'"overloaded"', b'{"message": "m", "code": "busy"}', b"{}"])
async def test_errors_of_any_shape_end_a_stream(
    chat: Chat, upstream: FakeUpstream, error: bytes
) -> None:
    upstream.script(PATH, says(b'data: {"error": %b}\n\n' % error, DONE))
    with pytest.raises(Refused) as caught:
        await texts(chat)

    assert caught.value.status == 500


async def test_comments_and_fields_that_are_null_are_no_errors(
    chat: Chat, upstream: FakeUpstream
) -> None:
    upstream.script(PATH, says(b": ping\n\n", chat_chunk("a", error=None), DONE))

    assert await texts(chat) == ["a"]


async def test_a_stream_whose_body_goes_on_after_its_end_is_over(
    chat: Chat, upstream: FakeUpstream
) -> None:
    async def hold_on(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        for event in chat_events("a", usage=True):
            await reply.chunk(event)
        await reply.stall()

    upstream.script(PATH, hold_on)
    async with asyncio.timeout(2):
        assert "a" in await texts(chat)


async def test_a_stream_that_breaks_off_is_an_error(
    chat: Chat, upstream: FakeUpstream, asking: Asking
) -> None:
    upstream.script(PATH, says(chat_chunk("a")))
    with pytest.raises(UpstreamError):
        await texts(chat)

    assert asking.doubts


async def test_an_answer_in_one_piece_is_no_stream(chat: Chat, upstream: FakeUpstream) -> None:
    async def answer(_: Seen, reply: Reply) -> None:
        await reply.json({"choices": []})

    upstream.script(PATH, answer)
    with pytest.raises(UpstreamError):
        await texts(chat)
    with pytest.raises(UpstreamError):
        await chat.whole(ASK, _exchange())


async def test_a_refusal_casts_no_doubt_on_the_server(
    chat: Chat, upstream: FakeUpstream, asking: Asking
) -> None:
    async def refuse(_: Seen, reply: Reply) -> None:
        await reply.json({"error": {"message": "no"}}, 400)

    upstream.script(PATH, refuse)
    with pytest.raises(Refused):
        await texts(chat)

    assert not asking.doubts


async def test_a_server_that_is_away_is_in_doubt(
    chat: Chat, upstream: FakeUpstream, asking: Asking
) -> None:
    await upstream.kill()
    with pytest.raises(ModelLoading):
        await chat.whole(ASK, _exchange())

    assert asking.doubts


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("This model's maximum context length is 5 tokens.", "context_length_exceeded"),
        ("Bad.", "invalid_request"),
    ],
)
async def test_too_long_a_prompt_has_a_code_of_its_own(
    chat: Chat, upstream: FakeUpstream, message: str, code: str
) -> None:
    async def refuse(_: Seen, reply: Reply) -> None:
        await reply.json({"error": {"message": message, "code": 400}}, 400)

    upstream.script(PATH, refuse)
    with pytest.raises(Refused) as caught:
        await chat.whole(ASK, _exchange())

    assert caught.value.code == code


async def test_models_are_those_of_the_catalog(chat: Chat, asking: Asking) -> None:
    assert chat.model(MODEL, CALLER).id == MODEL
    asking.fleet.turned("ep_1")
    with pytest.raises(ModelNotFound):
        chat.model(MODEL, replace(CALLER, allowed_models=frozenset({"other"})))
    asking.fleet.instances["ep_1"].condition.bad("nobody listens", is_gone=True)
    asking.fleet.turned("ep_1")
    with pytest.raises(ModelLoading):
        chat.model(MODEL, CALLER)
