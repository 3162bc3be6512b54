"""Requests to one model server over kept-alive connections.

A request is sent again if the kept-alive connection that it went out on turns out to be closed
before a byte of the answer: the server had ended it while we wrote. Nothing else is repeated.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

from jan import clock
from jan.inference.connection import Connection, ConnectionLost

IDLE_LIMIT_S = 4.0
"""Longest rest after which a connection is used again. vLLM closes its own after 5 s."""


class Unreachable(Exception):
    """No connection to the model server could be made."""


class Client:
    """Sends requests to the server at `url`. Closing it drops the idle connections.

    `unix:///path` is a server that listens on a Unix socket.
    """

    def __init__(self, url: str, *, connect_timeout_s: float) -> None:
        parts = urlsplit(url)
        self._socket = unquote(parts.path) if parts.scheme == "unix" else None
        self._host = parts.hostname or "localhost"
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._ssl else 80)
        self._base = b"" if self._socket else parts.path.rstrip("/").encode()
        host = parts.netloc.rpartition("@")[2] or self._host
        self._host_line = b" HTTP/1.1\r\nhost: " + host.encode()
        self._connect_timeout_s = connect_timeout_s
        self._idle: list[Connection] = []

    @asynccontextmanager
    async def request(
        self,
        method: bytes,
        target: bytes,
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: bytes = b"",
    ) -> AsyncGenerator[Connection]:
        """Send a request; inside the block its answer can be read. Leaving early aborts it.

        Raises:
            Unreachable: no connection.
            ConnectionLost: the answer ended before its end; also from reads inside the block.
        """
        lines = [method, b" ", self._base, target, self._host_line]
        for name, value in headers:
            lines += (b"\r\n", name, b": ", value)
        lines.append(b"\r\ncontent-length: %d\r\n\r\n" % len(body))
        connection = await self._send(b"".join(lines), body)
        try:
            yield connection
        finally:
            self._put_back(connection)

    async def _send(self, head: bytes, body: bytes) -> Connection:
        while True:
            connection = self._take_idle() or await self._connect()
            try:
                await connection.request(head, body)
            except ConnectionLost as lost:
                if connection.is_reused and not lost.has_begun:
                    continue
                raise
            except BaseException:
                connection.abort()
                raise
            else:
                return connection

    def _take_idle(self) -> Connection | None:
        oldest_s = clock.monotonic_s() - IDLE_LIMIT_S
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since_s > oldest_s:
                connection.is_reused = True
                return connection
            connection.abort()
        return None

    def _put_back(self, connection: Connection) -> None:
        if connection.is_reusable:
            connection.idle_since_s = clock.monotonic_s()
            self._idle.append(connection)
        else:
            connection.abort()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                if self._socket:
                    made = await loop.create_unix_connection(Connection, self._socket)
                else:
                    made = await loop.create_connection(
                        Connection, self._host, self._port, ssl=self._ssl
                    )
        except TimeoutError:
            raise Unreachable(f"no connection within {self._connect_timeout_s:g} s") from None
        except (FileNotFoundError, ConnectionRefusedError) as error:
            nobody = "nobody listens on its socket" if self._socket else error.strerror
            raise Unreachable(nobody or str(error)) from None
        except OSError as error:
            raise Unreachable(error.strerror or str(error)) from None
        return made[1]

    def close(self) -> None:
        """Drop the idle connections. Answers being read are left to their readers."""
        while self._idle:
            self._idle.pop().abort()
