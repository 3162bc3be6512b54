"""Whom the operator trusts, as settings write it: origins of web pages, networks of proxies.

Each is brought into one form, or refused with a sentence that says what to write.
Source: https://html.spec.whatwg.org/multipage/browsers.html#concept-origin
"""

import ipaddress
import re
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ANY_ORIGIN = "*"
"""Every origin there is, and so none that is trusted with credentials."""

DEFAULT_PORTS = {"http": "80", "https": "443"}
"""Left out by browsers where they name an origin."""

NEVER_DELEGATED = frozenset({"localhost", "local", "internal", "test"})
"""Top-level names below which no stranger gets a name (RFC 6761, RFC 6762, ICANN for `internal`):
`*.com` would trust everybody, `*.internal` only the operator's own network."""

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ORIGIN = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<star>\*\.?)?"
    r"(?P<host>\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
_HOW = "write an origin such as https://app.example.com or https://*.example.com"


def origins(entries: Iterable[str]) -> tuple[str, ...]:
    """Read a list of origins. What comes out is compared with `Origin` as browsers write it.

    Entries may be as Jan Server has them. A bare host stands for https, or http where it is this
    machine. `*example.com`, which there is a mere suffix and lets `https://evilexample.com` in,
    stands for https://example.com and all that is below it.

    Raises:
        ValueError: an entry is no origin, or would trust more than it seems to.
    """
    read = tuple(dict.fromkeys(origin for entry in entries for origin in _origins(entry)))
    if ANY_ORIGIN in read and len(read) > 1:
        raise ValueError(
            "`*` means any origin, without credentials, and stands alone: "
            "name the origins that are to have them, or leave out the others"
        )
    return read


def hosts(entries: Iterable[str]) -> tuple[str, ...]:
    """Read a list of host names, without ports.

    Raises:
        ValueError: an entry is none.
    """
    read = tuple(dict.fromkeys(entry.lower().rstrip(".") for entry in entries))
    for name in read:
        if not _NAME.fullmatch(name):
            raise ValueError(f"`{name}` is no host name: write it alone, as in jan.example.com")
    return read


def _origins(entry: str) -> tuple[str, ...]:
    if entry == ANY_ORIGIN:
        return (ANY_ORIGIN,)
    found = _ORIGIN.fullmatch(entry.lower())
    if found is None or found["host"] == "null":
        raise ValueError(f"`{entry}` is no origin: {_HOW}")
    scheme, star, port = found["scheme"], found["star"], found["port"]
    host = _host(entry, found["host"])
    if star:
        _check_wildcard(entry, scheme, star, host)
    if port is not None and not 0 < int(port) <= 65535:  # noqa: PLR2004
        raise ValueError(f"`{entry}` has a port that does not exist")
    scheme = scheme or ("http" if _is_this_machine(host) else "https")
    ending = "" if port is None or port == DEFAULT_PORTS.get(scheme) else f":{int(port)}"
    if not star:
        return (f"{scheme}://{host}{ending}",)
    below = f"{scheme}://*.{host}{ending}"
    return (below,) if star == "*." else (f"{scheme}://{host}{ending}", below)


def _host(entry: str, host: str) -> str:
    try:
        if host.startswith("["):
            return f"[{ipaddress.IPv6Address(host[1:-1])}]"
        if host.rpartition(".")[2].isdecimal():
            return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise ValueError(f"`{entry}` has no valid IP address") from None
    if not host.isascii():
        raise ValueError(f"`{entry}`: write the name as browsers send it, in its xn--... form")
    if "*" in host or not _NAME.fullmatch(host):
        raise ValueError(
            f"`{entry}`: a `*` may only stand before a whole name, as in https://*.example.com"
            if "*" in entry
            else f"`{entry}` has no valid host: {_HOW}"
        )
    return host


def _check_wildcard(entry: str, scheme: str | None, star: str, host: str) -> None:
    if scheme is not None and star == "*":
        raise ValueError(f"`{entry}`: a dot must follow the `*`, as in https://*.example.com")
    if scheme not in {None, *DEFAULT_PORTS}:
        raise ValueError(f"`{entry}`: only http and https origins may have a `*`")
    if host.startswith("[") or host.rpartition(".")[2].isdecimal():
        raise ValueError(f"`{entry}`: nothing is below an IP address")
    if "." not in host and host not in NEVER_DELEGATED:
        raise ValueError(
            f"`{entry}` would trust everybody with a name in `{host}`: name more of it"
        )


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = as_address(host.strip("[]"))
    return address is not None and address.is_loopback


def network(entry: object) -> Network:
    """Read an IP network such as `10.0.0.0/8`, or one address.

    Raises:
        ValueError: it is none, or holds every address there is.
    """
    if isinstance(entry, Network):
        return entry
    try:
        read = ipaddress.ip_network(str(entry))
    except ValueError:
        raise ValueError(_why_no_network(str(entry))) from None
    if isinstance(read, ipaddress.IPv6Network) and read.subnet_of(_MAPPED):
        mapped = ipaddress.IPv4Address(int(read.network_address) & 0xFFFFFFFF)
        read = ipaddress.IPv4Network((mapped, read.prefixlen - _MAPPED.prefixlen))
    if read.prefixlen == 0:
        raise ValueError(
            f"`{entry}` would let everybody say which address they come from: "
            "name the network that your proxies are in"
        )
    return read


def _why_no_network(entry: str) -> str:
    try:
        wider = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return f"`{entry}` is no IP address or network such as 10.0.0.0/8"
    return f"`{entry}` is an address within a network: write {wider}, or the address alone"


def as_address(text: str) -> Address | None:
    """Read an IP address. An IPv4 address in IPv6's clothes is an IPv4 address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        # Without the zone of a link-local address: it means nothing elsewhere.
        return address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    return address
