"""What the role that requests connect as may do: use tables, never change them or the audit log."""

from typing import Any

WRITE_ONCE = ("audit_log",)
"""Tables whose rows nobody changes."""
OWNERS_ONLY = ("migration",)
"""The schema's history: told to all, written by the owner."""


async def grant(connection: Any, role: str) -> None:
    """Give the role its rights, again after each migration. It must exist.

    The owner itself gets nothing: it has everything, and would lose what is revoked here.
    """
    if role == await connection.fetchval("SELECT current_user"):
        return
    name = await connection.fetchval("SELECT quote_ident($1)", role)
    schema = await connection.fetchval("SELECT quote_ident(current_schema())")
    for statement in (
        f"GRANT USAGE ON SCHEMA {schema} TO {name}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {name}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {name}",
        f"REVOKE UPDATE, DELETE ON {', '.join(WRITE_ONCE)} FROM {name}",
        f"REVOKE INSERT, UPDATE, DELETE ON {', '.join(OWNERS_ONLY)} FROM {name}",
    ):
        await connection.execute(statement)
