"""What the gateway is made of. The worker builds it, the app is made from it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from jan.caller import Caller
from jan.chat.relay import Relay
from jan.inference.catalog import Catalog
from jan.telemetry import Exchange

Check = Callable[[], Awaitable[None]]
"""Returns if a dependency is well, raises otherwise."""


class Keys(Protocol):
    """Tells who holds a key."""

    def known(self, key: str) -> Caller | None:
        """Tell at once, if it is known by now. Raises Unauthorized for a key known bad."""
        ...

    async def resolve(self, key: str) -> Caller:
        """Find out. Raises Unauthorized or DatabaseUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that an app needs of the process around it."""

    keys: Keys
    catalog: Catalog
    relay: Relay
    checks: Mapping[str, Check]
    """What else a request depends on, by name."""
    optional_checks: Mapping[str, Check]
    """What is told beside it, and can be done without."""
    record: Callable[[Exchange], None]
    """Takes a finished request of the data plane into the usage table. Never blocks or raises."""
