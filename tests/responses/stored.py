"""A gateway before a real database, and two people who have responses made and kept there."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from jan.auth.cache import Credential
from jan.caller import Caller
from jan.errors import Unauthorized
from tests.conftest import fetch
from tests.conversations.owners import caller_of
from tests.fakes import MODEL, FakeUpstream
from tests.gateways import Gateway, running_gateway, until
from tests.tenants import new_person

PATH = "/v1/responses"


class Keys:
    """Knows who everybody is by a word."""

    def __init__(self, **callers: Caller) -> None:
        self.callers = callers

    def known(self, credential: Credential) -> Caller | None:
        """Tell who it is."""
        return self.callers.get(credential.token)

    async def resolve(self, credential: Credential) -> Caller:  # noqa: ARG002 - as the Protocol has it
        """Know no other."""
        raise Unauthorized("Incorrect API key provided.")


@dataclass
class Served:
    """What tests need of it."""

    gateway: Gateway
    upstream: FakeUpstream
    keys: Keys
    client: httpx.AsyncClient
    """Ann's."""
    stranger: httpx.AsyncClient
    """Bob's."""

    @property
    def ann(self) -> Caller:
        """Whose most is."""
        return self.keys.callers["ann"]

    async def ask(self, said: Any = "hi", **parameters: Any) -> dict[str, Any]:
        """Have a response made."""
        answer = await self.post(said, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, said: Any = "hi", **parameters: Any) -> httpx.Response:
        """Ask for a response."""
        return await self.client.post(PATH, json={"model": MODEL, "input": said} | parameters)

    async def get(self, response_id: str, more: str = "") -> Any:
        """Read something that is kept of a response."""
        answer = await self.client.get(f"{PATH}/{response_id}{more}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def read(self) -> list[tuple[str, Any]]:
        """What the model was given to read last: who said what."""
        messages = self.upstream.requests[-1].json["messages"]
        return [(message["role"], message["content"]) for message in messages]


@asynccontextmanager
async def serving(upstream: FakeUpstream, **parts: Any) -> AsyncGenerator[Served]:
    """Serve them, on the open database. `parts` are the gateway's."""
    keys = Keys(
        ann=caller_of(await new_person("ann")),
        bob=caller_of(await new_person("bob")),
    )
    async with running_gateway(upstream.url, credentials=keys, **parts) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        async with gateway.client("ann") as client, gateway.client("bob") as stranger:
            yield Served(gateway, upstream, keys, client, stranger)


async def rows() -> list[dict[str, Any]]:
    """Tell what is kept of responses, the oldest first."""
    found = await fetch("SELECT * FROM response ORDER BY created_at")
    return [dict(row) for row in found]


async def outputs_of(response_id: str) -> list[dict[str, Any]]:
    """Tell what came of a response, as it is kept."""
    found = await fetch(
        "SELECT item FROM response_item WHERE response_id = $1 AND is_output ORDER BY position",
        response_id,
    )
    return [json.loads(row["item"]) for row in found]
