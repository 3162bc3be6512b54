"""Names to addresses, as this machine knows them."""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Protocol

from jan.errors import UrlNotFetched
from jan.net.addresses import Address

THREADS = 8
"""What waits for name servers. Of its own: a name server that hangs, and strangers have those, must
not keep passwords from being hashed."""


class Resolver(Protocol):
    """Finds the addresses of a host."""

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Find them, best first, at least one.

        Raises:
            UrlNotFetched: there is no such host, as far as can be told.
        """
        ...

    def close(self) -> None:
        """Take no more names. Does not wait for those that are being looked up."""
        ...


class SystemResolver:
    """Asks as every program on this machine does: `/etc/hosts`, then name servers.

    Every spelling of an address that the system knows is an address here, too.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resolver")

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Find the addresses of a host."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError):
            raise UrlNotFetched("There is no such host.") from None
        return list(dict.fromkeys(ip_address(place[0]) for *_, place in found))

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
