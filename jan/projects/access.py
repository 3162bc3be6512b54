"""What a caller may do in one project: the check that stands before everything done in one."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from jan.caller import Caller
from jan.db import scope
from jan.errors import Conflict, Forbidden, NotFound
from jan.permissions import PROJECT_ROLES, Scope

# The caller's own conditions, and once more those of row security.
FIND = """
SELECT p.id, p.organization_id, p.owner_user_id, p.name, p.created_at, p.archived_at, m.role
FROM project AS p LEFT JOIN project_member AS m ON m.project_id = p.id AND m.user_id = $3
WHERE p.id = $1 AND (p.organization_id = $2 OR p.owner_user_id = $3)
"""
FIND_TO_CHANGE = FIND + " FOR NO KEY UPDATE OF p"
"""Changes within one project wait for one another: nothing gets into one that is being archived."""
DEFAULT = """
SELECT id FROM project WHERE organization_id = $1 AND archived_at IS NULL
ORDER BY created_at, id LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A project, and what the caller may do there."""

    id: str
    organization_id: str | None
    """None: a person's own."""
    name: str
    created_at: datetime
    archived_at: datetime | None
    held: frozenset[Scope]


@asynccontextmanager
async def within(
    caller: Caller, project_id: str, needed: Scope, *, is_changed: bool = False
) -> AsyncGenerator[Place]:
    """Do all of the block or none, in a project in which the caller has `needed`.

    Raises:
        NotFound: there is no such project, or none that the caller may see.
        Forbidden: it can be seen, but that may not be done there.
        Conflict: something is to change in it (`is_changed`), and it is archived.
    """
    async with scope.of(caller) as connection:
        row = await connection.fetchrow(
            FIND_TO_CHANGE if is_changed else FIND,
            *(project_id, caller.organization_id, caller.user_id),
        )
        held = granted(
            caller,
            organization_id=row and row["organization_id"],
            role=row and ("owner" if row["owner_user_id"] else row["role"]),
        )
        if row is None or Scope.PROJECTS_READ not in held:
            raise NotFound(f"There is no project `{project_id}`.")
        if needed not in held:
            raise Forbidden(f"In this project you lack the scope `{needed}`.")
        if is_changed and row["archived_at"] is not None:
            raise Conflict(f"The project `{project_id}` is archived.")
        yield Place(
            id=row["id"],
            organization_id=row["organization_id"],
            name=row["name"],
            created_at=row["created_at"],
            archived_at=row["archived_at"],
            held=held,
        )


def granted(caller: Caller, *, organization_id: str | None, role: str | None) -> frozenset[Scope]:
    """What a caller may do in a project of this organization in which they have this role.

    What the organization's role grants holds in its own projects only. A key does not get what its
    owner's role in the project would add: it may have been narrowed.
    """
    held = frozenset[Scope]()
    if organization_id is not None and organization_id == caller.organization_id:
        held |= caller.scopes
    if role is not None and caller.kind == "user":
        held |= PROJECT_ROLES["owner" if role == "owner" else "member"]
    return held


async def default(caller: Caller) -> str:
    """Find the project that is meant where none is named: the organization's oldest.

    Raises:
        NotFound: it has none that can be used.
    """
    async with scope.of(caller) as connection:
        found = await connection.fetchval(DEFAULT, caller.organization_id)
    if found is None:
        raise NotFound("The organization has no project that can be used.")
    return found


def require_shared(place: Place) -> str:
    """Tell a project's organization, of which a person's own project has none.

    Raises:
        Conflict: it is somebody's own, where nobody else comes in, and which stays as it is.
    """
    if place.organization_id is None:
        raise Conflict("Your own project can't be renamed, archived or shared.")
    return place.organization_id
