"""The private port: what is there, who waits for whom, and that it may be had or not."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.metrics_core import Metric as Family

from jan import listener, settings
from jan.metrics import asking, families, names, private


class Telling:
    """Tells a number when it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.may.set()
        self.asked = 0

    async def collect(self) -> list[Family]:
        self.asked += 1
        await self.may.wait()
        return [families.family(names.RUNNING, {(): self.asked})]


@pytest.fixture
def telling() -> Telling:
    return Telling()


@pytest.fixture
async def client(telling: Telling) -> AsyncIterator[httpx.AsyncClient]:
    sock = listener.listen("127.0.0.1", 0)
    async with (
        private.serving(sock, telling.collect),
        httpx.AsyncClient(base_url=listener.url(sock)) as client,
    ):
        yield client


async def test_nothing_else_is_there_and_nothing_can_be_done(client: httpx.AsyncClient) -> None:
    answers = [
        await client.get("/metrics/"),
        await client.get("/v1/models"),
        await client.post("/metrics", content=b"x" * 100_000),
        await client.delete("/metrics"),
        await client.head("/metrics"),
        await client.get("/metrics?name=x"),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 405, 405, 200, 200]
    assert answers[2].headers["allow"] == "GET, HEAD"
    assert answers[4].content == b""
    assert answers[5].text.endswith("jan_gateway_requests_running 2.0\n")


async def test_who_asks_at_once_is_answered_at_once(
    client: httpx.AsyncClient, telling: Telling
) -> None:
    telling.may.clear()
    asking_all = [asyncio.create_task(client.get("/metrics")) for _ in range(20)]
    async with asyncio.timeout(5):
        while not telling.asked:
            await asyncio.sleep(0.002)
    asking_all[0].cancel()
    await asyncio.sleep(0.05)
    telling.may.set()

    answers = await asyncio.gather(*asking_all[1:])

    assert {answer.text for answer in answers} == {answers[0].text}
    assert telling.asked == 1
    assert "requests_running 2.0" in (await client.get("/metrics")).text


async def test_a_process_can_be_asked_over_a_socket(telling: Telling, home: Path) -> None:
    path = home / "metrics.sock"
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    async with private.serving(sock, telling.collect):
        text = await asking.told(path, timeout_s=5)

    assert text is not None
    assert families.read(text)[0].samples[0].value == 1
    assert await asking.told(path, timeout_s=5) is None


def said(**more: object) -> settings.Loaded:
    return settings.load(more, environ={})


def test_a_port_that_is_used_is_told_and_is_no_reason_not_to_serve(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with listener.listen("127.0.0.1", 0) as other:
        port = other.getsockname()[1]

        assert private.listen(said(private_port=port)) is None

    words = capsys.readouterr().out
    assert f"Can't listen on 127.0.0.1:{port}: another program uses that port." in words
    assert "choose another port with private_port" in words


def test_any_port_for_the_api_means_any_for_this() -> None:
    made = [private.listen(said(port=0)), private.listen(said(port=0))]

    ports = {sock.getsockname() for sock in made if sock is not None}
    assert len(ports) == 2
    assert {host for host, _ in ports} == {"127.0.0.1"}
    assert private.listen(said(port=0, private_port=next(iter(ports))[1])) is None
    for sock in made:
        assert sock is not None
        sock.close()
