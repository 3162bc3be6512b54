"""Responses and conversations with nothing faked: the official client, PostgreSQL, vLLM."""

import pytest
from pydantic import BaseModel

from tests.e2e.conftest import MODEL, Scene
from tests.e2e.test_serve import client_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

FRANCE = "What is the capital of France?"


class Answer(BaseModel):
    """What the model is made to write."""

    city: str
    inhabitants: int


async def test_a_response_is_streamed_kept_and_gone_on_from(scene: Scene) -> None:
    async with client_of(scene) as client:
        async with client.responses.stream(
            model=MODEL, input=FRANCE, temperature=0, max_output_tokens=16
        ) as stream:
            first = await stream.get_final_response()
        kept = await client.responses.retrieve(first.id)
        second = await client.responses.create(
            model=MODEL,
            input="And of Italy?",
            previous_response_id=first.id,
            max_output_tokens=16,
        )
        counted = await client.responses.input_tokens.count(
            model=MODEL, input="And of Italy?", previous_response_id=first.id
        )

    assert "Paris" in first.output_text
    assert (kept.output_text, kept.usage) == (first.output_text, first.usage)
    assert first.usage
    assert second.usage
    assert second.usage.input_tokens == counted.input_tokens > first.usage.input_tokens
    [row] = await scene.serve.fetch(f"SELECT engine FROM response WHERE id = '{first.id}'")
    assert row["engine"] is None or "vllm" in row["engine"]


async def test_a_conversation_remembers(scene: Scene) -> None:
    async with client_of(scene) as client:
        conversation = await client.conversations.create()
        made = await client.responses.create(
            model=MODEL,
            input=FRANCE,
            conversation=conversation.id,
            temperature=0,
            max_output_tokens=16,
        )
        items = [item async for item in client.conversations.items.list(conversation.id)]

    assert [item.type for item in items] == ["message", "message"]
    assert items[0].id == made.output[0].id


async def test_an_answer_follows_its_schema(scene: Scene) -> None:
    async with client_of(scene) as client:
        made = await client.responses.parse(
            model=MODEL, input=FRANCE, text_format=Answer, temperature=0, max_output_tokens=200
        )
        kept = await client.responses.retrieve(made.id)

    assert made.output_parsed
    assert kept.output_text == made.output_text
