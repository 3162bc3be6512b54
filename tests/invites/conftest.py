"""A Jan with two organizations, people in them, and a real gateway that knows who is who."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import openai
import pytest

from jan.auth.cache import Credential, CredentialCache
from jan.auth.people import Visitor
from jan.auth.tokens import AccessTokens
from jan.caller import Caller
from jan.db.engine import Database
from jan.invites import acceptance
from jan.invites import service as invites
from jan.invites.means import Means
from jan.invites.schemas import Acceptance, AcceptedInvite, Invite, InviteCreate, InviteProject
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from jan.organization import access
from tests.conftest import execute, fetch
from tests.fakes import FakeUpstream
from tests.gateways import (
    DEADLINE_S,
    SECRETS,
    Gateway,
    inviting,
    running_gateway,
    until,
    upstream,
)

__all__ = ["upstream"]

PATH = "/v1/organization/invites"
BOB = "bob@example.com"
TOKENS = AccessTokens(SECRETS.jwt_secret)
PEOPLE = {
    "owner_a": ("org_a", "owner"),
    "reader_a": ("org_a", "reader"),
    "member_a": ("org_a", "member"),
    "owner_b": ("org_b", "owner"),
}
PROJECTS = {"proj_a": "org_a", "proj_a2": "org_a", "proj_archived": "org_a", "proj_b": "org_b"}


@dataclass
class Office:
    """What is there, and ways to it."""

    gateway: Gateway
    cache: CredentialCache
    means: Means

    def token(self, person: str) -> str:
        """Get the access token of somebody who is signed in."""
        return TOKENS.issue(user_id=person, session_id=f"sess_{person}")

    async def caller(self, person: str = "owner_a") -> Caller:
        """Tell who somebody is."""
        return await self.cache.resolve(Credential(self.token(person)))

    async def ask(
        self, who: str | None, method: str, path: str = "", json: Any = None
    ) -> httpx.Response:
        """Ask once, as a person, with a key, or as nobody."""
        token = self.token(who) if who in PEOPLE else who
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(headers=headers, timeout=DEADLINE_S) as client:
            return await client.request(method, self.gateway.url + PATH + path, json=json)

    async def verify(self, code: str, **more: str) -> httpx.Response:
        """Accept an invite, as a page would."""
        return await self.ask(None, "POST", "/verification", {"code": code, **more})

    async def admin_key(self, *scopes: str) -> str:
        """Make an admin key of organization A, narrowed to these scopes, if any are named."""
        caller = await access.operator("org_a")
        wanted = KeyCreate(name="test", kind="admin", scopes=frozenset(scopes) or None)
        return (await keys.create(caller, wanted, hmac_secret=SECRETS.api_key_secret)).secret

    def sdk(self, key: str) -> openai.AsyncOpenAI:
        """Make OpenAI's client, for the administration."""
        return openai.AsyncOpenAI(
            admin_api_key=key, base_url=f"{self.gateway.url}/v1", max_retries=0, timeout=DEADLINE_S
        )

    async def invite(
        self,
        email: str = BOB,
        role: Any = "member",
        projects: Iterable[tuple[str, Any]] = (),
        by: str = "owner_a",
    ) -> Invite:
        """Invite somebody, as somebody."""
        named = [InviteProject(*each) for each in projects]
        wanted = InviteCreate(email=email, role=role, projects=named)
        return await invites.create(await self.caller(by), wanted, means=self.means)

    async def accept(self, code: str, **more: str) -> AcceptedInvite:
        """Accept an invite."""
        wanted = Acceptance(code=code, **more)
        return await acceptance.accept(Visitor("203.0.113.7", "test"), wanted, means=self.means)


def code_of(invite: Any) -> str:
    """Read the code out of a link."""
    link = invite if isinstance(invite, str) else invite.link
    (code,) = parse_qs(urlsplit(link).query)["code"]
    return code


async def role_of(user_id: str, organization_id: str = "org_a") -> str | None:
    """Tell somebody's role in an organization."""
    rows = await fetch(
        "SELECT role FROM organization_member WHERE organization_id = $1 AND user_id = $2",
        organization_id,
        user_id,
    )
    return rows[0]["role"] if rows else None


async def projects_of(user_id: str) -> dict[str, str]:
    """Tell somebody's roles in projects."""
    rows = await fetch("SELECT project_id, role FROM project_member WHERE user_id = $1", user_id)
    return {row["project_id"]: row["role"] for row in rows}


async def acts() -> list[str]:
    """Tell what was done in organization A, in its order."""
    rows = await fetch("SELECT type FROM audit_log WHERE chain = 'org_a' ORDER BY sequence")
    return [row["type"] for row in rows]


async def add_user(user_id: str, email: str, **columns: Any) -> None:
    """Put somebody into the open database who is in no organization."""
    names = ["id", "email", *columns]
    places = ", ".join(f"${number}" for number, _ in enumerate(names, 1))
    await execute(
        f"INSERT INTO users ({', '.join(names)}) VALUES ({places})",
        user_id,
        email,
        *columns.values(),
    )


async def _fill() -> None:
    for organization_id in ("org_a", "org_b"):
        await execute("INSERT INTO organization (id, name) VALUES ($1, $1)", organization_id)
    for person, (organization_id, role) in PEOPLE.items():
        await add_user(person, f"{person}@example.com")
        await execute(
            "INSERT INTO session (id, user_id, expires_at)"
            " VALUES ('sess_' || $1, $1, now() + interval '1 day')",
            person,
        )
        await execute(
            "INSERT INTO organization_member VALUES ($1, $2, $3)", organization_id, person, role
        )
    for project_id, organization_id in PROJECTS.items():
        await execute(
            "INSERT INTO project (id, organization_id, name) VALUES ($1, $2, $1)",
            project_id,
            organization_id,
        )
    await execute("UPDATE project SET archived_at = now() WHERE id = 'proj_archived'")


@asynccontextmanager
async def running_office(
    database: Database, upstream: FakeUpstream, **said: Any
) -> AsyncGenerator[Office]:
    """Run it with these settings."""
    await _fill()
    cache, means = CredentialCache(database, SECRETS.api_key_secret, TOKENS), inviting(**said)
    listening = asyncio.create_task(cache.run())
    try:
        async with running_gateway(upstream.url, credentials=cache, invites=means) as gateway:
            await until(lambda: cache._heard_since_s is not None)
            yield Office(gateway, cache, means)
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


@pytest.fixture
async def office(database: Database, upstream: FakeUpstream) -> AsyncIterator[Office]:
    """One that has no mail server, so that links are shown."""
    async with running_office(database, upstream) as office:
        yield office
