"""Requests to one model server over kept-alive connections.

A request is sent again if the kept-alive connection that it went out on turns out to be closed
before a byte of the answer: the server had ended it while we wrote. Nothing else is repeated.
"""

import asyncio
import functools
import ssl
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

from jan import clock
from jan.inference.connection import Connection, ConnectionLost

IDLE_LIMIT_S = 4.0
"""Longest rest after which a connection is used again. vLLM closes its own after 5 s."""


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Whom this machine trusts: milliseconds and megabytes to read, so once for all clients."""
    return ssl.create_default_context()


Headers = Iterable[tuple[bytes, bytes]]
MayLeave = Callable[[], bool]


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
        self._ssl = _trusted() if parts.scheme == "https" else None
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
        headers: Headers = (),
        body: bytes = b"",
    ) -> AsyncGenerator[Connection]:
        """Send a request; inside the block its answer can be read. Leaving early aborts it.

        Raises:
            Unreachable: no connection.
            ConnectionLost: the answer ended before its end; also from reads inside the block.
        """
        connection = await self.send(method, target, headers, body)
        try:
            yield connection
        finally:
            self.put_back(connection)

    async def send(  # noqa: PLR0913, PLR0917 - as `request`, and who may end the wait
        self,
        method: bytes,
        target: bytes,
        headers: Headers = (),
        body: bytes = b"",
        pending: dict[Connection, MayLeave] | None = None,
        may_leave: MayLeave = lambda: False,
    ) -> Connection:
        """Send a request and wait for the head of its answer. `put_back` is owed afterwards.

        While its head is awaited the connection is in `pending`, with what tells whether that could
        be done elsewhere: whoever aborts it there has ConnectionLost raised here. Raises as
        `request`.
        """
        lines = [method, b" ", self._base, target, self._host_line]
        for name, value in headers:
            lines += (b"\r\n", name, b": ", value)
        lines.append(b"\r\ncontent-length: %d\r\n\r\n" % len(body))
        head = b"".join(lines)
        while True:
            connection = self._take_idle() or await self._connect()
            if pending is not None:
                pending[connection] = may_leave
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
            finally:
                if pending is not None:
                    pending.pop(connection, None)

    def _take_idle(self) -> Connection | None:
        oldest_s = clock.monotonic_s() - IDLE_LIMIT_S
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since_s > oldest_s:
                connection.is_reused = True
                return connection
            connection.abort()
        return None

    def put_back(self, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end; end any other."""
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
