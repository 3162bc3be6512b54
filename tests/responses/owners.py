"""People with a project of their own in the open database, who make responses."""

from jan import permissions
from jan.caller import Caller
from tests.tenants import new_person


async def new_owner(name: str = "ann") -> Caller:
    """Put somebody into the database."""
    person = await new_person(name)
    return Caller(
        kind="user",
        scopes=permissions.DATA_PLANE,
        project_id=person.own_project_id,
        is_at_home=True,
        user_id=person.id,
    )
