"""What a migration is: an id that says its place in history, and the statements of its step.

Statements are SQL and self-contained. Live tables are never imported by one: they change, history
does not.

While a new version is rolled out, older ones run on the new schema. So a step only adds (expand),
and what nothing uses any more goes in a later release (contract), by a step that names the first
release which did without. A test refuses a step that takes something away and does not say so.
"""

from collections.abc import Sequence

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from jan.db import oldest
from jan.db.engine import PICCOLO
from jan.db.migrate import APP_NAME

LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"
"""Fail fast rather than queue live traffic behind a lock."""


class Migration:
    """One step forward. Calling it gives Piccolo what it runs."""

    def __init__(
        self,
        migration_id: str,
        statements: Sequence[str],
        description: str,
        *,
        unused_since: str | None = None,
    ) -> None:
        self.id = migration_id
        self.statements = statements
        self.description = description
        self.unused_since = unused_since
        """The first release that does not use what this step takes away. None: it takes nothing."""

    async def __call__(self) -> MigrationManager:
        """Be the `forwards` of a migration module."""
        manager = MigrationManager(
            migration_id=self.id, app_name=APP_NAME, description=self.description
        )

        async def run() -> None:
            for statement in (LOCK_TIMEOUT, *self.statements):
                await PICCOLO.run_ddl(statement)
            if self.unused_since is not None:
                await PICCOLO.run_ddl(oldest.note(self.unused_since))

        manager.add_raw(run)
        return manager
