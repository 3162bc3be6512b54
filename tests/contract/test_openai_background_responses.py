"""The official `openai` client on responses in the background: follow, resume, read, cancel."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import openai
import pytest

from jan.db.engine import Database
from tests.fakes import MODEL, FakeUpstream
from tests.responses import rules
from tests.responses.backgrounds import (
    CHAT,
    Replica,
    Stalling,
    replicas,
    until_status,
    until_stored,
)
from tests.responses.chats import delta, end, usage
from tests.serving import until


@pytest.fixture
async def one(database: Database, upstream: FakeUpstream) -> AsyncIterator[Replica]:
    """A replica that works."""
    async with replicas(database, upstream) as several:
        one = await several.new()
        await until(lambda: one.gateway.catalog.is_ready)
        async with one.working():
            yield one


@pytest.fixture
async def sdk(one: Replica) -> AsyncIterator[openai.AsyncOpenAI]:
    """Ann's client, that asks once only."""
    async with openai.AsyncOpenAI(
        api_key="ann", base_url=f"{one.gateway.url}/v1", max_retries=0, timeout=10
    ) as sdk:
        yield sdk


@pytest.fixture
def script(upstream: FakeUpstream) -> Stalling:
    """An answer that stops in the middle."""
    script = Stalling([delta(content="Hel")], [delta(content="lo"), end(), usage()])
    upstream.script(CHAT, script)
    return script


async def test_a_response_is_polled(sdk: openai.AsyncOpenAI) -> None:
    response = await sdk.responses.create(model=MODEL, input="hi", background=True)

    assert (response.status, response.background) == ("queued", True)
    with anyio.fail_after(10):
        while response.status in {"queued", "in_progress"}:
            response = await sdk.responses.retrieve(response.id)
    assert (response.status, response.output_text) == ("completed", "Hello there!")


async def test_a_stream_is_left_and_resumed(sdk: openai.AsyncOpenAI, script: Stalling) -> None:
    stream = await sdk.responses.create(model=MODEL, input="hi", background=True, stream=True)
    events: list[Any] = []
    async for event in stream:
        events.append(event)
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    script.may_go_on.set()

    response_id = events[0].response.id
    last = events[-1].sequence_number
    resumed = await sdk.responses.retrieve(response_id, stream=True, starting_after=last)
    events += [event async for event in resumed]

    kinds = [event.type for event in events]
    assert kinds[:3] == ["response.created", "response.queued", "response.in_progress"]
    answer = rules.check([event.to_dict(mode="json") for event in events])
    assert answer["output"][0]["content"][0]["text"] == "Hello"
    assert (await sdk.responses.retrieve(response_id)).to_dict(mode="json") == answer


async def test_the_helper_for_streams_goes_on_with_one(
    sdk: openai.AsyncOpenAI, script: Stalling
) -> None:
    begun = await sdk.responses.create(model=MODEL, input="hi", background=True, stream=True)
    first: Any = await anext(aiter(begun))
    await begun.close()
    script.may_go_on.set()

    async with sdk.responses.stream(response_id=first.response.id) as stream:
        made = await stream.get_final_response()

    assert made.output_text == "Hello"


async def test_a_response_is_cancelled(sdk: openai.AsyncOpenAI, script: Stalling) -> None:
    response = await sdk.responses.create(model=MODEL, input="hi", background=True)
    await until_stored(response.id, b'"delta":"Hel"')

    cancelled = await sdk.responses.cancel(response.id)
    again = await sdk.responses.cancel(response.id)

    assert (cancelled.status, cancelled.output_text) == ("cancelled", "Hel")
    assert again == cancelled
    assert not script.may_go_on.is_set()


async def test_what_was_cancelled_can_not_be_gone_on_from(
    sdk: openai.AsyncOpenAI, script: Stalling
) -> None:
    response = await sdk.responses.create(model=MODEL, input="hi", background=True)
    await until_status(response.id, "in_progress")
    assert not script.may_go_on.is_set()
    await sdk.responses.cancel(response.id)

    with pytest.raises(openai.ConflictError, match="cancelled"):
        await sdk.responses.create(model=MODEL, input="x", previous_response_id=response.id)


async def test_what_is_wrong_is_told(sdk: openai.AsyncOpenAI) -> None:
    made = await sdk.responses.create(model=MODEL, input="hi")

    with pytest.raises(openai.BadRequestError, match="synchronous"):
        await sdk.responses.cancel(made.id)
    with pytest.raises(openai.BadRequestError, match="streamed again"):
        await sdk.responses.retrieve(made.id, stream=True)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.cancel("resp_missing")
