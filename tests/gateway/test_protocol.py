"""What is not quite HTTP, or tries to be more, on a socket of its own."""

import asyncio
import json
from collections.abc import AsyncIterator

import anyio
import pytest
from structlog.testing import capture_logs

from jan.gateway import protocol
from tests.fakes import MODEL, FakeUpstream
from tests.gateways import KEY, Gateway, until

BODY = json.dumps({"model": MODEL, "messages": []}).encode()
HEAD = (
    f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
    f"content-length: {len(BODY)}\r\n"
).encode()

Socket = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def socket(gateway: Gateway) -> AsyncIterator[Socket]:
    """A connection to the gateway."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rsplit(":", 1)[1]))
    with anyio.fail_after(5):
        yield reader, writer
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return int(status.split(" ")[1]), headers, body


@pytest.mark.parametrize("in_one_piece", [True, False])
async def test_a_body_with_an_offer_of_http2_is_read_like_any_other(
    gateway: Gateway, socket: Socket, upstream: FakeUpstream, in_one_piece: bool
) -> None:
    reader, writer = socket
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAM\r\n\r\n"

    writer.write(HEAD + offer)
    if not in_one_piece:
        await until(lambda: gateway.front.running)
    writer.write(BODY)
    first, *_ = await _answer(reader)
    writer.write(HEAD + b"\r\n" + BODY)
    second, *_ = await _answer(reader)

    assert (first, second) == (200, 200)
    assert [seen.body for seen in upstream.requests] == [BODY, BODY]
    assert "upgrade" not in upstream.requests[0].headers


@pytest.mark.parametrize("method", [b"FOO", b"get", b"X-MY"])
@pytest.mark.parametrize("path", [b"/livez", b"/v1/chat/completions"])
async def test_a_method_that_nobody_knows_is_told_from_nonsense(
    socket: Socket, method: bytes, path: bytes
) -> None:
    reader, writer = socket
    writer.write(b"%b %b HTTP/1.1\r\nhost: x\r\n\r\n" % (method, path))
    status, _, body = await _answer(reader)

    assert status == 501
    assert json.loads(body)["error"]["code"] == "method_unknown"


async def test_what_is_refused_before_it_is_a_request_leaves_a_log_line(socket: Socket) -> None:
    reader, writer = socket
    with capture_logs() as lines:
        writer.write(b"FOO /my-private-path HTTP/1.1\r\n\r\n")
        _, headers, _ = await _answer(reader)

    [line] = lines
    assert (line["event"], line["id"]) == ("request", headers["x-request-id"])
    assert (line["status"], line["error"]) == (501, "method_unknown")
    assert "private" not in str(line)


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02",
        b"FOO BAR BAZ\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nx: a\nb: c\r\n\r\n",
        b"POST /livez HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_in_the_one_shape(socket: Socket, sent: bytes) -> None:
    reader, writer = socket
    writer.write(sent)
    status, headers, body = await _answer(reader)

    assert status == 400
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert json.loads(body)["error"]["code"] == "invalid_request"
    assert await reader.read() == b""


async def test_a_head_without_end_is_refused(gateway: Gateway, socket: Socket) -> None:
    reader, writer = socket
    [connection] = gateway.server.server_state.connections
    writer.write(b"GET /livez HTTP/1.1\r\nx: " + b"a" * protocol.MAX_HEAD_BYTES)
    await until(lambda: getattr(connection, "_head_bytes") > protocol.MAX_HEAD_BYTES)  # noqa: B009 - uvicorn's type lacks it
    writer.write(b"a")
    status, _, body = await _answer(reader)

    assert status == 431
    assert json.loads(body)["error"]["code"] == "headers_too_large"


@pytest.mark.parametrize(
    ("before", "sent"),
    [(b"", b""), (b"", b"GET "), (b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n", b"GET ")],
    ids=["first, nothing", "first, begun", "second, begun"],
)
async def test_a_head_that_does_not_come_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, before: bytes, sent: bytes
) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rsplit(":", 1)[1]))
    if before:
        writer.write(before)
        await _answer(reader)
    writer.write(sent)

    with anyio.fail_after(5):
        assert await reader.read() == b""
    writer.close()
