"""An end that was asked for loses nothing, cuts nobody off and leaves nothing behind."""

import asyncio
import signal
from pathlib import Path

import anyio
import httpx

from jan import settings
from jan.db import session
from tests.chaos.conftest import CHAT, PATH, Scene
from tests.conftest import fetch
from tests.fakes import DONE, Reply, Seen, chat_chunk
from tests.serving import DEADLINE_S, Serve, serving


async def until_refused(serve: Serve) -> None:
    """Wait until there is nobody at the port."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            async with serve.client() as client:
                try:
                    await client.get("/livez")
                except httpx.TransportError:
                    return
            await anyio.sleep(0.02)


async def test_a_clean_stop_leaves_nothing_behind_and_every_usage_row(scene: Scene) -> None:
    statuses = [await scene.chat() for _ in range(20)]

    code = await scene.serve.end(signal.SIGTERM)

    assert statuses == [200] * 20
    assert code == 0
    assert scene.serve.left_behind() == []
    async with session.opened(settings.load({"home": scene.serve.home})):
        assert [tuple(row) for row in await fetch("SELECT count(*) FROM usage")] == [(20,)]


async def test_a_running_stream_may_finish_while_nothing_new_begins(scene: Scene) -> None:
    may_go_on = asyncio.Event()

    async def wait_in_between(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(chat_chunk("first"))
        await may_go_on.wait()
        await reply.chunk(DONE)
        await reply.end()

    scene.upstream.script(PATH, wait_in_between)
    async with (
        scene.serve.client(scene.key) as client,
        client.stream("POST", PATH, json=CHAT | {"stream": True}) as answer,
    ):
        parts = answer.aiter_bytes()
        await anext(parts)
        scene.serve.look()
        scene.serve.child.signal(signal.SIGINT)
        await until_refused(scene.serve)
        may_go_on.set()
        rest = b"".join([part async for part in parts])

    assert rest == DONE
    assert await scene.serve.child.wait() == 0
    assert scene.serve.left_behind() == []


async def test_a_second_signal_ends_it_although_a_stream_runs(scene: Scene) -> None:
    async def think_for_ever(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.stall()

    scene.upstream.script(PATH, think_for_ever)
    async with (
        scene.serve.client(scene.key) as client,
        client.stream("POST", PATH, json=CHAT | {"stream": True}),
    ):
        scene.serve.look()
        scene.serve.child.signal(signal.SIGTERM)
        await until_refused(scene.serve)
        assert await scene.serve.end(signal.SIGINT) == 0

    assert scene.serve.left_behind() == []


async def test_a_stop_during_the_start_leaves_nothing_behind(home: Path) -> None:
    async with serving(home, "--upstream", "http://127.0.0.1:1") as serve:
        await serve.until_answering()
        assert await serve.end() == 0

    assert serve.left_behind() == []
