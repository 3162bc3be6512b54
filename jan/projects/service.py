"""Rules of projects: made in an organization, seen by who is in them, archived for good."""

from typing import Any

import msgspec

from jan import clock, names, pages
from jan.audit import service as audit
from jan.caller import Caller
from jan.db import paging, scope
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.projects import access
from jan.projects.access import Place
from jan.projects.schemas import Project
from jan.projects.tables import new_project_id
from jan.wire import optional_seconds, seconds

INSERT = "INSERT INTO project (id, organization_id, name, created_at) VALUES ($1, $2, $3, $4)"
# Only if they are in the organization: its admin keys may act for somebody who is not, any more.
INSERT_OWNER = """
INSERT INTO project_member (project_id, organization_id, user_id, role, created_at)
SELECT $1, organization_id, user_id, 'owner', $4 FROM organization_member
WHERE organization_id = $2 AND user_id = $3
"""
RENAME = "UPDATE project SET name = $2 WHERE id = $1"
ARCHIVE = """
UPDATE project SET archived_at = $2 WHERE id = $1 AND archived_at IS NULL RETURNING archived_at
"""
SELECT_ALL = """
SELECT p.id, p.name, p.created_at, p.archived_at FROM project AS p WHERE p.organization_id = $1
"""
SELECT_JOINED = """
SELECT p.id, p.name, p.created_at, p.archived_at FROM project AS p
WHERE p.organization_id = $1 AND p.id = ANY(ARRAY(
    SELECT project_id FROM project_member WHERE organization_id = $1 AND user_id = $2
))
"""
"""An array, because PostgreSQL would else look for the few that they are in among all there are."""
ACTIVE = " AND p.archived_at IS NULL"


async def create(caller: Caller, name: str) -> Project:
    """Make a project in the caller's organization. Who makes it owns it.

    Raises:
        Forbidden: the caller may not make projects.
        InvalidRequest: the name does not fit.
    """
    caller.require(Scope.PROJECTS_WRITE)
    name, project_id, now = names.checked(name), new_project_id(), clock.now()
    async with scope.of(caller) as connection:
        await connection.execute(INSERT, project_id, caller.organization_id, name, now)
        await connection.execute(
            INSERT_OWNER, project_id, caller.organization_id, caller.user_id, now
        )
        await audit.record(
            caller, "project.created", project_id, project_id=project_id, data={"name": name}
        )
    return Project(
        id=project_id,
        name=name,
        status="active",
        created_at=seconds(now),
        archived_at=None,
        is_personal=False,
    )


async def get(caller: Caller, project_id: str) -> Project:
    """Find a project of the caller's organization, or the caller's own.

    Raises:
        NotFound: there is none of this id, or none that the caller may see.
    """
    async with access.within(caller, project_id, Scope.PROJECTS_READ) as place:
        return _described(place)


async def page(caller: Caller, wanted: Wanted, *, has_archived: bool = False) -> Page[Project]:
    """List the organization's projects: those that the caller is in, or all for who may see them.

    A person's own project is in no list: it is no organization's.

    Raises:
        InvalidRequest: the cursor is none of the list's ids.
    """
    select, values = SELECT_ALL, [caller.organization_id]
    if Scope.PROJECTS_READ not in caller.scopes:
        # A key is not in the projects that its owner is in: it may have been narrowed.
        select = SELECT_JOINED
        values.append(caller.user_id if caller.kind == "user" else None)
    if not has_archived:
        select += ACTIVE
    async with scope.reading(caller) as connection:
        rows = await paging.fetch(connection, select, values, wanted, alias="p")
    return pages.page([_project(row) for row in rows], wanted)


async def update(caller: Caller, project_id: str, name: str) -> Project:
    """Rename a project.

    Raises:
        InvalidRequest: the name does not fit.
        NotFound: as `get`.
        Forbidden: the caller does not administer it.
        Conflict: it is archived, or the caller's own.
    """
    name = names.checked(name)
    async with (
        access.within(caller, project_id, Scope.PROJECTS_ADMIN, is_changed=True) as place,
        scope.of(caller) as connection,
    ):
        access.require_shared(place)
        await connection.execute(RENAME, place.id, name)
        await audit.record(
            caller,
            "project.updated",
            place.id,
            project_id=place.id,
            before={"name": place.name},
            changes={"name": name},
        )
        return msgspec.structs.replace(_described(place), name=name)


async def archive(caller: Caller, project_id: str) -> Project:
    """Archive a project: nothing in it changes any more, and none of its keys works, at once.

    There is no way back. Archiving twice is not an error.

    Raises:
        NotFound, Forbidden: as `update`.
        Conflict: it is the caller's own.
    """
    async with (
        access.within(caller, project_id, Scope.PROJECTS_ADMIN) as place,
        scope.of(caller) as connection,
    ):
        access.require_shared(place)
        archived_at = await connection.fetchval(ARCHIVE, place.id, clock.now())
        if archived_at is not None:
            await audit.record(
                caller,
                "project.archived",
                place.id,
                project_id=place.id,
                before={"name": place.name},
            )
    return await get(caller, project_id)


def _described(place: Place) -> Project:
    return Project(
        id=place.id,
        name=place.name,
        status="active" if place.archived_at is None else "archived",
        created_at=seconds(place.created_at),
        archived_at=optional_seconds(place.archived_at),
        is_personal=place.organization_id is None,
    )


def _project(row: Any) -> Project:
    return Project(
        id=row["id"],
        name=row["name"],
        status="active" if row["archived_at"] is None else "archived",
        created_at=seconds(row["created_at"]),
        archived_at=optional_seconds(row["archived_at"]),
        is_personal=False,
    )
