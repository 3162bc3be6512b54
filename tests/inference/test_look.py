"""One look at an instance: what it may answer, and what is made of that."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from jan.inference.client import Client
from jan.inference.look import MAX_ANSWER_BYTES, MAX_MODELS, Busy, Unwell, look
from jan.inference.registry import Endpoint, Served
from tests.fakes import MODEL, FakeUpstream, Reply, Seen, fake_upstream

SECRET = "sk-provider-secret"


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with fake_upstream() as fake:
        yield fake


async def seen(upstream: FakeUpstream, *, timeout_s: float = 5, **more: Any) -> tuple[Served, ...]:
    client = Client(upstream.url, connect_timeout_s=1)
    try:
        return await look(
            client, Endpoint(id="ep_1", url=upstream.url, **more), timeout_s=timeout_s
        )
    finally:
        client.close()


def answering(value: Any, status: int = 200) -> Any:
    async def script(_: Seen, reply: Reply) -> None:
        if isinstance(value, bytes):
            await reply.whole(value, status)
        else:
            await reply.json(value, status)

    return script


async def test_it_tells_its_models(upstream: FakeUpstream) -> None:
    assert await seen(upstream) == (Served(MODEL, 1, "vllm", 8192),)


async def test_the_key_goes_along(upstream: FakeUpstream) -> None:
    sent: list[str] = []

    async def script(seen: Seen, reply: Reply) -> None:
        sent.append(seen.headers["authorization"])
        await reply.json({"data": [{"id": "m"}]})

    upstream.script("/v1/models", script)
    await seen(upstream, api_key=SECRET)

    assert sent == [f"Bearer {SECRET}"]


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("api_key", [SECRET, None])
async def test_a_wrong_key_is_said_in_words_and_not_repeated(
    upstream: FakeUpstream, status: int, api_key: str | None
) -> None:
    upstream.script("/v1/models", answering({"error": {"message": f"bad {SECRET}"}}, status))

    with pytest.raises(Unwell) as unwell:
        await seen(upstream, api_key=api_key)

    wanted = "it refuses the API key" if api_key else "it wants an API key"
    assert unwell.value.words == f"{wanted} (status {status})"
    assert unwell.value.is_gone
    assert unwell.value.is_settled


async def test_one_that_has_no_time_is_neither_well_nor_unwell(upstream: FakeUpstream) -> None:
    upstream.script("/v1/models", answering({}, 429))

    with pytest.raises(Busy):
        await seen(upstream)


async def test_one_that_lists_nothing_has_the_models_that_are_named_for_it(
    upstream: FakeUpstream,
) -> None:
    upstream.script("/v1/models", answering({}, 404))

    with pytest.raises(Unwell, match="does not list"):
        await seen(upstream)
    found = await seen(upstream, only_models=("a", "b"), provider="acme")

    assert [(model.id, model.owned_by) for model in found] == [("a", "acme"), ("b", "acme")]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>Welcome</html>",
        b"[]",
        b'{"data": "no"}',
        b'{"data": null}',
        b'{"models": []}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"data": [' + b"[" * 100_000,
    ],
)
async def test_what_is_no_list_of_models_is_away(upstream: FakeUpstream, answer: bytes) -> None:
    upstream.script("/v1/models", answering(answer))

    with pytest.raises(Unwell, match="can't be read"):
        await seen(upstream)


@pytest.mark.parametrize(
    "data",
    [
        [],
        [1, None, "m", [], {}],
        [{"id": None}, {"id": 7}, {"id": ""}, {"id": "x" * 10_000}],
        [{"id": "a\x00b"}, {"id": "a\nb"}],
    ],
)
async def test_who_has_no_model_that_could_be_asked_for_is_away(
    upstream: FakeUpstream, data: list[Any]
) -> None:
    upstream.script("/v1/models", answering({"data": data}))

    with pytest.raises(Unwell, match="has no model") as unwell:
        await seen(upstream)
    assert unwell.value.is_gone


async def test_of_a_strange_list_is_taken_what_can_be_read(upstream: FakeUpstream) -> None:
    strange = b"""{"data": [
        {"id": "half \\ud800"}, 7,
        {"id": "a", "created": 1e999, "owned_by": ["x"], "max_model_len": -5},
        {"id": "a", "created": 2.5, "owned_by": "acme", "context_window": 100},
        {"id": "b", "created": true, "max_model_len": "long", "context_length": 7,
         "capabilities": {"vision": true}},
        {"id": "c", "capabilities": ["chat", "tools", "time travel", 7]}
    ]}"""
    upstream.script("/v1/models", answering(strange))

    found = await seen(upstream)

    assert found == (
        Served("a", 2, "acme", 100),
        Served("b", 0, "jan", 7),
        Served("c", 0, "jan", None, ("chat", "tools")),
    )


async def test_of_a_huge_list_no_more_is_read_than_is_bearable(upstream: FakeUpstream) -> None:
    many = [{"id": f"m{number}"} for number in range(MAX_MODELS + 50)]
    upstream.script("/v1/models", answering({"data": many}))
    assert len(await seen(upstream)) == MAX_MODELS

    async def endless(_: Seen, reply: Reply) -> None:
        await reply.head()
        for _number in range(4 * MAX_ANSWER_BYTES // 65_536):
            await reply.chunk(b" " * 65_536)
        await reply.stall()

    upstream.script("/v1/models", endless)
    with pytest.raises(Unwell, match="too long"):
        await seen(upstream)


async def test_one_that_says_nothing_is_not_waited_for(upstream: FakeUpstream) -> None:
    async def stall(_: Seen, reply: Reply) -> None:
        await reply.stall()

    upstream.script("/v1/models", stall)

    with pytest.raises(Unwell, match=r"no answer within 0\.05 s") as unwell:
        await seen(upstream, timeout_s=0.05)
    assert not unwell.value.is_gone


async def test_where_nobody_listens_it_is_gone(upstream: FakeUpstream) -> None:
    await upstream.kill()

    with pytest.raises(Unwell) as unwell:
        await seen(upstream)

    assert unwell.value.is_gone
    assert not unwell.value.is_settled


async def test_one_that_breaks_off_is_unwell(upstream: FakeUpstream) -> None:
    async def die(_: Seen, reply: Reply) -> None:
        reply.die()

    upstream.script("/v1/models", die)

    with pytest.raises(Unwell) as unwell:
        await seen(upstream)

    assert not unwell.value.is_gone
