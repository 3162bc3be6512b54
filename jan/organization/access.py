"""In which organization the operator acts."""

from jan.caller import Caller
from jan.db import scope
from jan.errors import NotFound

FIND = "SELECT id FROM organization WHERE CASE WHEN $1 = '' THEN is_default ELSE id = $1 END"


async def operator(organization_id: str = "") -> Caller:
    """Be the operator in this organization, or in the default one.

    Raises:
        NotFound: there is no such organization.
    """
    async with scope.system() as connection:
        found = await connection.fetchval(FIND, organization_id)
    if found is None:
        raise NotFound(f"There is no organization `{organization_id}`.")
    return Caller.operator(found)
