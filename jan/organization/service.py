"""Rules of organizations: made by who administers this Jan, kept by their owners."""

from typing import Any

import msgspec
from msgspec import UNSET

from jan import clock, ids, names, pages
from jan.audit import platform
from jan.audit import service as audit
from jan.caller import Caller
from jan.db import paging, scope
from jan.errors import Conflict, InvalidRequest
from jan.organization import access
from jan.organization.schemas import Organization, OrganizationCreate, OrganizationUpdate
from jan.organization.tables import new_organization_id
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.users import emails, registration
from jan.wire import Deleted, seconds

FIRST_PROJECT = "Default project"
"""What is in a new organization: where keys belong that name no project."""

MAX_RETENTION_DAYS = 36_500
"""A century: as the database has it."""

INSERT = "INSERT INTO organization (id, name, created_at) VALUES ($1, $2, $3)"
INSERT_PROJECT = """
INSERT INTO project (id, organization_id, name, created_at) VALUES ($1, $2, $3, $4)
"""
INSERT_OWNER = """
INSERT INTO organization_member (organization_id, user_id, role, created_at)
VALUES ($1, $2, 'owner', $3)
"""
INSERT_PROJECT_OWNER = """
INSERT INTO project_member (project_id, organization_id, user_id, role, created_at)
VALUES ($1, $2, $3, 'owner', $4)
"""
SELECT_ALL = """
SELECT o.id, o.name, o.is_default, o.created_at, o.retention_days, m.role
FROM organization AS o
LEFT JOIN organization_member AS m ON m.organization_id = o.id AND m.user_id = $1
WHERE true
"""
SELECT_OF_PERSON = """
SELECT o.id, o.name, o.is_default, o.created_at, o.retention_days, m.role
FROM organization_member AS m JOIN organization AS o ON o.id = m.organization_id
WHERE m.user_id = $1
"""
SELECT_OF_KEY = """
SELECT o.id, o.name, o.is_default, o.created_at, o.retention_days, NULL AS role
FROM organization AS o WHERE o.id = $1
"""
CHANGE = {
    "name": "UPDATE organization SET name = $2 WHERE id = $1",
    "retention_days": "UPDATE organization SET retention_days = $2 WHERE id = $1",
}
"""By field, so that two who change different ones at once both have their way."""
# In the order in which others lock, who change a project or a member: nobody waits in a circle.
LOCK_PROJECTS = "SELECT FROM project WHERE organization_id = $1 ORDER BY id FOR UPDATE"
LOCK_MEMBERS = """
SELECT FROM organization_member WHERE organization_id = $1 ORDER BY user_id FOR UPDATE
"""
DELETE = "DELETE FROM organization WHERE id = $1"


async def create(caller: Caller, wanted: OrganizationCreate) -> Organization:
    """Make an organization, with a first project in it. Who owns it may be registered by that.

    The operator, who is no person, may leave it without an owner.

    Raises:
        InvalidRequest: a name or an address does not fit; `param` names it.
        Forbidden: the caller does not administer this Jan.
        Conflict: the address is a guest's.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    name, now = names.checked(wanted.name), clock.now()
    organization_id, project_id = new_organization_id(), ids.new("proj")
    async with scope.of_all() as connection:
        owner_id = caller.user_id
        if wanted.owner_email is not None:
            owner_id = await _person(caller, connection, wanted.owner_email)
        await connection.execute(INSERT, organization_id, name, now)
        await connection.execute(INSERT_PROJECT, project_id, organization_id, FIRST_PROJECT, now)
        if owner_id is not None:
            await connection.execute(INSERT_OWNER, organization_id, owner_id, now)
            await connection.execute(
                INSERT_PROJECT_OWNER, project_id, organization_id, owner_id, now
            )
        await audit.record(
            caller,
            "organization.created",
            organization_id,
            organization_id=await platform.organization_id(connection),
            data={"name": name, "owner_id": owner_id},
        )
    is_own = owner_id is not None and owner_id == caller.user_id and caller.kind == "user"
    return Organization(
        id=organization_id,
        name=name,
        is_default=False,
        role="owner" if is_own else None,
        created_at=seconds(now),
        retention_days=None,
    )


async def get(caller: Caller, organization_id: str) -> Organization:
    """Find an organization.

    Raises:
        NotFound: there is none of this id, or none that the caller may see.
        Forbidden: a key that was narrowed to something else.
    """
    async with access.within(caller, organization_id, Scope.ADMINISTRATION_USE) as place:
        return place.organization


async def page(caller: Caller, wanted: Wanted) -> Page[Organization]:
    """List the organizations that the caller is in; all of them for who administers this Jan.

    Raises:
        InvalidRequest: the cursor is none of the list's ids.
    """
    if caller.is_platform:
        person_id = caller.user_id if caller.kind == "user" else None
        async with scope.reading_all() as connection:
            rows = await paging.fetch(connection, SELECT_ALL, [person_id], wanted, alias="o")
        return pages.page([access.described(row) for row in rows], wanted)
    select, whose = SELECT_OF_KEY, caller.organization_id
    if caller.kind == "user":
        select, whose = SELECT_OF_PERSON, caller.user_id
    async with scope.reading(caller) as connection:
        rows = await paging.fetch(connection, select, [whose], wanted, alias="o")
    return pages.page([access.described(row) for row in rows], wanted)


async def update(caller: Caller, organization_id: str, wanted: OrganizationUpdate) -> Organization:
    """Rename an organization, or say for how long it keeps what was said.

    Raises:
        InvalidRequest: the name or the number of days does not fit, or nothing is to change.
        NotFound: as `get`.
        Forbidden: the caller is none of its owners.
    """
    changes = _checked(wanted)
    async with access.within(caller, organization_id, Scope.ORGANIZATION_ADMIN) as place:
        for field, value in changes.items():
            await place.connection.execute(CHANGE[field], organization_id, value)
        await audit.record(
            place.caller,
            "organization.updated",
            organization_id,
            before={field: getattr(place.organization, field) for field in changes},
            changes=changes,
        )
        return msgspec.structs.replace(place.organization, **changes)


async def delete(caller: Caller, organization_id: str, *, confirmed_name: str | None) -> Deleted:
    """Delete an organization and everything in it, for good. Only its audit log stays.

    Raises:
        NotFound, Forbidden: as `update`.
        Conflict: it is the default organization.
        InvalidRequest: `confirmed_name` is not its name.
    """
    async with access.within(
        caller, organization_id, Scope.ORGANIZATION_ADMIN, sees_all=True
    ) as place:
        if place.organization.is_default:
            raise Conflict("The default organization stays: its owners administer this Jan.")
        if confirmed_name != place.organization.name:
            raise InvalidRequest(
                "Everything in it would be gone. Say that you mean it: `confirm` is its name.",
                param="confirm",
            )
        for statement in (LOCK_PROJECTS, LOCK_MEMBERS, DELETE):
            await place.connection.execute(statement, organization_id)
        await audit.record(
            caller,
            "organization.deleted",
            organization_id,
            organization_id=await platform.organization_id(place.connection),
            before={"name": place.organization.name},
        )
    return Deleted(object="organization.deleted", id=organization_id)


def _checked(wanted: OrganizationUpdate) -> dict[str, Any]:
    """Tell which fields are to be what."""
    changes: dict[str, Any] = {}
    if wanted.name is not UNSET:
        changes["name"] = names.checked(wanted.name)
    if wanted.retention_days is not UNSET:
        changes["retention_days"] = days = wanted.retention_days
        is_number = isinstance(days, int) and 1 <= days <= MAX_RETENTION_DAYS
        if days is not None and not is_number:
            raise InvalidRequest(
                f"`retention_days` is a whole number from 1 to {MAX_RETENTION_DAYS},"
                " or null to keep everything.",
                param="retention_days",
            )
    if not changes:
        raise InvalidRequest("Give a `name` or `retention_days`.", param="name")
    return changes


async def _person(caller: Caller, connection: Any, email: str) -> str:
    """Find who has an address, or register somebody new with it."""
    try:
        address = emails.normal(email)
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param="owner_email") from None
    row = await connection.fetchrow("SELECT id, is_guest FROM users WHERE email = $1", address)
    if row is None:
        registered = await registration.register(connection, email=address, name="")
        await audit.record(
            caller,
            "account.created",
            registered.id,
            organization_id=await platform.organization_id(connection),
            data={"email": address},
        )
        return registered.id
    if row["is_guest"]:
        raise Conflict("A guest can't own an organization.", param="owner_email")
    return row["id"]
