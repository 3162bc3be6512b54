"""The real engine, replaced, unloaded and loaded while clients stream from it."""

import json

import anyio
import openai
import pytest

from tests.e2e.conftest import CHAT, LOAD_DEADLINE_S, MODEL, Scene
from tests.serving import JAN

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

TOKENS = 48
"""Of a stream, which takes some seconds beside an engine that starts."""


async def command(scene: Scene, *arguments: str) -> tuple[int, str, str]:
    """Run `jan model`. Returns its exit code, data and words."""
    with anyio.fail_after(LOAD_DEADLINE_S):
        run = await anyio.run_process(
            [*JAN, "--home", str(scene.serve.home), "model", *arguments], check=False
        )
    return run.returncode, run.stdout.decode(), run.stderr.decode()


async def test_a_model_is_replaced_under_streams_and_two_engines_of_it_run_meanwhile(
    scene: Scene,
) -> None:
    whole: list[int] = []
    told: list[tuple[int, str, str]] = []
    is_over = anyio.Event()

    async def stream() -> None:
        """Read one stream after the other, each to its end."""
        async with openai.AsyncOpenAI(
            base_url=f"{scene.serve.url}/v1", api_key=scene.key, max_retries=0
        ) as client:
            while not is_over.is_set():
                answer = await client.chat.completions.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": "Tell me a long story."}],
                    max_tokens=TOKENS,
                    extra_body={"ignore_eos": True},
                    stream=True,
                    stream_options={"include_usage": True},
                )
                chunks = [chunk async for chunk in answer]
                assert chunks[-1].usage
                whole.append(chunks[-1].usage.completion_tokens)

    async def replace() -> None:
        told.append(await command(scene, "reload", MODEL, "--json"))
        is_over.set()

    async with anyio.create_task_group() as group:
        group.start_soon(stream)
        group.start_soon(replace)

    ((code, document, words),) = told
    assert code == 0, words
    assert "Loading weights" in words
    (engine,) = json.loads(document)["endpoints"]
    assert (engine["generation"], engine["state"]) == (2, "healthy")
    assert engine["url"].endswith(f"/{MODEL}-2/http.sock")  # beside the first
    assert set(whole) == {TOKENS}
    assert not scene.engine.exists()


async def test_a_model_is_unloaded_and_loaded_again(scene: Scene) -> None:
    unloaded = await command(scene, "unload", MODEL)
    async with scene.serve.client(scene.key) as client:
        refused = await client.post("/v1/chat/completions", json=CHAT)
    loaded = await command(scene, "load", MODEL)
    status = await command(scene, "status", "--json")
    async with scene.serve.client(scene.key) as client:
        answer = await client.post("/v1/chat/completions", json=CHAT)

    assert unloaded[0] == 0, unloaded
    assert "until the next start" in unloaded[2]
    assert refused.status_code in {404, 503}
    assert loaded[0] == 0, loaded
    assert [each["running"] for each in json.loads(status[1])] == ["1/1"]
    assert answer.status_code == 200, answer.text
    assert scene.engine.is_socket()
