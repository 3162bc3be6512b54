"""Whom the operator trusts, as settings write it: networks of proxies.

Each is brought into one form, or refused with a sentence that says what to write.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


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
