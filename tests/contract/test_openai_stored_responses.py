"""The official `openai` client on responses that are stored: go on, read, list, compact, delete."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai.pagination import AsyncCursorPage
from openai.types.responses import Response, ResponseItem
from pydantic import BaseModel, TypeAdapter

from jan.db.engine import Database
from tests.conversations.owners import new_conversation
from tests.fakes import MODEL, FakeUpstream, Reply, Seen
from tests.responses.chats import as_events, call, delta, end, usage
from tests.responses.stored import Served, serving

CHAT = "/v1/chat/completions"

_item: TypeAdapter[ResponseItem] = TypeAdapter(ResponseItem)


class Sum(BaseModel):
    """A structured answer."""

    total: int


@pytest.fixture
async def served(database: Database, upstream: FakeUpstream) -> AsyncIterator[Served]:
    """A gateway before a database, and two people."""
    async with serving(upstream) as served:
        yield served


@pytest.fixture
async def sdk(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    """Ann's client, that asks once only."""
    base_url = f"{served.gateway.url}/v1"
    async with openai.AsyncOpenAI(
        api_key="ann", base_url=base_url, max_retries=0, timeout=10
    ) as sdk:
        yield sdk


async def test_a_response_is_read_as_it_was_given(sdk: openai.AsyncOpenAI) -> None:
    made = await sdk.responses.create(model=MODEL, input="hi", metadata={"a": "b"})
    read = await sdk.responses.retrieve(made.id, include=["message.output_text.logprobs"])

    assert read.to_dict() == made.to_dict()
    assert (read.output_text, read.metadata) == ("Hello there!", {"a": "b"})


async def test_a_streamed_response_is_read_as_its_last_event_told(sdk: openai.AsyncOpenAI) -> None:
    async with sdk.responses.stream(model=MODEL, input="hi") as stream:
        made = await stream.get_final_response()
    read = await sdk.responses.retrieve(made.id)

    assert read.output_text == made.output_text == "Hello there!"
    assert read.completed_at == made.completed_at
    assert read.usage == made.usage


async def test_a_parsed_response_is_stored_with_its_shape(
    sdk: openai.AsyncOpenAI, upstream: FakeUpstream
) -> None:
    async def add(_: Seen, reply: Reply) -> None:
        message = {"role": "assistant", "content": '{"total": 4}'}
        await reply.json({"choices": [{"message": message, "finish_reason": "stop"}]})

    upstream.script(CHAT, add)
    made = await sdk.responses.parse(model=MODEL, input="2+2", text_format=Sum)
    read = await sdk.responses.retrieve(made.id)

    assert made.output_parsed == Sum(total=4)
    assert read.text
    assert read.text.format
    assert read.text.format.type == "json_schema"
    properties: Any = read.text.format.schema_["properties"]
    assert list(properties) == ["total"]


async def test_a_chain_of_responses(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.responses.create(model=MODEL, input="one", instructions="Be brief.")
    second = await sdk.responses.create(
        model=MODEL, input="two", previous_response_id=first.id, stream=False
    )
    counted = await sdk.responses.input_tokens.count(
        model=MODEL, input="three", previous_response_id=second.id
    )

    assert second.previous_response_id == first.id
    assert counted.input_tokens == 5


async def test_a_turn_with_tools_sends_outputs_only(
    sdk: openai.AsyncOpenAI, upstream: FakeUpstream
) -> None:
    async def call_or_answer(seen: Seen, reply: Reply) -> None:
        roles = [message["role"] for message in seen.json["messages"]]
        chunks = (delta(content="4"), end()) if "tool" in roles else (call(0, "{}", "add"), end())
        await reply.events(as_events(*chunks, usage()))

    upstream.script(CHAT, call_or_answer)
    async with sdk.responses.stream(model=MODEL, input="add") as stream:
        first = await stream.get_final_response()
    [called] = first.output
    assert called.type == "function_call"
    async with sdk.responses.stream(
        model=MODEL,
        previous_response_id=first.id,
        input=[{"type": "function_call_output", "call_id": called.call_id, "output": "4"}],
    ) as stream:
        second = await stream.get_final_response()

    assert second.output_text == "4"


async def test_a_conversation(sdk: openai.AsyncOpenAI, served: Served) -> None:
    conversation_id = await new_conversation(served.ann)
    await sdk.responses.create(model=MODEL, input="one", conversation=conversation_id)
    made = await sdk.responses.create(
        model=MODEL, input="two", conversation={"id": conversation_id}
    )

    assert made.conversation
    assert made.conversation.id == conversation_id
    assert [content for _, content in served.read] == ["one", "Hello there!", "two"]


async def test_a_reference_to_an_item(sdk: openai.AsyncOpenAI, served: Served) -> None:
    made = await sdk.responses.create(model=MODEL, input="one")
    said: Any = [
        {"type": "item_reference", "id": made.output[0].id},
        {"role": "user", "content": "two"},
    ]
    await sdk.responses.create(model=MODEL, input=said)

    assert served.read == [("assistant", "Hello there!"), ("user", "two")]


async def test_input_items_are_paged_through(sdk: openai.AsyncOpenAI) -> None:
    said: Any = [
        {"role": "developer", "content": "d"},
        {"role": "user", "content": [{"type": "input_text", "text": "u"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "o"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "r"}]},
        {"role": "assistant", "content": "a"},
    ]
    made = await sdk.responses.create(model=MODEL, input=said)
    items = [item async for item in sdk.responses.input_items.list(made.id, limit=2)]
    upwards = await sdk.responses.input_items.list(made.id, order="asc", include=[])

    for item in items:
        _item.validate_python(item.to_dict())
    assert [item.type for item in items] == [
        *("message", "reasoning", "function_call_output", "function_call", "message", "message")
    ]
    assert [item.id for item in upwards.data] == [item.id for item in reversed(items)]
    assert (upwards.has_more, upwards.to_dict()["object"]) == (False, "list")


async def test_responses_are_paged_through(sdk: openai.AsyncOpenAI) -> None:
    """OpenAI has no such list; Jan's is one that its client could read."""
    made = [(await sdk.responses.create(model=MODEL, input="hi")).id for _ in range(3)]
    page = await sdk.get(
        "/responses", cast_to=AsyncCursorPage[Response], options={"params": {"limit": 2}}
    )

    assert [each.id for each in page.data] == made[:0:-1]
    assert page.has_more
    assert all(response.output_text == "Hello there!" for response in page.data)


async def test_a_deleted_response_is_gone(sdk: openai.AsyncOpenAI) -> None:
    made = await sdk.responses.create(model=MODEL, input="hi")
    await sdk.responses.delete(made.id)

    for ask in (sdk.responses.retrieve, sdk.responses.delete, sdk.responses.input_items.list):
        with pytest.raises(openai.NotFoundError) as missing:
            await ask(made.id)
        assert missing.value.code == "not_found"
    with pytest.raises(openai.NotFoundError) as broken:
        await sdk.responses.create(model=MODEL, input="hi", previous_response_id=made.id)
    assert broken.value.code == "previous_response_not_found"


async def test_a_conversation_is_compacted_and_gone_on_from(
    sdk: openai.AsyncOpenAI, served: Served
) -> None:
    made = await sdk.responses.create(model=MODEL, input="one")
    compacted = await sdk.responses.compact(
        model=MODEL, previous_response_id=made.id, input="two", instructions="Be brief."
    )
    # OpenAI's own type of output has no place for the user's messages, though they are in it.
    said: Any = [item.to_dict(warnings=False) for item in compacted.output]
    again = await sdk.responses.create(
        model=MODEL, input=[*said, {"role": "user", "content": "three"}]
    )

    assert compacted.object == "response.compaction"
    assert compacted.usage.total_tokens == 14
    assert compacted.output[-1].type == "compaction"
    assert [content for _, content in served.read][:2] == ["one", "two"]
    assert served.read[-1] == ("user", "three")
    assert again.status == "completed"


async def test_the_synchronous_client(served: Served) -> None:
    def work() -> tuple[Any, ...]:
        base_url = f"{served.gateway.url}/v1"
        with openai.OpenAI(api_key="ann", base_url=base_url, max_retries=0) as sdk:
            first = sdk.responses.create(model=MODEL, input="one")
            with sdk.responses.stream(
                model=MODEL, input="two", previous_response_id=first.id
            ) as stream:
                second = stream.get_final_response()
            items = list(sdk.responses.input_items.list(second.id))
            read = sdk.responses.retrieve(second.id)
            sdk.responses.delete(first.id)
            return second.output_text, len(items), read.status

    assert await asyncio.to_thread(work) == ("Hello there!", 1, "completed")
