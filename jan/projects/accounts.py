"""Rules of service accounts: programs that act in one project, by keys of their own."""

from typing import Any

from jan import clock, names, pages
from jan.audit import service as audit
from jan.caller import Caller
from jan.db import paging, scope
from jan.errors import InvalidRequest, NotFound
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.projects import access
from jan.projects.schemas import AccountRole, ServiceAccount, ServiceAccountUpdate
from jan.projects.tables import new_service_account_id
from jan.wire import Deleted, seconds

SELECT = """
SELECT s.id, s.name, s.role, s.created_at FROM service_account AS s WHERE s.project_id = $1
"""
INSERT = """
INSERT INTO service_account (id, project_id, organization_id, name, role, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""
LOCK = SELECT + " AND s.id = $2 FOR UPDATE"
UPDATE = "UPDATE service_account SET name = $3, role = $4 WHERE project_id = $1 AND id = $2"
DELETE = "DELETE FROM service_account WHERE project_id = $1 AND id = $2"


async def create(
    caller: Caller, project_id: str, name: str, role: AccountRole = "member"
) -> ServiceAccount:
    """Make a service account. It has no key yet.

    Raises:
        InvalidRequest: the name does not fit.
        NotFound: no such project that the caller may see.
        Forbidden: the caller does not administer the project.
        Conflict: it is archived, or the caller's own.
    """
    name, account_id, now = names.checked(name), new_service_account_id(), clock.now()
    async with (
        access.within(caller, project_id, Scope.PROJECTS_ADMIN, is_changed=True) as place,
        scope.of(caller) as connection,
    ):
        organization_id = access.require_shared(place)
        await connection.execute(INSERT, account_id, place.id, organization_id, name, role, now)
        await audit.record(
            caller,
            "service_account.created",
            account_id,
            project_id=place.id,
            data={"name": name, "role": role},
        )
    return ServiceAccount(id=account_id, name=name, role=role, created_at=seconds(now))


async def get(caller: Caller, project_id: str, account_id: str) -> ServiceAccount:
    """Find a service account of a project.

    Raises:
        NotFound: no such project that the caller may see, or no such account in it.
    """
    async with (
        access.within(caller, project_id, Scope.PROJECTS_READ) as place,
        scope.of(caller) as connection,
    ):
        row = await connection.fetchrow(SELECT + " AND s.id = $2", place.id, account_id)
    return _found(row, account_id)


async def page(caller: Caller, project_id: str, wanted: Wanted) -> Page[ServiceAccount]:
    """List a project's service accounts.

    Raises:
        NotFound: no such project that the caller may see.
        InvalidRequest: the cursor is none of the list's ids.
    """
    async with (
        scope.reading(caller) as connection,
        access.within(caller, project_id, Scope.PROJECTS_READ) as place,
    ):
        rows = await paging.fetch(connection, SELECT, [place.id], wanted, alias="s")
    return pages.page([_account(row) for row in rows], wanted)


async def update(
    caller: Caller, project_id: str, account_id: str, changes: ServiceAccountUpdate
) -> ServiceAccount:
    """Rename a service account, or give it another role.

    Raises:
        InvalidRequest: the name does not fit, or nothing is to change.
        NotFound: as `get`.
        Forbidden: the caller does not administer the project.
        Conflict: it is archived.
    """
    if changes.name is None and changes.role is None:
        raise InvalidRequest("Give a `name` or a `role`.", param="name")
    async with (
        access.within(caller, project_id, Scope.PROJECTS_ADMIN, is_changed=True) as place,
        scope.of(caller) as connection,
    ):
        before = _found(await connection.fetchrow(LOCK, place.id, account_id), account_id)
        name = before.name if changes.name is None else names.checked(changes.name)
        role = changes.role or before.role
        await connection.execute(UPDATE, place.id, account_id, name, role)
        await audit.record(
            caller,
            "service_account.updated",
            account_id,
            project_id=place.id,
            before={"name": before.name, "role": before.role},
            changes={"name": name, "role": role},
        )
    return ServiceAccount(id=account_id, name=name, role=role, created_at=before.created_at)


async def delete(caller: Caller, project_id: str, account_id: str) -> Deleted:
    """Delete a service account and its keys, for good.

    Raises:
        NotFound, Forbidden, Conflict: as `update`.
    """
    async with (
        access.within(caller, project_id, Scope.PROJECTS_ADMIN, is_changed=True) as place,
        scope.of(caller) as connection,
    ):
        before = _found(await connection.fetchrow(LOCK, place.id, account_id), account_id)
        await connection.execute(DELETE, place.id, account_id)
        await audit.record(
            caller,
            "service_account.deleted",
            account_id,
            project_id=place.id,
            before={"name": before.name, "role": before.role},
        )
    return Deleted(object="organization.project.service_account.deleted", id=account_id)


def _found(row: Any, account_id: str) -> ServiceAccount:
    if row is None:
        raise NotFound(f"There is no service account `{account_id}` in this project.")
    return _account(row)


def _account(row: Any) -> ServiceAccount:
    return ServiceAccount(
        id=row["id"], name=row["name"], role=row["role"], created_at=seconds(row["created_at"])
    )
