"""Two people who keep conversations, each in a project of their own; one of them on the wire."""

from collections.abc import AsyncIterator

import httpx
import pytest

from jan.auth.cache import Credential
from jan.caller import Caller
from jan.db.engine import Database
from tests.conversations.owners import caller_of
from tests.fakes import FakeUpstream
from tests.gateways import KEY, running_gateway, upstream
from tests.tenants import new_person, tenants

__all__ = ["tenants", "upstream"]


@pytest.fixture
async def owner(database: Database) -> Caller:
    """Whose conversations they are."""
    return caller_of(await new_person("owner"))


@pytest.fixture
async def stranger(database: Database) -> Caller:
    """Somebody else."""
    return caller_of(await new_person("stranger"))


class Known:
    """Takes every credential for one caller's."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def known(self, credential: Credential) -> Caller:  # noqa: ARG002 - as the Protocol has it
        """Tell who it is."""
        return self._caller

    async def resolve(self, credential: Credential) -> Caller:
        """Tell the same."""
        return self.known(credential)


@pytest.fixture
async def client(owner: Caller, upstream: FakeUpstream) -> AsyncIterator[httpx.AsyncClient]:
    """The owner, on the wire."""
    async with (
        running_gateway(upstream.url, credentials=Known(owner)) as gateway,
        gateway.client(KEY) as client,
    ):
        yield client
