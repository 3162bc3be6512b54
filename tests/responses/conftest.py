"""The gateway's fixtures, and a gateway that stores."""

from collections.abc import AsyncIterator

import pytest

from jan.db.engine import Database
from tests.fakes import FakeUpstream
from tests.gateways import client, gateway, upstream
from tests.responses.stored import Served, serving

__all__ = ["client", "gateway", "upstream"]


@pytest.fixture
async def served(database: Database, upstream: FakeUpstream) -> AsyncIterator[Served]:
    """A gateway before a database, and two people."""
    async with serving(upstream) as served:
        yield served
