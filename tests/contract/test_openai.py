"""The official `openai` client, against the gateway: answers, streams, errors."""

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest

from tests.fakes import MODEL, FakeUpstream, Reply, Seen, chat_chunk
from tests.gateways import KEY, Gateway

PATH = "/v1/chat/completions"


@pytest.fixture
async def sdk(gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """The asynchronous client, that asks once only."""
    async with openai.AsyncOpenAI(
        api_key=KEY, base_url=f"{gateway.url}/v1", max_retries=0, timeout=5
    ) as sdk:
        yield sdk


async def chat(sdk: openai.AsyncOpenAI, model: str = MODEL) -> str | None:
    """Ask something."""
    answer = await sdk.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "hi"}]
    )
    return answer.choices[0].message.content


async def test_a_chat(sdk: openai.AsyncOpenAI) -> None:
    assert await chat(sdk) == "Hello there!"


async def test_a_streamed_chat(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there!"
    assert all(chunk.usage is None for chunk in chunks)


async def test_a_streamed_chat_with_usage(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "hi"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens == 14


async def test_a_chat_with_the_synchronous_client(gateway: Gateway) -> None:
    def ask() -> tuple[str | None, str]:
        with openai.OpenAI(api_key=KEY, base_url=f"{gateway.url}/v1", max_retries=0) as sdk:
            whole = sdk.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "hi"}]
            )
            stream = sdk.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True
            )
            words = [chunk.choices[0].delta.content or "" for chunk in stream]
            return whole.choices[0].message.content, "".join(words)

    assert await asyncio.to_thread(ask) == ("Hello there!", "Hello there!")


async def test_a_completion(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.completions.create(model=MODEL, prompt="hi")

    assert answer.choices[0].text == "Hi"


async def test_an_embedding(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.embeddings.create(model=MODEL, input="hi", encoding_format="float")

    assert answer.data[0].embedding == [0.25, -0.5]


async def test_the_models(sdk: openai.AsyncOpenAI) -> None:
    page = await sdk.models.list()

    assert [model.id for model in page.data] == [MODEL]
    assert (await sdk.models.retrieve(MODEL)).object == "model"


async def test_a_wrong_key(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        await chat(sdk.with_options(api_key="sk-jan-bad"))

    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id


async def test_an_unknown_model(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await chat(sdk, "other")

    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
async def test_a_refusal_by_the_model_server(
    sdk: openai.AsyncOpenAI, upstream: FakeUpstream, status: int, kind: type[openai.APIStatusError]
) -> None:
    async def refuse(_: Seen, reply: Reply) -> None:
        error = {"message": "no", "type": "BadRequestError", "param": None, "code": status}
        await reply.json({"error": error}, status)

    upstream.script(PATH, refuse)
    with pytest.raises(kind, match="no") as caught:
        await chat(sdk)

    assert isinstance(caught.value.code, str)


async def test_a_model_that_is_away_is_an_error_worth_retrying(
    sdk: openai.AsyncOpenAI, upstream: FakeUpstream
) -> None:
    await upstream.kill()
    with pytest.raises(openai.InternalServerError) as caught:
        await chat(sdk)

    assert (caught.value.status_code, caught.value.code) == (503, "model_loading")


async def test_a_stream_that_breaks_raises(sdk: openai.AsyncOpenAI, upstream: FakeUpstream) -> None:
    async def break_off(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(chat_chunk("a"))
        reply.die()

    upstream.script(PATH, break_off)
    stream = await sdk.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True
    )
    with pytest.raises(openai.APIError) as caught:
        [chunk async for chunk in stream]

    assert caught.value.code == "upstream_error"
