"""What a migration is: an id that says its place in history, and the statements of its step.

Statements are SQL and self-contained. Live tables are never imported by one: they change, history
does not.
"""

from collections.abc import Sequence

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from jan.db.engine import PICCOLO
from jan.db.migrate import APP_NAME

LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"
"""Fail fast rather than queue live traffic behind a lock."""


class Migration:
    """One step forward. Calling it gives Piccolo what it runs."""

    def __init__(self, migration_id: str, statements: Sequence[str], description: str) -> None:
        self.id = migration_id
        self.statements = statements
        self.description = description

    async def __call__(self) -> MigrationManager:
        """Be the `forwards` of a migration module."""
        manager = MigrationManager(
            migration_id=self.id, app_name=APP_NAME, description=self.description
        )

        async def run() -> None:
            for statement in (LOCK_TIMEOUT, *self.statements):
                await PICCOLO.run_ddl(statement)

        manager.add_raw(run)
        return manager
