"""A gateway on a real database, and two people who know nothing of each other."""

from collections.abc import AsyncIterator

import httpx
import pytest

from jan import permissions
from jan.auth.cache import Credential
from jan.caller import Caller
from jan.db.engine import Database
from jan.errors import Unauthorized
from jan.organization import access
from tests.conftest import execute
from tests.fakes import FakeUpstream
from tests.gateways import Gateway, running_gateway, until, upstream
from tests.tenants import tenants

__all__ = ["tenants", "upstream"]

ANN = "ann"
BEN = "ben"
PROJECT = "proj_conv"


class Two:
    """Knows two people in one project, by their tokens."""

    def __init__(self, organization_id: str) -> None:
        self.callers = {
            name: Caller(
                kind="user",
                scopes=permissions.DATA_PLANE,
                organization_id=organization_id,
                project_id=PROJECT,
                user_id=f"user_{name}",
            )
            for name in (ANN, BEN)
        }

    def known(self, credential: Credential) -> Caller | None:
        """Tell who it is."""
        return self.callers.get(credential.token)

    async def resolve(self, credential: Credential) -> Caller:  # noqa: ARG002 - as the Protocol has it
        """Know nobody else."""
        raise Unauthorized("Incorrect API key provided.")


@pytest.fixture
async def two(database: Database) -> Two:
    """Ann and Ben, in a project."""
    organization_id = (await access.operator()).organization_id
    assert organization_id
    await execute(
        "INSERT INTO project (id, organization_id, name) VALUES ($1, $2, 'Conv')",
        *(PROJECT, organization_id),
    )
    return Two(organization_id)


@pytest.fixture
def ann(two: Two) -> Caller:
    """Whom services take the first of them for."""
    return two.callers[ANN]


@pytest.fixture
def ben(two: Two) -> Caller:
    """The same of the other."""
    return two.callers[BEN]


@pytest.fixture
async def gateway(upstream: FakeUpstream, two: Two) -> AsyncIterator[Gateway]:
    """A gateway that knows them, and whose model server is ready."""
    async with running_gateway(upstream.url, credentials=two) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        yield gateway


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """Ann's."""
    async with gateway.client(ANN) as client:
        yield client


@pytest.fixture
async def stranger(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """Ben's."""
    async with gateway.client(BEN) as client:
        yield client
