"""Rules of who is in an organization and as what. One of them is an owner, always.

Whoever leaves it leaves its projects, and takes no key along: the database sees to both.
"""

from collections.abc import Sequence
from typing import Any

from jan import clock, pages
from jan.audit import service as audit
from jan.caller import Caller
from jan.db import paging, scope
from jan.errors import Conflict, InvalidRequest, NotFound
from jan.organization.schemas import MemberAdd, OrganizationUser, Person
from jan.pages import Page, Wanted
from jan.permissions import OrganizationRole, Scope
from jan.users import emails as addresses
from jan.users import ownership
from jan.wire import Deleted, seconds

MAX_EMAILS = 100

SELECT = """
SELECT m.user_id AS id, m.role, m.created_at, u.name, u.email, u.is_enabled,
       u.created_at AS registered_at
FROM organization_member AS m JOIN users AS u ON u.id = m.user_id
WHERE m.organization_id = $1
"""
FIND_PERSON = (
    "SELECT id, is_guest FROM users WHERE CASE WHEN $1 <> '' THEN id = $1 ELSE email = $2 END"
)
INSERT = """
INSERT INTO organization_member (organization_id, user_id, role, created_at)
VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING user_id
"""
LOCK = """
SELECT role FROM organization_member WHERE organization_id = $1 AND user_id = $2 FOR UPDATE
"""
UPDATE = "UPDATE organization_member SET role = $3 WHERE organization_id = $1 AND user_id = $2"
DELETE = "DELETE FROM organization_member WHERE organization_id = $1 AND user_id = $2"


async def add(caller: Caller, wanted: MemberAdd) -> OrganizationUser:
    """Bring somebody who has an account in, without asking them.

    For who administers this Jan: others would learn who has an account, and invite them instead.

    Raises:
        Forbidden: the caller does not administer this Jan.
        InvalidRequest: neither an id nor an address, or both.
        NotFound: there is no such person.
        Conflict: they are in it already, or only a guest.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    _require_one(wanted.user_id, wanted.email)
    async with scope.of_all() as connection:
        person = await connection.fetchrow(
            FIND_PERSON, wanted.user_id or "", addresses.folded(wanted.email or "")
        )
        if person is None:
            raise NotFound(f"There is no user `{wanted.user_id or wanted.email}`.")
        if person["is_guest"]:
            raise Conflict("A guest is in no organization until they sign in.")
        values = (caller.organization_id, person["id"], wanted.role, clock.now())
        if await connection.fetchval(INSERT, *values) is None:
            raise Conflict("They are in this organization already.")
        added = await _find(caller, connection, person["id"])
        await audit.record(caller, "user.added", added.id, data={"role": added.role})
    return added


async def get(caller: Caller, user_id: str) -> OrganizationUser:
    """Find a member of the caller's organization.

    Raises:
        Forbidden: the caller may not see who is in it.
        NotFound: there is none of this id.
    """
    caller.require(Scope.ORGANIZATION_READ)
    async with scope.of(caller) as connection:
        return await _find(caller, connection, user_id)


async def page(
    caller: Caller, wanted: Wanted, emails: Sequence[str] = ()
) -> Page[OrganizationUser]:
    """List who is in the caller's organization, or those of them who have these addresses.

    Raises:
        Forbidden: as `get`.
        InvalidRequest: too many addresses, or the cursor is none of the list's ids.
    """
    caller.require(Scope.ORGANIZATION_READ)
    if len(emails) > MAX_EMAILS:
        raise InvalidRequest(f"At most {MAX_EMAILS} addresses at once.", param="emails")
    select, values = SELECT, list[object]([caller.organization_id])
    if emails:
        select += " AND u.email = ANY($2)"
        values.append([addresses.folded(address) for address in emails])
    async with scope.reading(caller) as connection:
        rows = await paging.fetch(connection, select, values, wanted, alias="m", identity="user_id")
    return pages.page([_member(row) for row in rows], wanted)


async def update(caller: Caller, user_id: str, role: OrganizationRole) -> OrganizationUser:
    """Give a member another role, at once and in every process.

    Raises:
        Forbidden: the caller does not administer members.
        NotFound: as `get`.
        Conflict: it is the last owner.
    """
    caller.require(Scope.MEMBERS_ADMIN)
    async with scope.of(caller) as connection:
        with ownership.kept():
            before = await _lock(caller, connection, user_id)
            await connection.execute(UPDATE, caller.organization_id, user_id, role)
        await audit.record(
            caller, "user.updated", user_id, before={"role": before}, changes={"role": role}
        )
        return await _find(caller, connection, user_id)


async def remove(caller: Caller, user_id: str) -> Deleted:
    """Take a person out of the organization and of all its projects; their keys there are gone.

    Raises:
        Forbidden, NotFound, Conflict: as `update`.
    """
    caller.require(Scope.MEMBERS_ADMIN)
    async with scope.of(caller) as connection:
        with ownership.kept():
            before = await _lock(caller, connection, user_id)
            await connection.execute(DELETE, caller.organization_id, user_id)
        await audit.record(caller, "user.deleted", user_id, before={"role": before})
    return Deleted(object="organization.user.deleted", id=user_id)


def _require_one(user_id: str | None, email: str | None) -> None:
    if bool(user_id) == bool(email):
        raise InvalidRequest("Give either `user_id` or `email`.", param="user_id")


async def _lock(caller: Caller, connection: Any, user_id: str) -> OrganizationRole:
    role = await connection.fetchval(LOCK, caller.organization_id, user_id)
    if role is None:
        raise NotFound(f"There is no user `{user_id}` in this organization.")
    return role


async def _find(caller: Caller, connection: Any, user_id: str) -> OrganizationUser:
    row = await connection.fetchrow(SELECT + " AND m.user_id = $2", caller.organization_id, user_id)
    if row is None:
        raise NotFound(f"There is no user `{user_id}` in this organization.")
    return _member(row)


def _member(row: Any) -> OrganizationUser:
    return OrganizationUser(
        id=row["id"],
        name=row["name"],
        email=row["email"],
        role=row["role"],
        added_at=seconds(row["created_at"]),
        created=seconds(row["registered_at"]),
        user=Person(id=row["id"], name=row["name"], email=row["email"], enabled=row["is_enabled"]),
    )
