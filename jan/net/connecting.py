"""Connections that lead only to addresses that were looked at.

A host is resolved once, its addresses are checked, and one of them is connected to: between the
check and the use there is no second look into DNS that could tell something else. What TLS expects
in the certificate is still the host.
"""

import ssl
import time
from collections.abc import Iterable
from typing import Any

import anyio
import httpcore2
from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream
from httpcore2._backends.anyio import AnyIOBackend

from jan.net.policy import Policy
from jan.net.resolver import Resolver

MAX_TRIED = 4
"""Of a host's addresses. Its owner may list a thousand that hang."""

SocketOption = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)


class PinnedBackend(AsyncNetworkBackend):
    """Connects for httpcore2, which asks it for every new connection, after redirects as before."""

    def __init__(self, policy: Policy, resolver: Resolver) -> None:
        self._policy = policy
        self._resolver = resolver
        self._plain = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> AsyncNetworkStream:
        """Connect.

        Raises:
            UrlRefused: one of the host's addresses is none that may be connected to.
            UrlNotFetched: there is no such host.
            httpcore2.ConnectError, httpcore2.ConnectTimeout: of the last address that was tried.
        """
        started_s = time.monotonic()
        found = await self._resolver.resolve(host, port)
        self._policy.check(host, port, found)
        tried = found[:MAX_TRIED]
        for number, address in enumerate(tried, 1):
            share_s = None
            if timeout is not None:
                left_s = max(0.0, timeout - (time.monotonic() - started_s))
                share_s = left_s / (len(tried) - number + 1)
            try:
                return _Closing(
                    await self._plain.connect_tcp(
                        str(address), port, share_s, local_address, socket_options
                    )
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if number == len(tried):
                    raise
        raise httpcore2.ConnectError("The host has no address.")

    async def sleep(self, seconds: float) -> None:
        """Wait before another try."""
        await self._plain.sleep(seconds)


class _Closing(AsyncNetworkStream):
    """A connection that is closed when cancelled in the middle of TLS's handshake.

    httpcore2 closes it on errors only, and whoever lets us wait there is cancelled by a time-out.
    """

    def __init__(self, stream: AsyncNetworkStream) -> None:
        self._stream = stream

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        """Go on in TLS, on the stream that is returned."""
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
            raise

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read as the stream does."""
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write as the stream does."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        """Tell what the stream does."""
        return self._stream.get_extra_info(info)
