"""Who is at the other end of a request: their address and scheme, seen through trusted proxies.

Only proxies that the setting `trusted_proxies` names are believed. Each of them adds at the right
of `X-Forwarded-For` whom it was called by, so the list is read from the right: the first address
that is no trusted proxy's is the client's, and what stands left of it is the client's own claim.

`Forwarded` (RFC 7239) is not read. Proxies pass on the kind of header that they do not write
themselves, so whoever believes both believes the client.

Nothing is worked out before somebody asks. The gateway puts `Proxies` into the scope's state.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jan.trust import Address, Network, as_address

MAX_HOPS = 32
"""Addresses that are looked at: a header may hold thousands, a chain of proxies has a few."""
MAX_PEERS = 4096
"""Peers of which is remembered whether they are trusted."""

FORWARDED_FOR = b"x-forwarded-for"
FORWARDED_PROTO = b"x-forwarded-proto"
LEFT_BY_PROXIES = frozenset(
    {FORWARDED_FOR, FORWARDED_PROTO, b"x-forwarded-host", b"x-real-ip", b"forwarded", b"via"}
)
"""Headers that tell of a proxy, whether or not it is to be believed."""

Scope = Mapping[str, Any]


class Proxies:
    """The proxies that are trusted."""

    def __init__(self, networks: tuple[Network, ...] = ()) -> None:
        self.networks = networks
        self.trusts = lru_cache(MAX_PEERS)(self._trusts)
        """Tell whether an address, as text, is a trusted proxy's."""

    def _trusts(self, text: str) -> bool:
        address = as_address(text)
        return address is not None and self.includes(address)

    def includes(self, address: Address) -> bool:
        """Tell whether an address is a trusted proxy's."""
        return any(address in network for network in self.networks)


_NONE = Proxies()


def address_of(scope: Scope) -> str:
    """Tell the client's IP address. Empty if the connection has none, as a Unix socket's.

    If a trusted proxy reports what is no address, the proxy's own is told.
    """
    return _locate(scope)[0]


def is_secure(scope: Scope) -> bool:
    """Tell whether the client speaks https: with Jan, or with the outermost trusted proxy."""
    if scope["scheme"] == "https":
        return True
    if not _proxies(scope).trusts(_peer(scope)):
        return False
    schemes = [scheme.lower() for scheme in _listed(scope, FORWARDED_PROTO, MAX_HOPS)]
    if len(schemes) > 1:
        # As many from the right as addresses were believed: the client may have begun the list.
        schemes = schemes[: max(_locate(scope)[1], 1)]
    return bool(schemes) and schemes[-1] == "https"


def wants_secure_cookie(scope: Scope) -> bool:
    """Tell whether a cookie for this client is to be `Secure`.

    It is, unless the browser surely runs on this machine and speaks http with Jan itself. A proxy
    on this machine that is not named as trusted must not bring it about.
    """
    peer = _peer(scope)
    has_strange_proxy = not _proxies(scope).trusts(peer) and any(
        name in LEFT_BY_PROXIES for name, _ in scope["headers"]
    )
    return (
        has_strange_proxy
        or is_secure(scope)
        or not _is_loopback(address_of(scope))
        or not _is_loopback(_host(scope))
    )


def _proxies(scope: Scope) -> Proxies:
    return scope.get("state", {}).get("proxies", _NONE)


def _peer(scope: Scope) -> str:
    return scope["client"][0] if scope["client"] else ""


def _locate(scope: Scope) -> tuple[str, int]:
    """Find the client's address, and how many entries of `X-Forwarded-For` told of it."""
    proxies, peer = _proxies(scope), _peer(scope)
    known, believed = as_address(peer), 0
    if known is None:
        return peer, 0
    for entry in _listed(scope, FORWARDED_FOR, MAX_HOPS):
        if not proxies.includes(known):
            break
        believed += 1
        hop = as_address(without_port(entry))
        if hop is None:
            break
        known = hop
    return str(known), believed


def _listed(scope: Scope, name: bytes, limit: int) -> Iterator[str]:
    """Take a list apart from the right. It may be spread over several headers of the name."""
    for header, value in reversed(scope["headers"]):
        if header == name:
            for part in reversed(value.rsplit(b",", limit)[-limit:]):
                if limit == 0:
                    return
                limit -= 1
                if entry := part.strip():
                    yield entry.decode("latin-1")


def without_port(entry: str) -> str:
    """Tell an address or a name without the port behind it, and without brackets."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    host, colon, _ = entry.partition(":")
    # More than one colon: an IPv6 address without a port.
    return host if colon and entry.count(":") == 1 else entry


def _host(scope: Scope) -> str:
    """Read the name that the client called Jan by."""
    for name, value in scope["headers"]:
        if name == b"host":
            return without_port(value.decode("latin-1"))
    return ""


def _is_loopback(host: str) -> bool:
    address = as_address(host)
    if address is not None:
        return address.is_loopback
    name = host.lower()
    return name == "localhost" or name.endswith(".localhost")
