"""Connections to a model server: kept, replaced, and closed when an answer is left."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import anyio
import pytest
import uvloop

from jan.inference.client import Client, Unreachable
from jan.inference.connection import ConnectionLost
from tests.fakes import FakeUpstream, Reply, Script, Seen, fake_upstream


@pytest.fixture(params=["port", "socket"])
async def upstream(request: pytest.FixtureRequest, home: Path) -> AsyncIterator[FakeUpstream]:
    """Over either, all must be the same. A folder may have a name that no URL could hold."""
    socket = home / "a b#?%20.sock" if request.param == "socket" else None
    async with fake_upstream(socket) as fake:
        yield fake


@pytest.fixture
async def client(upstream: FakeUpstream) -> AsyncIterator[Client]:
    client = Client(upstream.url, connect_timeout_s=1)
    yield client
    client.close()


async def get(client: Client, path: bytes = b"/x") -> bytes:
    async with client.request(b"GET", path) as answer:
        return await answer.read_all()


def saying(data: bytes, *, then_close: bool = False) -> Script:
    async def say(_: Seen, reply: Reply) -> None:
        await reply.raw(data)
        if then_close:
            reply.close()

    return say


async def test_a_connection_is_used_again(client: Client, upstream: FakeUpstream) -> None:
    upstream.script("/x", saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))

    assert [await get(client) for _ in range(5)] == [b"ok"] * 5
    assert upstream.connections == 1


@pytest.mark.parametrize(
    ("data", "closes"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\nok", True),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", False),
    ],
    ids=["chunked", "until closed", "HTTP/1.0", "100 first"],
)
async def test_a_body_ends_where_http_says(
    client: Client, upstream: FakeUpstream, data: bytes, closes: bool
) -> None:
    upstream.script("/x", saying(data, then_close=closes))

    assert [await get(client) for _ in range(3)] == [b"ok"] * 3


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"",
    ],
    ids=["short", "chunked", "in the head", "nothing"],
)
async def test_an_answer_that_stops_too_soon_is_lost(
    client: Client, upstream: FakeUpstream, data: bytes
) -> None:
    upstream.script("/x", saying(data, then_close=True))

    with pytest.raises(ConnectionLost):
        await get(client)


async def test_what_is_not_http_is_lost(client: Client, upstream: FakeUpstream) -> None:
    upstream.script("/x", saying(b"SSH-2.0-OpenSSH_9.2\r\n"))

    with pytest.raises(ConnectionLost, match="not HTTP"):
        await get(client)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
async def test_a_host_that_vanishes_is_noticed_within_a_minute(run: Callable[..., object]) -> None:
    """By the kernel, which is asked what it was told, on the tests' loop and on the gateway's."""

    async def connect() -> dict[str, int]:
        async with fake_upstream() as upstream:
            client = Client(upstream.url, connect_timeout_s=1)
            upstream.script("/x", saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
            await get(client)
            [connection] = client._idle
            assert connection._transport
            found = connection._transport.get_extra_info("socket")
            names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            numbers = {n: found.getsockopt(socket.IPPROTO_TCP, getattr(socket, n)) for n in names}
            numbers["on"] = found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            client.close()
            return numbers

    told = cast("dict[str, int]", await anyio.to_thread.run_sync(lambda: run(connect())))

    assert told["on"] == 1
    assert told["TCP_KEEPIDLE"] + told["TCP_KEEPINTVL"] * told["TCP_KEEPCNT"] <= 60
    assert told["TCP_USER_TIMEOUT"] <= 60_000


async def test_nobody_there_is_told_at_once(client: Client, upstream: FakeUpstream) -> None:
    await upstream.kill()

    with anyio.fail_after(0.5), pytest.raises(Unreachable):
        await get(client)


async def test_a_socket_that_is_not_there_is_told_without_its_path(home: Path) -> None:
    with pytest.raises(Unreachable, match=r"^nobody listens on its socket$"):
        await get(Client(f"unix://{home}/http.sock", connect_timeout_s=1))


async def test_the_server_is_named_as_http_wants(client: Client, upstream: FakeUpstream) -> None:
    upstream.script("/x", saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))

    await get(client)

    expected = "localhost" if upstream.socket else f"127.0.0.1:{upstream.port}"
    assert upstream.requests[0].headers["host"] == expected


async def test_bytes_that_nobody_asked_for_end_a_connection(
    client: Client, upstream: FakeUpstream
) -> None:
    goodbye = b"HTTP/1.1 408 Timeout\r\ncontent-length: 0\r\n\r\n"
    upstream.script("/x", saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" + goodbye))

    assert [await get(client) for _ in range(3)] == [b"ok"] * 3


async def test_an_answer_that_was_left_unread_is_nobody_elses(
    client: Client, upstream: FakeUpstream
) -> None:
    upstream.script("/mine", saying(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret"))
    upstream.script("/x", saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))

    async with client.request(b"GET", b"/mine") as answer:
        with anyio.fail_after(5):
            while not answer.is_complete:
                await asyncio.sleep(0.002)

    assert await get(client) == b"ok"


async def test_a_second_answer_to_one_request_is_never_read(
    client: Client, upstream: FakeUpstream
) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    upstream.script("/x", saying(answer + b"ok" + answer + b"no"))

    assert [await get(client) for _ in range(3)] == [b"ok"] * 3


async def test_an_answer_in_another_protocol_is_lost(
    client: Client, upstream: FakeUpstream
) -> None:
    switch = b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    upstream.script("/x", saying(switch))

    with anyio.fail_after(5), pytest.raises(ConnectionLost):
        await get(client)


async def test_cancelling_before_the_head_ends_the_work(
    client: Client, upstream: FakeUpstream
) -> None:
    async def stall(_: Seen, reply: Reply) -> None:
        await reply.stall()

    upstream.script("/x", stall)
    asking = asyncio.create_task(get(client))
    with anyio.fail_after(5):
        while not upstream.running:
            await asyncio.sleep(0.002)
        asking.cancel()
        while not upstream.aborts_s:
            await asyncio.sleep(0.002)

    assert upstream.running == 0


async def test_a_slow_reader_loses_nothing(client: Client, upstream: FakeUpstream) -> None:
    body = bytes(range(256)) * 20_000

    async def send(_: Seen, reply: Reply) -> None:
        await reply.whole(body)

    upstream.script("/x", send)
    parts: list[bytes] = []
    async with client.request(b"GET", b"/x") as answer:
        while part := await answer.read():
            parts.append(part)
            await asyncio.sleep(0.001)

    assert b"".join(parts) == body
