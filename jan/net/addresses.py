"""Which IP addresses belong to the public internet.

Everything is refused that is not global unicast, so that a name which a stranger chose never leads
into the operator's own network. The standard library's `is_global` is not asked: what it says has
changed within 3.11, and it looks into few of the addresses that embed others.

Sources: https://www.iana.org/assignments/iana-ipv4-special-registry and
https://www.iana.org/assignments/iana-ipv6-special-registry
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

_NOT_PUBLIC_4 = [
    IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8"),
        "169.254.0.0/16",  # link-local, and where clouds tell a machine its credentials
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # Public by its number, but it is Azure's host, which every machine there reaches as such.
        "168.63.129.16/32",
    )
]
_UNICAST_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocols' own; Teredo, which hides an IPv4 address, is the first of them
        *("2001:db8::/32", "3fff::/20"),
    )
]
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")


def effective(address: Address) -> Address:
    """The address at which packets for this one arrive: the IPv4 one that it embeds, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _MAPPED or address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _6TO4:
        return IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether it is somewhere on the internet, and nowhere nearer."""
    arrives = effective(address)
    if isinstance(arrives, IPv4Address):
        return not any(arrives in network for network in _NOT_PUBLIC_4)
    return arrives in _UNICAST_6 and not any(arrives in network for network in _NOT_PUBLIC_6)
