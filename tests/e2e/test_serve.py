"""README's way from nothing to a chat, and to the end, with nothing faked."""

import signal
from contextlib import suppress
from typing import Any

import anthropic
import anyio
import httpx
import openai
import pytest

from tests.e2e.conftest import CHAT, MODEL, Scene
from tests.serving import DEADLINE_S

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

ENDLESS = {**CHAT, "max_tokens": 4000, "ignore_eos": True}
"""Takes the engine minutes."""
LONG_PROMPT = [{"role": "user", "content": "Tell me more about it. " * 1000}]
"""Takes it seconds to read."""
ABORT_S = 0.1
"""From the hang-up to a look at the engine's own count. What is not aborted takes minutes."""
ABORT_ATTEMPTS = 10
"""Nothing interrupts a step of the engine. 128 tokens of a prompt take it about as long as that on
two idle cores, and were seen to take 4 s beside other work: so it may need several hang-ups."""
ABORTED_DIRECTLY = 3
"""Times out of so many that the engine notices a hang-up on itself, where it can be held to it."""


def client_of(scene: Scene) -> openai.AsyncOpenAI:
    """The official client."""
    return openai.AsyncOpenAI(base_url=f"{scene.serve.url}/v1", api_key=scene.key, max_retries=0)


async def until_running(scene: Scene, count: int) -> None:
    """Wait until the engine works on so many requests."""
    with anyio.fail_after(DEADLINE_S):
        while await scene.running_requests() != count:
            await anyio.sleep(0.01)


async def test_a_chat_while_the_model_loads_is_told_to_come_again(scene: Scene) -> None:
    assert scene.while_loading.status_code == 503
    assert int(scene.while_loading.headers["retry-after"]) > 0
    assert scene.while_loading.json()["error"]["code"] == "model_loading"


async def test_the_official_client_streams_a_chat_and_a_usage_row_is_written(scene: Scene) -> None:
    async with client_of(scene) as client:
        stream = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "What is the capital of France?"}],
            max_tokens=16,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
            extra_headers={"x-request-id": "the-streamed-chat"},
        )
        chunks = [chunk async for chunk in stream]

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    usage = chunks[-1].usage
    assert "Paris" in text
    assert usage
    rows: list[Any] = []
    with anyio.fail_after(DEADLINE_S):
        while not rows:
            rows = await scene.serve.fetch(
                "SELECT model, status, prompt_tokens, completion_tokens, time_to_first_token_ms"
                " FROM usage WHERE is_stream AND status = 200 AND request_id = 'the-streamed-chat'"
            )
    assert len(rows) == 1
    assert tuple(rows[0])[:4] == (MODEL, 200, usage.prompt_tokens, usage.completion_tokens)
    assert rows[0]["time_to_first_token_ms"] > 0


async def test_anthropic_s_client_gets_a_message(scene: Scene) -> None:
    async with anthropic.AsyncAnthropic(base_url=scene.serve.url, api_key=scene.key) as client:
        message = await client.messages.create(
            model=MODEL, max_tokens=8, messages=[{"role": "user", "content": "Say hello."}]
        )

    assert message.usage.output_tokens > 0
    assert message.content[0].type == "text"


async def test_the_model_is_listed(scene: Scene) -> None:
    async with client_of(scene) as client:
        assert [model.id async for model in client.models.list()] == [MODEL]


@pytest.mark.parametrize(
    ("body", "is_mid_stream"),
    [
        pytest.param(
            {**ENDLESS, "stream": True, "messages": LONG_PROMPT},
            False,
            id="before-first-token",
        ),
        pytest.param({**ENDLESS, "stream": True}, True, id="mid-stream"),
        pytest.param(ENDLESS, False, id="not-streaming"),
    ],
)
async def test_a_client_that_leaves_stops_the_engine(
    scene: Scene, body: dict[str, Any], is_mid_stream: bool
) -> None:
    directly: list[bool] = []
    for number in range(ABORT_ATTEMPTS):
        # What the engine has read of a prompt it remembers, but for another salt.
        salted = {**body, "cache_salt": f"jan {number}"}
        if await is_aborted(scene, scene.serve.client(scene.key), salted, is_mid_stream):
            return
        salted = {**body, "cache_salt": f"engine {number}"}
        engine = scene.engine_client()
        directly.append(await is_aborted(scene, engine, salted, is_mid_stream))

    assert sum(directly) < ABORTED_DIRECTLY, "the engine notices those who leave it, but not Jan's"
    pytest.skip(f"steps of the engine take longer than {ABORT_S} s on this machine at this time")


async def is_aborted(
    scene: Scene, client: httpx.AsyncClient, body: dict[str, Any], is_mid_stream: bool
) -> bool:
    """Ask, hang up, and look once whether the engine has stopped."""
    await until_running(scene, 0)
    async with client:
        await ask_and_leave(scene, client, body, is_mid_stream)
        await anyio.sleep(ABORT_S)
        return await scene.running_requests() == 0


async def ask_and_leave(
    scene: Scene, client: httpx.AsyncClient, body: dict[str, Any], is_mid_stream: bool
) -> None:
    """Hang up when the engine works on the request, or when its first token has come."""
    has_begun = anyio.Event()

    async def ask() -> None:
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                if '"content":"' in line:
                    has_begun.set()

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await until_running(scene, 1)
        if is_mid_stream:
            await has_begun.wait()
        assert has_begun.is_set() == is_mid_stream
        group.cancel_scope.cancel()


async def test_the_end_leaves_nothing_behind(scene: Scene) -> None:
    scene.serve.look()
    assert len(scene.serve.family) > 5

    code = await scene.serve.end(signal.SIGTERM)

    assert code == 0
    assert scene.serve.left_behind() == []
    with suppress(httpx.ConnectError):
        await scene.running_requests()
        pytest.fail("the engine still answers")
