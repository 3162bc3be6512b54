"""Here the database is its owner's: tables are made in it."""

from collections.abc import AsyncIterator

import pytest

from jan.db.engine import Database, connect


@pytest.fixture
async def database(owner_url: str) -> AsyncIterator[Database]:
    """An open pool on a migrated database."""
    async with connect(owner_url, pool_size=4, application_name="test") as opened:
        yield opened
