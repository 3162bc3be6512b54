"""The official `openai` client against `/v1/conversations`: both clients, all that they can ask."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai.types.conversations import Conversation, Message
from openai.types.conversations.conversation_item import ConversationItem
from pydantic import TypeAdapter

from tests.tenants import Tenants

ITEM: TypeAdapter[Any] = TypeAdapter(ConversationItem)
IMAGE = "data:image/png;base64,iVBORw0KGgo="
USER: Any = {"role": "user", "content": "What is in this picture?"}
ITEMS: list[Any] = [
    {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "Look."},
            {"type": "input_image", "image_url": IMAGE},
            {"type": "input_file", "file_data": "data:text/plain,hi", "filename": "hi.txt"},
        ],
    },
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "A dog."}]},
    {"type": "function_call", "call_id": "c", "name": "bark", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "Woof"},
    {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s",
     "tools": [{"name": "f", "input_schema": {}}]},
    {"type": "mcp_approval_request", "id": "mcpr_1", "name": "f", "arguments": "{}",
     "server_label": "s"},
    {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
    {"type": "mcp_call", "id": "mcp_1", "name": "f", "arguments": "{}", "server_label": "s"},
    {"type": "web_search_call", "id": "ws_1", "status": "completed",
     "action": {"type": "search", "query": "dogs"}},
    {"type": "message", "role": "assistant", "content": [
        {"type": "output_text", "text": "A dog."}, {"type": "refusal", "refusal": "No more."}]},
]  # fmt: skip


@pytest.fixture
async def sdk(tenants: Tenants) -> AsyncIterator[openai.AsyncOpenAI]:
    """The asynchronous client, that asks once only."""
    async with openai.AsyncOpenAI(
        api_key=tenants.a.project_key.secret,
        base_url=f"{tenants.gateway.url}/v1",
        max_retries=0,
        timeout=5,
        _strict_response_validation=True,
    ) as sdk:
        yield sdk


async def test_the_life_of_a_conversation(sdk: openai.AsyncOpenAI) -> None:
    made = await sdk.conversations.create(items=[USER], metadata={"topic": "dogs"})
    found = await sdk.conversations.retrieve(made.id)
    changed = await sdk.conversations.update(made.id, metadata={"topic": "cats"})
    deleted = await sdk.conversations.delete(made.id)

    assert found == made
    assert (made.object, made.metadata) == ("conversation", {"topic": "dogs"})
    assert made.to_dict()["title"] == USER["content"]
    assert changed.metadata == {"topic": "cats"}
    assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "conversation.deleted")
    with pytest.raises(openai.NotFoundError) as gone:
        await sdk.conversations.retrieve(made.id)
    assert gone.value.code == "not_found"


async def test_every_type_of_item(sdk: openai.AsyncOpenAI) -> None:
    conversation = await sdk.conversations.create()
    added = await sdk.conversations.items.create(
        conversation.id, items=ITEMS, include=["message.input_image.image_url"]
    )
    page = await sdk.conversations.items.list(conversation.id, order="asc")

    assert [item.type for item in added.data] == [item["type"] for item in ITEMS]
    for item in [*added.data, *page.data]:
        ITEM.validate_python(item.to_dict())
    first = added.data[0]
    assert isinstance(first, Message)
    assert first.status == "completed"
    assert first.content[1].type == "input_image"
    assert first.content[1].image_url == IMAGE
    [*_, answer] = page.data
    assert isinstance(answer, Message)
    assert answer.content[0].type == "output_text"
    assert answer.content[0].annotations == []


async def test_items_one_by_one(sdk: openai.AsyncOpenAI) -> None:
    conversation = await sdk.conversations.create()
    added = await sdk.conversations.items.create(conversation.id, items=[USER, USER])
    first, second = added.data
    assert first.id
    found = await sdk.conversations.items.retrieve(first.id, conversation_id=conversation.id)
    left = await sdk.conversations.items.delete(first.id, conversation_id=conversation.id)

    assert found == first
    assert isinstance(left, Conversation)
    assert left.id == conversation.id
    assert [item async for item in sdk.conversations.items.list(conversation.id)] == [second]


async def test_the_client_turns_the_pages(sdk: openai.AsyncOpenAI) -> None:
    conversation = await sdk.conversations.create(items=[USER] * 20)
    await sdk.conversations.items.create(conversation.id, items=[USER] * 5)

    latest = [item.id async for item in sdk.conversations.items.list(conversation.id, limit=7)]
    oldest = [item.id async for item in sdk.conversations.items.list(conversation.id, order="asc")]

    assert len(set(latest)) == 25
    assert latest == oldest[::-1]


async def test_errors_name_the_item(sdk: openai.AsyncOpenAI) -> None:
    wrong: Any = [USER, {"type": "message", "role": "user", "content": [{"type": "nonsense"}]}]

    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.conversations.create(items=wrong)
    with pytest.raises(openai.BadRequestError) as too_many:
        await sdk.conversations.create(items=[USER] * 21)

    assert refused.value.param == "items[1].content[0].type"
    assert too_many.value.param == "items"


async def test_the_synchronous_client(tenants: Tenants) -> None:
    def talk() -> tuple[list[str], str]:
        with openai.OpenAI(
            api_key=tenants.a.project_key.secret,
            base_url=f"{tenants.gateway.url}/v1",
            max_retries=0,
            timeout=5,
            _strict_response_validation=True,
        ) as sdk:
            made = sdk.conversations.create(metadata={"a": "b"})
            added = sdk.conversations.items.create(made.id, items=[USER] * 3)
            [first, *_] = added.data
            assert first.id
            sdk.conversations.items.retrieve(first.id, conversation_id=made.id)
            sdk.conversations.items.delete(first.id, conversation_id=made.id)
            sdk.conversations.update(made.id, metadata={})
            kinds = [item.type for item in sdk.conversations.items.list(made.id, limit=1)]
            return kinds, sdk.conversations.delete(made.id).object

    assert await asyncio.to_thread(talk) == (["message"] * 2, "conversation.deleted")
