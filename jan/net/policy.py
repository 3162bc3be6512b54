"""What may be fetched: which URLs, on which ports, from which addresses.

A stranger's URL is looked at twice: as it is written, and again as the addresses that its host
turned out to have. The second look is the one that counts; whatever a host is written like, in
decimal, octal, with dots at the end, it is judged by where it leads.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import httpx2

from jan.destinations import Destination
from jan.errors import UrlRefused
from jan.net import addresses
from jan.net.addresses import Address
from jan.settings import Settings

DEFAULT_PORTS = {"http": 80, "https": 443}

_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,252}[a-z0-9_])?|[0-9a-f:.]*:[0-9a-f:.]*")
"""A name without a dot at its end, or an IPv6 address. No zones, which name our own interfaces,
and no escapes, which others may read differently."""


def port_of(url: httpx2.URL) -> int:
    """The port of a URL, said or not."""
    return DEFAULT_PORTS[url.scheme] if url.port is None else url.port


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's word on it."""

    schemes: frozenset[str] = frozenset({"http", "https"})
    ports: frozenset[int] = frozenset({80, 443})
    allowed: tuple[Destination, ...] = ()
    """What may be reached though it is not public, or on other ports."""

    @classmethod
    def configured(cls, settings: Settings) -> "Policy":
        return cls(
            frozenset(settings.outbound_schemes),
            frozenset(settings.outbound_ports),
            settings.outbound_allow,
        )

    def read(self, url: str | httpx2.URL) -> httpx2.URL:
        """Read a URL as it will be used: no dot at the end of its host, and no fragment.

        Raises:
            UrlRefused: it is none, or may not be fetched whatever its host is.
        """
        try:
            read = httpx2.URL(url)
            host = read.raw_host.decode("ascii").removesuffix(".")
        except (httpx2.InvalidURL, ValueError):
            raise UrlRefused("This is no valid URL.") from None
        if read.scheme not in self.schemes:
            known = " and ".join(f"`{scheme}`" for scheme in sorted(self.schemes)) or "nothing"
            raise UrlRefused(f"Only {known} may be fetched.")
        if read.userinfo:
            raise UrlRefused("A URL with a name or a password in it is not fetched.")
        if not _HOST.fullmatch(host):
            raise UrlRefused("This is no valid URL: its host is none.")
        port = port_of(read)
        if port not in self.ports and not any(port == entry.port for entry in self.allowed):
            raise UrlRefused(f"Nothing is fetched from port {port}.")
        return read.copy_with(host=host, fragment=None)

    def check(self, host: str, port: int, found: Sequence[Address]) -> None:
        """Refuse a host by its addresses: by all of them if one is not public.

        Whoever gives one good and one bad address plans to have the bad one used.

        Raises:
            UrlRefused: its words don't say which address, nor whose.
        """
        host = host.lower().removesuffix(".")
        for address in found:
            if not self._permits(host, port, address):
                raise UrlRefused("It leads to an address or a port from which nothing is fetched.")

    def _permits(self, host: str, port: int, address: Address) -> bool:
        if addresses.is_public(address) and port in self.ports:
            return True
        arrives = addresses.effective(address)
        return any(
            (port == entry.port or (entry.port is None and port in self.ports))
            and entry.matches(host, (address, arrives))
            for entry in self.allowed
        )
