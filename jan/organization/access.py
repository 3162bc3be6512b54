"""In which organization somebody acts, and what they may do there."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from jan.caller import Caller
from jan.db import scope
from jan.errors import Forbidden, NotFound
from jan.organization.schemas import Organization
from jan.permissions import ORGANIZATION_ROLES, Scope
from jan.wire import seconds

DEFAULT = "SELECT id FROM organization WHERE CASE WHEN $1 = '' THEN is_default ELSE id = $1 END"
FIND = """
SELECT o.id, o.name, o.is_default, o.created_at, o.retention_days, m.role
FROM organization AS o
LEFT JOIN organization_member AS m ON m.organization_id = o.id AND m.user_id = $2
WHERE o.id = $1
"""


@dataclass(frozen=True, slots=True)
class Place:
    """An organization, and the caller as they act in it."""

    organization: Organization
    caller: Caller
    """In it, with the scopes that they hold there."""
    connection: Any
    """Sees that organization's rows, and no other's unless all were asked for."""


async def operator(organization_id: str = "") -> Caller:
    """Be the operator in this organization, or in the default one.

    Raises:
        NotFound: there is no such organization.
    """
    async with scope.of_all() as connection:
        found = await connection.fetchval(DEFAULT, organization_id)
    if found is None:
        raise NotFound(f"There is no organization `{organization_id}`.")
    return Caller.operator(found)


@asynccontextmanager
async def within(
    caller: Caller, organization_id: str, needed: Scope, *, sees_all: bool = False
) -> AsyncGenerator[Place]:
    """Do all of the block or none, in an organization that is named by its id.

    It may be another than the one that the caller acts in: people have several, and whoever
    administers this Jan has them all. Nothing else may be open for the caller.

    Raises:
        NotFound: there is no such organization, or none that the caller may see.
        Forbidden: it can be seen, but that may not be done there.
    """
    acting = replace(caller, organization_id=organization_id, project_id=None, is_at_home=False)
    async with scope.of_all() if sees_all else scope.of(acting) as connection:
        person_id = caller.user_id if caller.kind == "user" else None
        row = await connection.fetchrow(FIND, organization_id, person_id)
        is_there = caller.is_platform or organization_id == caller.organization_id
        if row is None or not (is_there or row["role"]):
            raise NotFound(f"There is no organization `{organization_id}`.")
        organization = described(row)
        held = _granted(caller, organization)
        if needed not in held:
            raise Forbidden(f"In this organization you lack the scope `{needed}`.")
        yield Place(organization, replace(acting, scopes=held), connection)


def described(row: Any) -> Organization:
    """Make an organization of its row, and the caller's role in it."""
    return Organization(
        id=row["id"],
        name=row["name"],
        is_default=row["is_default"],
        role=row["role"],
        created_at=seconds(row["created_at"]),
        retention_days=row["retention_days"],
    )


def _granted(caller: Caller, organization: Organization) -> frozenset[Scope]:
    """What a caller may do in an organization in which they have this role."""
    held = frozenset[Scope]()
    if caller.is_platform or organization.id == caller.organization_id:
        held |= caller.scopes
    if organization.role is not None:
        held |= ORGANIZATION_ROLES[organization.role]
    return held
