"""pgqueuer's tables are made by our migrations, exactly as pgqueuer wants them."""

import pytest
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver

from jan.db.engine import Database
from jan.jobs import schema


async def test_the_migrations_make_what_the_installed_pgqueuer_wants(database: Database) -> None:
    plan = await schema.queries(AsyncpgPoolDriver(database.pool)).plan_upgrade()

    assert plan.statements == (), "write a migration with these statements"
    assert plan.notes == ()


def test_no_variable_renames_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHANNEL", "PGQUEUER_QUEUE_TABLE", "QUEUE_TABLE", "PGQUEUER_PREFIX", "DURABILITY"):
        monkeypatch.setenv(name, "volatile")

    assert schema.Names() == schema.NAMES
    assert schema.NAMES.queue_table == "pgqueuer"
