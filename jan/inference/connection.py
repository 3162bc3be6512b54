"""One HTTP/1.1 connection to a model server: a request goes out, its answer is read as it comes.

Leaving an answer before its end closes the connection, and that is how the model server learns
that nobody listens any more. Clients that hand the request to a thread of their own were found to
keep it running after a cancel (pyreqwest 0.15, before the answer's head), so this one stays on
the event loop: parsing is httptools', the rest is this file.
"""

import asyncio
import socket
from typing import cast

import httptools

HIGH_WATER_BYTES = 256 * 1024
"""Unread bytes at which reading from the socket pauses, so that a slow client slows the model."""

KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 50_000),
)
"""A host that vanishes (power, cable, firewall) says no goodbye: 20 s of silence, three questions
10 s apart, and after 50 s the connection is lost; so it is if what was sent is not acknowledged for
as long. A model that thinks for hours is not cut off: it is its kernel that answers."""


class ConnectionLost(Exception):
    """The model server closed the connection before its answer was complete."""

    def __init__(self, message: str, *, has_begun: bool) -> None:
        super().__init__(message)
        self.has_begun = has_begun
        """Whether any byte of the answer had come."""


class Connection(asyncio.Protocol):
    """A socket that carries one request at a time, and its answer."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._unread_bytes = 0
        self._is_paused = False
        self._error: str | None = None
        self._ends_with_connection = False
        self._has_begun = False
        self._has_head = False
        self.is_complete = True
        """Whether the answer has come to its end (true before the first request)."""
        self.is_reused = False
        self.idle_since_s = 0.0
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        """By lower-case name; of a repeated one the last."""

    @property
    def is_open(self) -> bool:
        """Whether the socket can still be written to."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_reusable(self) -> bool:
        """Whether another request may be sent here: the answer has come, and been read, in full.

        What is left unread would be the beginning of the next answer, and somebody else's.
        """
        return self.is_complete and not self._chunks and self.is_open

    async def request(self, head: bytes, body: bytes) -> None:
        """Send a request and wait for the head of its answer: `status` and `headers` are set.

        Raises:
            ConnectionLost: the connection ended before that.
        """
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self.is_complete = self._has_begun = self._has_head = False
        self._transport.writelines((head, body))
        while not self._has_head:
            await self._wait()

    async def read(self) -> bytes:
        """Wait for more of the answer's body. Empty at its end.

        Raises:
            ConnectionLost: the connection ended in the middle of the body.
        """
        while not self._chunks:
            if self.is_complete:
                return b""
            await self._wait()
        chunks, self._chunks, self._unread_bytes = self._chunks, [], 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def read_all(self) -> bytes:
        """Wait for the whole body. Raises as `read` does."""
        parts: list[bytes] = []
        while part := await self.read():
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def abort(self) -> None:
        """Close at once. What the model server was doing for us is over."""
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        if self._error is not None:
            raise ConnectionLost(self._error, has_begun=self._has_begun)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        self._transport = cast("asyncio.Transport", transport)
        found = transport.get_extra_info("socket")
        if found is not None and found.family in {socket.AF_INET, socket.AF_INET6}:
            for option in KEEP_ALIVE:
                found.setsockopt(*option)

    def data_received(self, data: bytes) -> None:
        """Parse what came; the `on_` methods below are called from within."""
        if self.is_complete:  # nobody asked: a server saying goodbye (408), or one out of step
            self.abort()
            return
        self._has_begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._error = f"not HTTP: {error}"
            self.abort()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let whoever waits know that no more will come."""
        self._transport = None
        if not self.is_complete:
            if self._has_head and self._ends_with_connection and exc is None:
                self.is_complete = True
            elif self._error is None:
                self._error = str(exc) if exc else "closed by the model server"
        self._wake()

    # httptools

    def on_message_begin(self) -> None:
        """Begin an answer. A second one to the same request is an error, and never read."""
        if self.is_complete:
            raise ConnectionError("an answer that nobody asked for")
        self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Take the head."""
        self.status = self._parser.get_status_code()
        self._ends_with_connection = not {b"content-length", b"transfer-encoding"} & set(
            self.headers
        )
        self._has_head = self.status >= 200  # noqa: PLR2004 - 1xx comes before the real answer

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._chunks.append(body)
        self._unread_bytes += len(body)
        if self._unread_bytes > HIGH_WATER_BYTES and not self._is_paused and self._transport:
            self._is_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """End the answer. One that ends its connection too is not followed by another."""
        if not self._has_head:
            return
        self.is_complete = True
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
