"""The official `anthropic` client, against the gateway: answers, streams, errors."""

import asyncio
from collections.abc import AsyncIterator

import anthropic
import pytest

from tests.fakes import MODEL, FakeUpstream, Reply, Seen, message_events
from tests.gateways import KEY, Gateway

PATH = "/v1/messages"


@pytest.fixture
async def sdk(gateway: Gateway) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """The asynchronous client, that asks once only."""
    async with anthropic.AsyncAnthropic(
        api_key=KEY, base_url=gateway.url, max_retries=0, timeout=5
    ) as sdk:
        yield sdk


async def ask(sdk: anthropic.AsyncAnthropic, model: str = MODEL) -> anthropic.types.Message:
    """Ask something."""
    return await sdk.messages.create(
        model=model, max_tokens=5, messages=[{"role": "user", "content": "hi"}]
    )


async def test_a_message(sdk: anthropic.AsyncAnthropic) -> None:
    message = await ask(sdk)

    assert message.content[0].type == "text"
    assert message.content[0].text == "Hello"
    assert message._request_id


async def test_a_streamed_message(sdk: anthropic.AsyncAnthropic) -> None:
    async with sdk.messages.stream(
        model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "hi"}]
    ) as stream:
        text = await stream.get_final_text()

    assert text == "Hello"


async def test_a_message_with_the_synchronous_client(gateway: Gateway) -> None:
    def ask_and_wait() -> str:
        with anthropic.Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0) as sdk:
            return sdk.messages.create(
                model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "hi"}]
            ).id

    assert await asyncio.to_thread(ask_and_wait) == "msg_1"


async def test_counting_tokens(sdk: anthropic.AsyncAnthropic) -> None:
    counted = await sdk.messages.count_tokens(
        model=MODEL, messages=[{"role": "user", "content": "hi"}]
    )

    assert counted.input_tokens == 7


async def test_a_wrong_key(sdk: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.AuthenticationError) as caught:
        await ask(sdk.with_options(api_key="sk-jan-bad"))

    assert caught.value.request_id


async def test_an_unknown_model(sdk: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="not_found_error"):
        await ask(sdk, "other")


async def test_a_model_that_is_away(sdk: anthropic.AsyncAnthropic, upstream: FakeUpstream) -> None:
    await upstream.kill()
    with pytest.raises(anthropic.InternalServerError, match="overloaded_error"):
        await ask(sdk)


async def test_a_stream_that_breaks_raises(
    sdk: anthropic.AsyncAnthropic, upstream: FakeUpstream
) -> None:
    async def break_off(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(message_events()[0])
        reply.die()

    upstream.script(PATH, break_off)
    stream = await sdk.messages.create(
        model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "hi"}], stream=True
    )
    with pytest.raises(anthropic.APIStatusError, match="api_error"):
        [event async for event in stream]
