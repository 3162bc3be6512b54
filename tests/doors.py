"""A gateway at whose door people sign in: real sessions, real look-ups, a real database."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import anyio
import httpx

from jan.auth import cookies
from jan.auth.cache import CredentialCache
from jan.auth.means import Means
from jan.auth.passwords import Passwords
from jan.auth.tokens import AccessTokens
from jan.db import scope
from jan.db.engine import Database
from jan.issuers import OidcProvider
from jan.trust import Network, network
from jan.users.registration import register
from tests import gateways
from tests.conftest import execute, fetch
from tests.gateways import SECRETS, Gateway, running_gateway

NOWHERE = "http://127.0.0.1:1"
"""Where no model server is."""
PROXY = network("127.0.0.1")
"""Lets a test say who the client is, by `X-Forwarded-For`."""
EMAIL = "ada@example.com"
PASSWORD = "a difference engine"
SESSION_HEADERS = {"sec-fetch-site": "same-origin"}
"""What a browser says of a request of our own pages."""

TOKENS = AccessTokens(SECRETS.jwt_secret)


@dataclass
class Door:
    """A running gateway, and what it is made of."""

    gateway: Gateway
    means: Means
    cache: CredentialCache

    @property
    def url(self) -> str:
        """Where it is."""
        return self.gateway.url

    def visitor(self, **headers: str) -> httpx.AsyncClient:
        """Make somebody who keeps cookies, as browsers do. Underscores stand for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.AsyncClient(base_url=self.url, headers=named, timeout=gateways.DEADLINE_S)


@asynccontextmanager
async def door(
    database: Database,
    *,
    providers: dict[str, OidcProvider] | None = None,
    trusted_proxies: tuple[Network, ...] = (PROXY,),
    allowed_origins: tuple[str, ...] = (),
    **said: Any,
) -> AsyncGenerator[Door]:
    """Run one. `said` are settings."""
    means = gateways.means(**said)
    if providers:
        oidc = type(means.oidc)(providers, secret=SECRETS.jwt_secret)
        means = replace(means, oidc=oidc, providers=providers)
    cache = CredentialCache(database, SECRETS.api_key_secret, TOKENS)
    async with means.oidc, anyio.create_task_group() as group:
        group.start_soon(cache.run)
        await gateways.until(lambda: cache._heard_since_s is not None)
        async with running_gateway(
            NOWHERE,
            credentials=cache,
            signing_in=means,
            trusted_proxies=trusted_proxies,
            allowed_origins=allowed_origins,
        ) as gateway:
            yield Door(gateway, means, cache)
        group.cancel_scope.cancel()


async def new_person(
    passwords: Passwords, email: str = EMAIL, *, password: str | None = PASSWORD
) -> str:
    """Register somebody. Returns their id."""
    password_hash = await passwords.hash(password) if password else None
    async with scope.system() as connection:
        new = await register(connection, email=email, name="Ada", password_hash=password_hash)
    return new.id


async def login(
    client: httpx.AsyncClient, email: str = EMAIL, password: str = PASSWORD, **headers: str
) -> httpx.Response:
    """Sign in by password."""
    said = {"email": email, "password": password}
    return await client.post("/v1/auth/login", json=said, headers=headers)


def bearer(answer: httpx.Response) -> dict[str, str]:
    """Use the access token that an answer holds."""
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


def refresh_token(client: httpx.AsyncClient) -> str:
    """Read the cookie as a thief would."""
    return client.cookies[cookies.REFRESH]


def with_cookie(token: str) -> dict[str, str]:
    """Send a cookie that is not the browser's own."""
    return {"cookie": f"{cookies.REFRESH}={token}"}


async def acts(*kinds: str) -> Sequence[str]:
    """List what was written down, in its order."""
    rows = await fetch("SELECT type FROM audit_log ORDER BY chain, sequence")
    return [row["type"] for row in rows if not kinds or row["type"] in kinds]


async def disable(user_id: str) -> None:
    """Do what an administrator does."""
    await execute("UPDATE users SET is_enabled = false WHERE id = $1", user_id)
