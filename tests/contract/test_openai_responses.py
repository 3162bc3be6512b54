"""The official `openai` client against `/v1/responses`: both clients, streams, parsing."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import pydantic_function_tool
from openai.types.responses import FunctionToolParam
from pydantic import BaseModel

from tests.fakes import MODEL, FakeUpstream, Reply, Script, Seen
from tests.gateways import KEY, Gateway
from tests.responses.chats import as_event, as_events, call, delta, end, usage

CHAT = "/v1/chat/completions"
ADD: FunctionToolParam = {
    "type": "function",
    "name": "add",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    "strict": True,
}


class Sum(BaseModel):
    """A structured answer."""

    total: int


@pytest.fixture
async def sdk(gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """The asynchronous client, that asks once only."""
    async with openai.AsyncOpenAI(
        api_key=KEY, base_url=f"{gateway.url}/v1", max_retries=0, timeout=5
    ) as sdk:
        yield sdk


def says(*chunks: dict[str, Any]) -> Script:
    """Script an answer, streamed or in one piece."""

    async def script(seen: Seen, reply: Reply) -> None:
        if seen.json.get("stream"):
            await reply.events(as_events(*chunks, usage()))
            return
        message: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": []}
        reason = "stop"
        for chunk in chunks:
            [choice] = chunk["choices"]
            message["content"] += choice["delta"].get("content") or ""
            message["tool_calls"] += choice["delta"].get("tool_calls", [])
            reason = choice["finish_reason"] or reason
        choice = {"index": 0, "message": message, "finish_reason": reason}
        await reply.json({"choices": [choice], "usage": usage()["usage"]})

    return script


async def test_a_response(sdk: openai.AsyncOpenAI) -> None:
    response = await sdk.responses.create(model=MODEL, input="hi", store=False)

    assert response.output_text == "Hello there!"
    assert response.status == "completed"
    assert response.usage
    assert response.usage.total_tokens == 14


async def test_a_streamed_response(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.responses.create(model=MODEL, input="hi", store=False, stream=True)
    events = [event async for event in stream]

    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type == "response.completed"
    assert text == last.response.output_text == "Hello there!"


async def test_the_streaming_helper_puts_the_response_together(sdk: openai.AsyncOpenAI) -> None:
    async with sdk.responses.stream(model=MODEL, input="hi", store=False) as stream:
        kinds = [event.type async for event in stream]
        response = await stream.get_final_response()

    assert response.output_text == "Hello there!"
    assert kinds[0] == "response.created"


async def test_the_synchronous_client(gateway: Gateway) -> None:
    def ask() -> tuple[str, str]:
        with openai.OpenAI(api_key=KEY, base_url=f"{gateway.url}/v1", max_retries=0) as sdk:
            whole = sdk.responses.create(model=MODEL, input="hi", store=False)
            with sdk.responses.stream(model=MODEL, input="hi", store=False) as stream:
                streamed = stream.get_final_response()
            return whole.output_text, streamed.output_text

    assert await asyncio.to_thread(ask) == ("Hello there!", "Hello there!")


async def test_a_parsed_response(sdk: openai.AsyncOpenAI, upstream: FakeUpstream) -> None:
    upstream.script(CHAT, says(delta(content='{"total": 4}'), end()))
    response = await sdk.responses.parse(model=MODEL, input="2+2", store=False, text_format=Sum)

    assert response.output_parsed == Sum(total=4)
    shape = upstream.requests[0].json["response_format"]
    assert shape["json_schema"]["strict"] is True
    assert shape["json_schema"]["schema"]["required"] == ["total"]


async def test_a_parsed_stream(sdk: openai.AsyncOpenAI, upstream: FakeUpstream) -> None:
    upstream.script(CHAT, says(delta(content='{"total"'), delta(content=": 4}"), end()))
    async with sdk.responses.stream(
        model=MODEL, input="2+2", store=False, text_format=Sum
    ) as stream:
        response = await stream.get_final_response()

    assert response.output_parsed == Sum(total=4)


async def test_a_parsed_function_call(sdk: openai.AsyncOpenAI, upstream: FakeUpstream) -> None:
    tool = pydantic_function_tool(Sum)["function"]
    upstream.script(CHAT, says(call(0, '{"total": 4}', "Sum"), end("tool_calls")))
    response = await sdk.responses.parse(
        model=MODEL,
        input="2+2",
        store=False,
        tools=[
            {
                "type": "function",
                "name": tool["name"],
                "parameters": tool.get("parameters"),
                "strict": True,
            }
        ],
    )

    [item] = response.output
    assert item.type == "function_call"
    assert item.parsed_arguments == {"total": 4}


async def test_a_turn_with_tools(sdk: openai.AsyncOpenAI, upstream: FakeUpstream) -> None:
    """The loop that every agent runs: output items go back as input, with what the tools said."""
    upstream.script(
        CHAT,
        says(
            delta(reasoning="hm"),
            call(0, '{"a": 1}', "add"),
            call(1, '{"a": 2}', "sub"),
            end("tool_calls"),
        ),
    )
    said: list[Any] = [{"role": "user", "content": "add"}]
    async with sdk.responses.stream(
        model=MODEL, input=said, store=False, tools=[ADD, {**ADD, "name": "sub"}]
    ) as stream:
        first = await stream.get_final_response()
    said += [item.to_dict() for item in first.output]
    said += [
        {"type": "function_call_output", "call_id": item.call_id, "output": "4"}
        for item in first.output
        if item.type == "function_call"
    ]
    upstream.script(CHAT, says(delta(content="4"), end()))
    second = await sdk.responses.create(model=MODEL, input=said, store=False, tools=[ADD])

    assert second.output_text == "4"
    read = upstream.requests[-1].json["messages"]
    assert [message["role"] for message in read] == ["user", "assistant", "tool", "tool"]
    assert read[1]["reasoning"] == "hm"
    assert [one["function"]["name"] for one in read[1]["tool_calls"]] == ["add", "sub"]


async def test_a_conversation_that_the_client_keeps(
    sdk: openai.AsyncOpenAI, upstream: FakeUpstream
) -> None:
    first = await sdk.responses.create(model=MODEL, input="hi", store=False)
    said: list[Any] = [{"role": "user", "content": "hi"}]
    said += [item.to_dict() for item in first.output]
    said.append({"role": "user", "content": "again"})
    await sdk.responses.create(model=MODEL, input=said, store=False, instructions="Be brief.")

    assert upstream.requests[-1].json["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello there!"},
        {"role": "user", "content": "again"},
    ]


async def test_parameters_of_the_model_servers_own_pass(
    sdk: openai.AsyncOpenAI, upstream: FakeUpstream
) -> None:
    await sdk.responses.create(
        model=MODEL, input="hi", store=False, extra_body={"top_k": 3, "stop": ["x"]}
    )

    body = upstream.requests[0].json
    assert (body["top_k"], body["stop"]) == (3, ["x"])


async def test_counting_tokens(sdk: openai.AsyncOpenAI) -> None:
    counted = await sdk.responses.input_tokens.count(model=MODEL, input="hi", instructions="x")

    assert (counted.object, counted.input_tokens) == ("response.input_tokens", 2)


async def test_an_incomplete_response(sdk: openai.AsyncOpenAI, upstream: FakeUpstream) -> None:
    upstream.script(CHAT, says(delta(content="Hel"), end("length")))
    response = await sdk.responses.create(model=MODEL, input="hi", store=False, max_output_tokens=1)

    assert response.status == "incomplete"
    assert response.incomplete_details
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output_text == "Hel"


async def test_errors_are_raised_by_kind(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await sdk.responses.create(model="other", input="hi", store=False)
    with pytest.raises(openai.BadRequestError) as wrong:
        await sdk.responses.create(
            model=MODEL,
            input=[{"role": "user", "content": [{"type": "nonsense"}]}],  # pyright: ignore[reportArgumentType] - on purpose
            store=False,
        )

    assert unknown.value.code == "model_not_found"
    assert wrong.value.param == "input[0].content[0].type"


async def test_a_stream_that_breaks_tells_so(
    sdk: openai.AsyncOpenAI, upstream: FakeUpstream
) -> None:
    async def break_off(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(as_event(delta(content="Hel")))
        reply.die()

    upstream.script(CHAT, break_off)
    stream = await sdk.responses.create(model=MODEL, input="hi", store=False, stream=True)
    last = [event async for event in stream][-1]

    assert last.type == "response.failed"
    assert last.response.error
    assert last.response.error.code == "server_error"
    assert last.response.output_text == "Hel"
    assert json.loads(last.to_json())["response"]["output"][0]["status"] == "incomplete"
