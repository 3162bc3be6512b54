"""A log to look at, and somebody who may do anything to it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from jan.db import dsn
from tests.box import box
from tests.conftest import PASSWORD
from tests.gateways import upstream

__all__ = ["box", "upstream"]


@pytest.fixture
async def intruder(postgres: Path, database_name: str) -> AsyncIterator[Any]:
    """A superuser's connection on which no trigger fires: nothing in the database stops it."""
    connection = await asyncpg.connect(dsn.own(postgres, dsn.SUPERUSER, database_name, PASSWORD))
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()
