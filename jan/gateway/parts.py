"""What the gateway is made of. The worker builds it, the app is made from it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from jan.auth.cache import Credential
from jan.auth.means import Means
from jan.auth.passwords import Passwords
from jan.caller import Caller
from jan.chat.relay import Relay
from jan.invites.means import Means as InviteMeans
from jan.metrics.requests import Requests
from jan.responses.carrying import Carriers
from jan.responses.leases import Leases
from jan.responses.news import News
from jan.settings import Settings
from jan.telemetry import Exchange
from jan.tools.toolbox import Toolbox
from jan.trust import Network

Check = Callable[[], Awaitable[Mapping[str, Any] | None]]
"""Returns if a dependency is well, perhaps with what else can be told of it; raises otherwise."""


class Credentials(Protocol):
    """Tells who a credential stands for."""

    def known(self, credential: Credential) -> Caller | None:
        """Tell at once, if it is known by now. Raises Unauthorized for one that is known bad."""
        ...

    async def resolve(self, credential: Credential) -> Caller:
        """Find out. Raises Unauthorized, NotFound or DatabaseUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that an app needs of the process around it."""

    settings: Settings
    credentials: Credentials
    key_secret: str
    """What API keys are digested with."""
    passwords: Passwords
    means: Means
    """Of signing in."""
    relay: Relay
    standing: Callable[[], Mapping[str, Any]]
    """Tells how the fleet stands."""
    invites: InviteMeans
    checks: Mapping[str, Check]
    """What else a request depends on, by name."""
    optional_checks: Mapping[str, Check]
    """What is told beside it, and can be done without."""
    record: Callable[[Exchange], None]
    """Takes a finished request of the data plane into the usage table. Never blocks or raises."""
    note_use: Callable[[str], None] = lambda _: None
    """Takes the id of a key that was used for something else. The same."""
    requests: Requests = field(default_factory=Requests)
    """Where all that have ended are counted."""
    allowed_origins: tuple[str, ...] = ()
    """Origins whose pages may read answers, as `jan.trust.origins` writes them."""
    leases: Leases = field(default_factory=Leases)
    """Of responses that this process makes."""
    news: News = field(default_factory=News)
    """Of responses that any process makes."""
    public_url: str | None = None
    """Where people reach this Jan, if that is configured."""
    names: frozenset[str] = frozenset()
    """Host names by which MCP clients may call it, as `jan.mcp.site.names` tells them."""
    trusted_proxies: tuple[Network, ...] = ()
    """Proxies that are believed what they say of clients."""
    carriers: Carriers | None = None
    """Of what models call. None: nothing is carried out."""
    toolbox: Toolbox | None = None
    """What tools there are. None: there are none, and nobody may call others."""
