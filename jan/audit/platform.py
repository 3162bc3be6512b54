"""Where acts are written down that concern all of this Jan: its people, its organizations."""

from typing import Any

DEFAULT_ORGANIZATION = "SELECT id FROM organization WHERE is_default"


async def organization_id(connection: Any) -> str:
    """Tell whose log it is: the default organization's, whose owners administer all.

    The connection sees all rows.
    """
    return await connection.fetchval(DEFAULT_ORGANIZATION)
