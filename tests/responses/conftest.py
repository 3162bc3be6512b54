"""The gateway's fixtures, and a gateway that stores."""

from collections.abc import AsyncIterator

import pytest

from jan.db.engine import Database
from tests.fakes import FakeUpstream
from tests.gateways import client, gateway, until, upstream
from tests.responses.backgrounds import Replica, Replicas, replicas
from tests.responses.stored import Served, serving

__all__ = ["client", "gateway", "upstream"]


@pytest.fixture
async def served(database: Database, upstream: FakeUpstream) -> AsyncIterator[Served]:
    """A gateway before a database, and two people."""
    async with serving(upstream) as served:
        yield served


@pytest.fixture
async def several(database: Database, upstream: FakeUpstream) -> AsyncIterator[Replicas]:
    """As many replicas as a test makes."""
    async with replicas(database, upstream) as several:
        yield several


@pytest.fixture
async def one(several: Replicas) -> Replica:
    """One of them."""
    replica = await several.new()
    await until(lambda: replica.gateway.catalog.is_ready)
    return replica
