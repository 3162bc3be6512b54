"""Two people who keep conversations, each in a project of their own."""

import pytest

from jan.caller import Caller
from jan.db.engine import Database
from tests.conversations.owners import caller_of
from tests.gateways import upstream
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
