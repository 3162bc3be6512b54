"""The official `openai` client against `/v1/conv`: OpenAI's chat, with Jan's memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from jan.conversations import record
from tests.conv.talks import CHAT, says
from tests.fakes import MODEL, FakeUpstream
from tests.responses.chats import call, delta, end
from tests.tenants import Tenants

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]


@pytest.fixture
async def sdk(tenants: Tenants) -> AsyncIterator[openai.AsyncOpenAI]:
    """The asynchronous client of somebody in a project, with their key."""
    async with openai.AsyncOpenAI(
        api_key=tenants.a.project_key.secret,
        base_url=f"{tenants.gateway.url}/v1/conv",
        max_retries=0,
        timeout=5,
    ) as sdk:
        yield sdk


def metadata_of(answer: object) -> dict[str, Any]:
    """What Jan says beside OpenAI's fields."""
    return cast("Any", answer).metadata


async def kept(tenants: Tenants, conversation_id: str) -> list[dict[str, Any]]:
    """What the conversation holds."""
    caller = await tenants.caller(tenants.a.project_key)
    return await record.history(caller, conversation_id)


async def test_a_conversation_goes_on(
    sdk: openai.AsyncOpenAI, tenants: Tenants, upstream: FakeUpstream
) -> None:
    first = await sdk.chat.completions.create(model=MODEL, messages=HI, store=True)
    metadata = metadata_of(first)
    second = await sdk.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "and?"}],
        store=True,
        extra_body={"conversation": metadata["conversation_id"], "store_reasoning": True},
    )

    assert first.choices[0].message.content == "Hello there!"
    assert first.usage
    assert first.usage.total_tokens == 14
    said = await kept(tenants, metadata["conversation_id"])
    assert [item["role"] for item in said] == ["user", "assistant"] * 2
    assert [first.id, second.id] == [said[1]["id"], said[3]["id"]]
    assert [m["content"] for m in upstream.requests[1].json["messages"]] == [
        *("hi", "Hello there!", "and?"),
    ]


async def test_a_stream_is_read_as_any_other(sdk: openai.AsyncOpenAI, tenants: Tenants) -> None:
    stream = await sdk.chat.completions.create(model=MODEL, messages=HI, store=True, stream=True)
    first, *chunks = [chunk async for chunk in stream]

    words = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    told = cast("Any", first)
    assert "".join(words) == "Hello there!"
    assert first.choices == []
    assert told.object == "chat.completion.metadata"
    said = await kept(tenants, told.conversation_id)
    assert [item["id"] for item in said] == [told.ask_item_id, told.completion_item_id]


async def test_the_streaming_helper_puts_calls_together(
    sdk: openai.AsyncOpenAI, tenants: Tenants, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, says(call(0, '{"a":', "add"), call(0, "1}"), end("tool_calls")))

    async with sdk.chat.completions.stream(model=MODEL, messages=HI, store=True) as stream:
        answer = await stream.get_final_completion()

    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    assert choice.message.tool_calls[0].function.arguments == '{"a":1}'


async def test_a_failure_in_the_middle_is_raised(
    sdk: openai.AsyncOpenAI, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, says(delta(content="Hel"), is_whole=False))

    stream = await sdk.chat.completions.create(model=MODEL, messages=HI, store=True, stream=True)
    with pytest.raises(openai.APIError) as failed:
        _ = [chunk async for chunk in stream]

    assert failed.value.code == "upstream_error"


async def test_an_unknown_conversation_is_not_found(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as failed:
        await sdk.chat.completions.create(
            model=MODEL, messages=HI, extra_body={"conversation": "conv_0"}
        )

    assert failed.value.code == "not_found"


async def test_models_are_listed(sdk: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in sdk.models.list()] == [MODEL]


async def test_the_synchronous_client_does_the_same(tenants: Tenants) -> None:
    def ask() -> ChatCompletion:
        with openai.OpenAI(
            api_key=tenants.a.project_key.secret,
            base_url=f"{tenants.gateway.url}/v1/conv",
            max_retries=0,
            timeout=5,
        ) as sdk:
            return sdk.chat.completions.create(model=MODEL, messages=HI, store=True)

    answer = await asyncio.to_thread(ask)

    assert answer.choices[0].message.content == "Hello there!"
    assert answer.id == metadata_of(answer)["completion_item_id"]
