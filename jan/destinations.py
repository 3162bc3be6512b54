"""What of the operator's own network may be reached, as the setting `outbound_allow` writes it."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from jan.trust import Address, Network

_ENTRY = re.compile(
    r"(?P<star>\*\.)?(?P<host>\[[^\]]*\]|[^\[\]:]+|[^\[\]]*:[^\[\]]*:[^\[\]]*)(?::(?P<port>[0-9]{1,5}))?"
)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HOW = "write a host, an address or a network, such as wiki.internal:8080 or 10.0.0.0/8"


@dataclass(frozen=True, slots=True)
class Destination:
    """One entry: a host, all hosts below a name, or a network; on one port or on the usual ones."""

    name: str | None = None
    is_wildcard: bool = False
    network: Network | None = None
    port: int | None = None

    def matches(self, host: str, addresses: Iterable[Address]) -> bool:
        """Whether it covers a host by its name, or by one of the addresses that are one."""
        if self.network is not None:
            return any(address in self.network for address in addresses)
        if self.is_wildcard:
            return host.endswith(f".{self.name}")
        return host == self.name

    def __str__(self) -> str:
        if self.network is None:
            host = f"*.{self.name}" if self.is_wildcard else str(self.name)
        else:
            host = str(self.network).removesuffix(f"/{self.network.max_prefixlen}")
        if self.port is None:
            return host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def destination(entry: object) -> Destination:
    """Read one.

    Raises:
        ValueError: it is none, with a sentence that says what to write.
    """
    if isinstance(entry, Destination):
        return entry
    text = str(entry).lower()
    found = _ENTRY.fullmatch(text)
    if found is None:
        raise ValueError(f"`{entry}`: {_HOW}")
    host, star = found["host"].removeprefix("[").removesuffix("]"), bool(found["star"])
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port <= 65535:  # noqa: PLR2004
        raise ValueError(f"`{entry}` has a port that does not exist")
    if not star and (":" in host or host.rpartition(".")[2].partition("/")[0].isdecimal()):
        try:
            return Destination(network=ipaddress.ip_network(host), port=port)
        except ValueError as error:
            raise ValueError(f"`{entry}`: {error}; {_HOW}") from None
    if not _NAME.fullmatch(host):
        raise ValueError(f"`{entry}`: {_HOW}")
    return Destination(name=host, is_wildcard=star, port=port)
