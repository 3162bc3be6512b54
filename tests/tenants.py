"""Two organizations on a running gateway, with everybody in them who can be, and their keys.

The gateway's credentials are the real ones, on a real database: what a test changes there shows
in the next answers. Neither organization is the default one, whose owner administers both.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import anyio
import httpx
import pytest

from jan import clock, ids
from jan.auth.cache import Credential, CredentialCache
from jan.auth.tokens import AccessTokens
from jan.caller import Caller
from jan.db import scope
from jan.db.engine import Database
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from jan.organization import access
from jan.permissions import OrganizationRole
from tests.fakes import FakeUpstream
from tests.gateways import DEADLINE_S, KEY_SECRET, Gateway, running_gateway, until

TOKENS = AccessTokens("j" * 32)
"""Signs and reads the access tokens of the tests."""


@dataclass(frozen=True)
class Person:
    """Somebody who is signed in."""

    id: str
    email: str
    name: str
    session_id: str
    token: str
    """Their access token."""
    own_project_id: str


@dataclass(frozen=True)
class Key:
    """An API key."""

    id: str
    secret: str


@dataclass(frozen=True)
class Tenant:
    """An organization, with one person in every role and a key of every kind."""

    id: str
    name: str
    owner: Person
    reader: Person
    member: Person
    """In no project."""
    project_owner: Person
    project_member: Person
    project_id: str
    """In which those two are: the organization's first."""
    closed_project_id: str
    """In which nobody is: the organization's owner and reader see it all the same."""
    archived_project_id: str
    """In which the project's owner was."""
    service_account_id: str
    admin_key: Key
    """The owner's."""
    organization_key: Key
    project_key: Key
    """The project member's."""
    service_key: Key

    @property
    def people(self) -> dict[str, Person]:
        """All of them, by their role."""
        return {
            "owner": self.owner,
            "reader": self.reader,
            "member": self.member,
            "project_owner": self.project_owner,
            "project_member": self.project_member,
        }


@dataclass(frozen=True)
class Tenants:
    """What the fixture gives."""

    a: Tenant
    b: Tenant
    platform: Person
    """The default organization's owner, who administers all of this Jan."""
    platform_key: Key
    """Their admin key."""
    default_organization_id: str
    loner: Person
    """In no organization."""
    guest: Person
    gateway: Gateway
    credentials: CredentialCache
    database: Database

    def client(
        self, who: Person | Key | None, *, organization_id: str = "", project_id: str = ""
    ) -> httpx.AsyncClient:
        """Make a client that sends their credential, and says which place is meant."""
        headers: dict[str, str] = {}
        if who is not None:
            headers["authorization"] = f"Bearer {_credential(who)}"
        if organization_id:
            headers["openai-organization"] = organization_id
        if project_id:
            headers["openai-project"] = project_id
        return httpx.AsyncClient(base_url=self.gateway.url, headers=headers, timeout=DEADLINE_S)

    async def call(
        self, who: Person | Key | None, method: str, path: str, body: Any = None, **more: Any
    ) -> httpx.Response:
        """Ask once. `body` is sent as JSON, `more` goes to the client's `request`."""
        if body is not None:
            more["json"] = body
        async with self.client(who) as client:
            return await client.request(method, path, **more)

    async def caller(self, who: Person | Key, *, organization_id: str = "") -> Caller:
        """Tell who services take them for, now."""
        return await self.credentials.resolve(Credential(_credential(who), organization_id))


def _credential(who: Person | Key) -> str:
    return who.token if isinstance(who, Person) else who.secret


async def new_person(
    name: str,
    *,
    organization_id: str | None = None,
    role: OrganizationRole = "member",
    is_guest: bool = False,
) -> Person:
    """Put somebody into the open database, signed in, and into an organization."""
    user_id, session_id, project_id = ids.new("user"), ids.new("sess"), ids.new("proj")
    email, now = f"{name}-{user_id[-6:]}@example.com", clock.now()
    async with scope.system() as connection:
        await connection.execute(
            "INSERT INTO users (id, email, name, is_guest) VALUES ($1, $2, $3, $4)",
            *(user_id, email, name, is_guest),
        )
        await connection.execute(
            "INSERT INTO project (id, owner_user_id, name) VALUES ($1, $2, 'Personal')",
            *(project_id, user_id),
        )
        await connection.execute(
            "INSERT INTO session (id, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
            *(session_id, user_id, now, now + timedelta(days=1)),
        )
        if organization_id is not None:
            await connection.execute(
                "INSERT INTO organization_member (organization_id, user_id, role)"
                " VALUES ($1, $2, $3)",
                *(organization_id, user_id, role),
            )
    token = TOKENS.issue(user_id=user_id, session_id=session_id)
    return Person(user_id, email, name, session_id, token, project_id)


async def new_key(caller: Caller, wanted: KeyCreate) -> Key:
    """Make a key that the gateway of these tests knows."""
    new = await keys.create(caller, wanted, hmac_secret=KEY_SECRET)
    return Key(new.key.id, new.secret)


async def _new_project(
    organization_id: str, name: str, *, is_archived: bool = False, **people: Person
) -> str:
    """Make one with these people; an argument's name is their role."""
    project_id, now = ids.new("proj"), clock.now()
    async with scope.system() as connection:
        await connection.execute(
            "INSERT INTO project (id, organization_id, name, created_at, archived_at)"
            " VALUES ($1, $2, $3, $4, $5)",
            *(project_id, organization_id, name, now, now if is_archived else None),
        )
        for role, person in people.items():
            await connection.execute(
                "INSERT INTO project_member"
                " (project_id, organization_id, user_id, role, created_at)"
                " VALUES ($1, $2, $3, $4, $5)",
                *(project_id, organization_id, person.id, role, clock.now()),
            )
    return project_id


async def _new_tenant(credentials: CredentialCache, letter: str) -> Tenant:
    organization_id, name = ids.new("org"), f"Organization {letter.upper()}"
    async with scope.system() as connection:
        await connection.execute(
            "INSERT INTO organization (id, name) VALUES ($1, $2)", organization_id, name
        )

    async def person(called: str, role: OrganizationRole) -> Person:
        return await new_person(f"{letter}-{called}", organization_id=organization_id, role=role)

    owner = await person("owner", "owner")
    reader = await person("reader", "reader")
    member = await person("member", "member")
    project_owner = await person("project-owner", "member")
    project_member = await person("project-member", "member")
    project_id = await _new_project(
        organization_id, f"Project {letter}", owner=project_owner, member=project_member
    )
    closed_id = await _new_project(organization_id, f"Closed {letter}")
    archived_id = await _new_project(
        organization_id, f"Archived {letter}", is_archived=True, owner=project_owner
    )
    account_id = ids.new("svcacct")
    async with scope.system() as connection:
        await connection.execute(
            "INSERT INTO service_account (id, project_id, organization_id, name, role)"
            " VALUES ($1, $2, $3, $4, 'member')",
            *(account_id, project_id, organization_id, f"Robot {letter}"),
        )
    by_owner = await credentials.resolve(Credential(owner.token))
    by_member = await credentials.resolve(Credential(project_member.token))
    service = KeyCreate(
        name="service", kind="service", project_id=project_id, service_account_id=account_id
    )
    return Tenant(
        id=organization_id,
        name=name,
        owner=owner,
        reader=reader,
        member=member,
        project_owner=project_owner,
        project_member=project_member,
        project_id=project_id,
        closed_project_id=closed_id,
        archived_project_id=archived_id,
        service_account_id=account_id,
        admin_key=await new_key(by_owner, KeyCreate(name="admin", kind="admin")),
        organization_key=await new_key(by_owner, KeyCreate(name="all", kind="organization")),
        project_key=await new_key(by_member, KeyCreate(name="own", project_id=project_id)),
        service_key=await new_key(by_owner, service),
    )


@pytest.fixture
async def tenants(database: Database, upstream: FakeUpstream) -> AsyncIterator[Tenants]:
    """Two organizations, A and B, alike and apart; and a gateway that knows their credentials."""
    credentials = CredentialCache(database, KEY_SECRET, TOKENS)
    hearing = asyncio.create_task(credentials.run())
    try:
        async with running_gateway(upstream.url, credentials=credentials) as gateway:
            with anyio.fail_after(DEADLINE_S):
                await until(lambda: credentials._heard_since_s is not None)
            a = await _new_tenant(credentials, "a")
            b = await _new_tenant(credentials, "b")
            default_id = (await access.operator()).organization_id
            assert default_id is not None
            platform = await new_person("platform", organization_id=default_id, role="owner")
            by_platform = await credentials.resolve(Credential(platform.token))
            yield Tenants(
                a=a,
                b=b,
                platform=platform,
                platform_key=await new_key(by_platform, KeyCreate(name="admin", kind="admin")),
                default_organization_id=default_id,
                loner=await new_person("loner"),
                guest=await new_person("guest", is_guest=True),
                gateway=gateway,
                credentials=credentials,
                database=database,
            )
    finally:
        hearing.cancel()
        await asyncio.wait([hearing])
