"""Rules of who is in a project and as what. Only members of its organization can be."""

from typing import Any

import asyncpg

from jan import clock, pages
from jan.audit import service as audit
from jan.caller import Caller
from jan.db import paging, scope
from jan.errors import Conflict, InvalidRequest, NotFound
from jan.pages import Page, Wanted
from jan.permissions import ProjectRole, Scope
from jan.projects import access
from jan.projects.schemas import ProjectUser, ProjectUserCreate
from jan.users import emails
from jan.wire import Deleted, seconds

SELECT = """
SELECT m.user_id AS id, m.role, m.created_at, u.name, u.email
FROM project_member AS m JOIN users AS u ON u.id = m.user_id
WHERE m.project_id = $1
"""
FIND_MEMBER = """
SELECT u.id FROM users AS u JOIN organization_member AS m ON m.user_id = u.id
WHERE m.organization_id = $1 AND CASE WHEN $2 <> '' THEN u.id = $2 ELSE u.email = $3 END
"""
INSERT = """
INSERT INTO project_member (project_id, organization_id, user_id, role, created_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING user_id
"""
LOCK = "SELECT role FROM project_member WHERE project_id = $1 AND user_id = $2 FOR UPDATE"
UPDATE = "UPDATE project_member SET role = $3 WHERE project_id = $1 AND user_id = $2"
DELETE = "DELETE FROM project_member WHERE project_id = $1 AND user_id = $2"


async def add(caller: Caller, project_id: str, wanted: ProjectUserCreate) -> ProjectUser:
    """Bring a member of the organization into a project.

    Raises:
        InvalidRequest: neither an id nor an address, or both.
        NotFound: no such project that the caller may see, or nobody of this id in the organization.
        Forbidden: the caller does not administer the project.
        Conflict: they are in it already; or it is archived, or the caller's own.
    """
    if bool(wanted.user_id) == bool(wanted.email):
        raise InvalidRequest("Give either `user_id` or `email`.", param="user_id")
    async with (
        access.within(caller, project_id, Scope.PROJECTS_ADMIN, is_changed=True) as place,
        scope.of(caller) as connection,
    ):
        organization_id = access.require_shared(place)
        address = emails.folded(wanted.email or "")
        user_id = await connection.fetchval(
            FIND_MEMBER, organization_id, wanted.user_id or "", address
        )
        if user_id is None:
            raise _nobody(wanted.user_id or address)
        values = (place.id, organization_id, user_id, wanted.role, clock.now())
        try:
            added_id = await connection.fetchval(INSERT, *values)
        except asyncpg.ForeignKeyViolationError:  # they left the organization a moment ago
            raise _nobody(wanted.user_id or address) from None
        if added_id is None:
            raise Conflict("They are in this project already.")
        await audit.record(
            caller, "user.added", user_id, project_id=place.id, data={"role": wanted.role}
        )
        return await _find(connection, place.id, user_id)


async def get(caller: Caller, project_id: str, user_id: str) -> ProjectUser:
    """Find a person in a project.

    Raises:
        NotFound: no such project that the caller may see, or nobody of this id in it.
    """
    async with (
        access.within(caller, project_id, Scope.PROJECTS_READ) as place,
        scope.of(caller) as connection,
    ):
        return await _find(connection, place.id, user_id)


async def page(caller: Caller, project_id: str, wanted: Wanted) -> Page[ProjectUser]:
    """List who is in a project. Owners of the organization may use it without being in it.

    Raises:
        NotFound: no such project that the caller may see.
        InvalidRequest: the cursor is none of the list's ids.
    """
    async with (
        scope.reading(caller) as connection,
        access.within(caller, project_id, Scope.PROJECTS_READ) as place,
    ):
        rows = await paging.fetch(
            connection, SELECT, [place.id], wanted, alias="m", identity="user_id"
        )
    return pages.page([_member(row) for row in rows], wanted)


async def update(caller: Caller, project_id: str, user_id: str, role: ProjectRole) -> ProjectUser:
    """Give a person another role in a project, at once and in every process.

    Raises:
        NotFound: as `get`.
        Forbidden: the caller does not administer the project.
        Conflict: it is archived, or the caller's own.
    """
    async with (
        access.within(caller, project_id, Scope.PROJECTS_ADMIN, is_changed=True) as place,
        scope.of(caller) as connection,
    ):
        access.require_shared(place)
        before = await _lock(connection, place.id, user_id)
        await connection.execute(UPDATE, place.id, user_id, role)
        await audit.record(
            caller,
            "user.updated",
            user_id,
            project_id=place.id,
            before={"role": before},
            changes={"role": role},
        )
        return await _find(connection, place.id, user_id)


async def remove(caller: Caller, project_id: str, user_id: str) -> Deleted:
    """Take a person out of a project. Their keys for it stop working.

    Raises:
        NotFound, Forbidden, Conflict: as `update`.
    """
    async with (
        access.within(caller, project_id, Scope.PROJECTS_ADMIN, is_changed=True) as place,
        scope.of(caller) as connection,
    ):
        access.require_shared(place)
        before = await _lock(connection, place.id, user_id)
        await connection.execute(DELETE, place.id, user_id)
        await audit.record(
            caller, "user.deleted", user_id, project_id=place.id, before={"role": before}
        )
    return Deleted(object="organization.project.user.deleted", id=user_id)


async def _lock(connection: Any, project_id: str, user_id: str) -> ProjectRole:
    role = await connection.fetchval(LOCK, project_id, user_id)
    if role is None:
        raise _nobody(user_id)
    return role


async def _find(connection: Any, project_id: str, user_id: str) -> ProjectUser:
    row = await connection.fetchrow(SELECT + " AND m.user_id = $2", project_id, user_id)
    if row is None:
        raise _nobody(user_id)
    return _member(row)


def _nobody(user_id: str) -> NotFound:
    return NotFound(f"There is no user `{user_id}` here.")


def _member(row: Any) -> ProjectUser:
    return ProjectUser(
        id=row["id"],
        name=row["name"],
        email=row["email"],
        role=row["role"],
        added_at=seconds(row["created_at"]),
    )
