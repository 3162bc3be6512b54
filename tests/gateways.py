"""A gateway on a real socket in the test's own loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import pytest
from argon2.profiles import CHEAPEST

from jan import permissions, settings
from jan.auth.cache import Credential
from jan.auth.means import Means
from jan.auth.passwords import Passwords
from jan.caller import Caller
from jan.chat.relay import Relay
from jan.errors import DatabaseUnavailable, Unauthorized
from jan.gateway import server as gateway_server
from jan.gateway.app import create_app
from jan.gateway.front import Front
from jan.gateway.parts import Credentials, Parts
from jan.inference.catalog import Catalog
from jan.inference.checks import Checks
from jan.inference.fleet import Fleet
from jan.inference.images import Images
from jan.inference.registry import Endpoint, Registry
from jan.inference.watch import Alone
from jan.invites.means import Means as InviteMeans
from jan.keyring import Keyring
from jan.net.guard import Guard
from jan.responses.leases import Leases
from jan.responses.news import News
from jan.telemetry import Exchange
from jan.trust import Network
from tests.fakes import FakeUpstream, fake_upstream

KEY = "sk-jan-good"
"""The one key that works."""
KEY_SECRET = "s" * 32
"""What keys are digested with."""
PASSWORDS = Passwords(CHEAPEST)
"""As weak as can be: tests hash many."""
DEADLINE_S = 5


CALLER = Caller(
    kind="key",
    scopes=permissions.KEY_KINDS["project"],
    organization_id="org_1",
    project_id="proj_1",
    key_id="key_1",
)
"""Who holds it."""


SECRETS = Keyring("j" * 32, "s" * 32, "")
"""Of every gateway."""


def means(**said: Any) -> Means:
    """What signing in needs, as settings say it, with passwords that cost nothing."""
    loaded = settings.load(said, environ={})
    return Means.configured(loaded.settings, SECRETS, passwords=Passwords(CHEAPEST))


def inviting(**said: Any) -> InviteMeans:
    """What invites need, as settings say it, with passwords that cost nothing."""
    loaded = settings.load(said, environ={})
    return InviteMeans.configured(loaded.settings, SECRETS, passwords=Passwords(CHEAPEST))


def endpoint(url: str, endpoint_id: str = "ep_1", **more: Any) -> Endpoint:
    """Make an endpoint of a registry that was never written down."""
    said: dict[str, Any] = {"provider": "fake", "api_key": "upstream-secret"} | more
    return Endpoint(id=endpoint_id, url=url, **said)


class OneKey:
    """Knows one key, by heart."""

    def known(self, credential: Credential) -> Caller | None:
        """Tell who holds it."""
        return CALLER if credential.token == KEY else None

    async def resolve(self, credential: Credential) -> Caller:  # noqa: ARG002 - as the Protocol has it
        """Know no other."""
        raise Unauthorized("Incorrect API key provided.")


@dataclass
class Gateway:
    """A running gateway."""

    url: str
    front: Front
    relay: Relay
    fleet: Fleet
    server: gateway_server.Server
    rows: list[Exchange]
    """What went into the usage table."""
    is_database_up: bool = True

    @property
    def catalog(self) -> Catalog:
        """What can be asked for."""
        return self.fleet.catalog

    def client(self, key: str | None = KEY) -> httpx.AsyncClient:
        """Make a client that sends `key`."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=DEADLINE_S)


async def until(condition: Callable[[], Any]) -> None:
    """Wait until it is so."""
    with anyio.fail_after(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def serving(front: Front) -> AsyncGenerator[tuple[str, gateway_server.Server]]:
    """Serve an app on a free port, and tell its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = gateway_server.configured(front)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def running_gateway(  # noqa: PLR0913 - as many as a gateway has parts
    upstream_url: str,
    *,
    credentials: Credentials | None = None,
    signing_in: Means | None = None,
    invites: InviteMeans | None = None,
    heartbeat_s: float = 15,
    max_body_bytes: int = 1_000_000,
    allowed_origins: tuple[str, ...] = (),
    trusted_proxies: tuple[Network, ...] = (),
    leases: Leases | None = None,
    news: News | None = None,
    guard: Guard | None = None,
    said: dict[str, Any] | None = None,
    registry: Registry | None = None,
    fleet_means: dict[str, Any] | None = None,
    **more: Any,
) -> AsyncGenerator[Gateway]:
    """Run a gateway before an upstream that may not be there yet. `said` are settings.

    In place of the one upstream there may be a whole `registry`.

    `more` goes to its parts.
    """
    images = Images(guard, max_bytes=max_body_bytes) if guard else None
    fleet = Fleet(connect_timeout_s=2, images=images, **(fleet_means or {}))
    checks = Checks(fleet, Alone(), interval_s=5, timeout_s=10, connect_timeout_s=2)
    fleet.doubted = checks.doubt
    checks.apply(registry or Registry([endpoint(upstream_url)]))
    relay = Relay(fleet, heartbeat_s=heartbeat_s, max_body_bytes=max_body_bytes)

    rows: list[Exchange] = []

    async def ping() -> None:
        if not gateway.is_database_up:
            raise DatabaseUnavailable("The database does not answer.")

    async def fail() -> None:
        raise DatabaseUnavailable("The replica does not answer.")

    front = create_app(
        Parts(
            settings=settings.load(said or {}, environ={}).settings,
            credentials=credentials or OneKey(),
            key_secret=KEY_SECRET,
            passwords=PASSWORDS,
            means=signing_in or means(),
            relay=relay,
            standing=checks.standing,
            invites=invites or inviting(),
            checks={"database": ping},
            optional_checks={"replica_1": fail},
            record=rows.append,
            allowed_origins=allowed_origins,
            trusted_proxies=trusted_proxies,
            leases=leases or Leases(),
            news=news or News(),
            **more,
        )
    )
    looking = asyncio.create_task(checks.run())
    try:
        async with serving(front) as (url, server):
            gateway = Gateway(url, front, relay, fleet, server, rows)
            try:
                yield gateway
            finally:
                front.passages.cut()
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        fleet.close()


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    """A model server that does as it is told."""
    async with fake_upstream() as fake:
        yield fake


@pytest.fixture
async def gateway(upstream: FakeUpstream) -> AsyncIterator[Gateway]:
    """A gateway whose model server is ready."""
    async with running_gateway(upstream.url) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        yield gateway


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key that works."""
    async with gateway.client() as client:
        yield client
