"""A Jan with tenants in it: two organizations, people of all roles, a real gateway before them."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import asyncpg
import httpx
import openai
import pytest

from jan.auth.cache import Credential, CredentialCache
from jan.auth.tokens import AccessTokens
from jan.caller import Caller
from jan.db import scope
from jan.db.engine import Database
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate, NewKey
from jan.organization import access
from tests.fakes import FakeUpstream
from tests.gateways import DEADLINE_S, KEY_SECRET, Gateway, running_gateway, until

TOKENS = AccessTokens("j" * 32)

PEOPLE = ("owner_a", "reader_a", "lead_a", "member_a", "outsider_a", "owner_b", "guest")
"""An owner and a reader of A, three members of it, the owner of B, and somebody in neither."""
IN_ORGANIZATIONS = {
    "owner_a": ("org_a", "owner"),
    "reader_a": ("org_a", "reader"),
    "lead_a": ("org_a", "member"),
    "member_a": ("org_a", "member"),
    "outsider_a": ("org_a", "member"),
    "owner_b": ("org_b", "owner"),
}
IN_PROJECTS = {"lead_a": ("proj_a", "owner"), "member_a": ("proj_a", "member")}
PROJECTS = {"proj_a": "org_a", "proj_a2": "org_a", "proj_b": "org_b"}


@dataclass
class Box:
    """What is there, and ways to it."""

    gateway: Gateway
    cache: CredentialCache

    def token(self, person: str) -> str:
        """Get the access token of somebody who is signed in."""
        return TOKENS.issue(user_id=person, session_id=f"sess_{person}")

    @asynccontextmanager
    async def client(self, credential: str, **headers: str) -> AsyncGenerator[httpx.AsyncClient]:
        """Make a client of somebody by their name, or of a key."""
        token = self.token(credential) if credential in PEOPLE else credential
        async with httpx.AsyncClient(
            base_url=f"{self.gateway.url}/v1",
            headers={"authorization": f"Bearer {token}", **headers},
            timeout=DEADLINE_S,
        ) as client:
            yield client

    async def ask(
        self, credential: str, method: str, path: str, json: Any = None, **headers: str
    ) -> httpx.Response:
        """Ask once."""
        async with self.client(credential, **headers) as client:
            return await client.request(method, path, json=json)

    async def caller(self, credential: str) -> Caller:
        """Tell who a credential stands for."""
        token = self.token(credential) if credential in PEOPLE else credential
        return await self.cache.resolve(Credential(token))

    async def key(self, person: str = "owner_a", **more: Any) -> NewKey:
        """Make a key for somebody, or for the operator in organization A."""
        caller, wanted = await self.who(person), KeyCreate(name="test", **more)
        return await keys.create(caller, wanted, hmac_secret=KEY_SECRET)

    async def who(self, person: str) -> Caller:
        """Tell who somebody is; `operator` is the one at the machine, in organization A."""
        return await (access.operator("org_a") if person == "operator" else self.caller(person))

    @asynccontextmanager
    async def changing(self) -> AsyncGenerator[None]:
        """Change something in the block, and wait until the gateway has heard of it."""
        changes = self.cache._changes
        yield
        await until(lambda: self.cache._changes > changes)

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[Any]:
        """Connect to the database apart from the gateway."""
        connection = await asyncpg.connect(self.cache._database.dsn)
        yield connection
        await connection.close()

    def sdk(self, key: str) -> openai.AsyncOpenAI:
        """Make OpenAI's client, for the administration."""
        return openai.AsyncOpenAI(
            admin_api_key=key, base_url=f"{self.gateway.url}/v1", max_retries=0, timeout=DEADLINE_S
        )


async def fill() -> None:
    """Put the tenants into the open database."""
    async with scope.system() as connection:
        await connection.executemany(
            "INSERT INTO organization (id, name) VALUES ($1, $2)",
            [("org_a", "A"), ("org_b", "B")],
        )
        for person in PEOPLE:
            await connection.execute(
                "INSERT INTO users (id, email, name, is_guest) VALUES ($1, $2, $3, $4)",
                *(person, f"{person}@example.com", person, person == "guest"),
            )
            await connection.execute(
                "INSERT INTO project (id, owner_user_id, name) VALUES ($1, $2, 'Personal')",
                *(f"proj_of_{person}", person),
            )
            await connection.execute(
                "INSERT INTO session (id, user_id, expires_at)"
                " VALUES ($1, $2, now() + interval '1 day')",
                *(f"sess_{person}", person),
            )
        for person, (organization_id, role) in IN_ORGANIZATIONS.items():
            await connection.execute(
                "INSERT INTO organization_member VALUES ($1, $2, $3)", organization_id, person, role
            )
        for project_id, organization_id in PROJECTS.items():
            await connection.execute(
                "INSERT INTO project (id, organization_id, name) VALUES ($1, $2, $3)",
                *(project_id, organization_id, project_id),
            )
            await connection.execute(
                "INSERT INTO service_account VALUES ($1, $2, $3, 'bot', 'member')",
                *(f"acct_of_{project_id}", project_id, organization_id),
            )
        for person, (project_id, role) in IN_PROJECTS.items():
            await connection.execute(
                "INSERT INTO project_member VALUES ($1, 'org_a', $2, $3)", project_id, person, role
            )


@pytest.fixture
async def box(database: Database, upstream: FakeUpstream) -> AsyncIterator[Box]:
    """All of it, running."""
    await fill()
    cache = CredentialCache(database, KEY_SECRET, TOKENS)
    async with (
        running_gateway(upstream.url, credentials=cache) as gateway,
        anyio.create_task_group() as group,
    ):
        group.start_soon(cache.run)
        await until(lambda: cache._heard_since_s is not None and gateway.catalog.is_ready)
        yield Box(gateway, cache)
        group.cancel_scope.cancel()
