"""A database made ready for this program: its schema, and the role that requests run as."""

from jan.db import migrate, opening
from jan.db.engine import Database
from jan.errors import Misconfigured
from jan.keyring import Keyring
from jan.settings import Settings


async def prepare(settings: Settings, secrets: Keyring, owner: Database) -> list[str]:
    """Migrate, and see to the role that requests run as. Returns the ids of the steps that ran.

    Raises:
        Misconfigured: as `migrate.up`; or that role is above row security, so that nothing would
            keep tenants apart but our own queries.
    """
    async with opening.database(
        settings, secrets, pool_size=1, application_name="jan prepare"
    ) as database:
        role = await _role(database)
    return await migrate.up(owner, role=role)


async def _role(database: Database) -> str:
    async with database.connection() as connection:
        row = await connection.fetchrow(
            "SELECT rolname, rolsuper OR rolbypassrls AS is_above FROM pg_roles"
            " WHERE rolname = current_user"
        )
    assert row is not None
    if row["is_above"]:
        raise Misconfigured(
            f"The database's user `{row['rolname']}` is above row-level security.",
            hint="Tenants would be less well kept apart. CREATE ROLE jan_app LOGIN PASSWORD '...',"
            " name it in JAN_DATABASE_URL, and this user in JAN_DATABASE_MIGRATION_URL.",
        )
    return row["rolname"]
