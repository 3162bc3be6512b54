"""Rules of people's accounts, on the whole of this Jan: for who administers it."""

from collections.abc import Sequence
from typing import Any

from jan import clock, pages
from jan.audit import platform
from jan.audit import service as audit
from jan.caller import Caller
from jan.db import paging, scope
from jan.errors import Conflict, InvalidRequest, NotFound
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.users import emails, ownership, registration
from jan.users.schemas import User, UserUpdate
from jan.wire import Deleted, optional_seconds, seconds

MAX_EMAILS = 100

SELECT = """
SELECT u.id, u.email, u.name, u.is_guest, u.is_enabled, u.created_at, u.last_login_at
FROM users AS u WHERE true
"""
LOCK = SELECT + " AND u.id = $1 FOR NO KEY UPDATE"
LOCK_TO_DELETE = SELECT + " AND u.id = $1 FOR UPDATE"
UPDATE = "UPDATE users SET name = $2, is_enabled = $3 WHERE id = $1"
END_SESSIONS = "UPDATE session SET ended_at = $2 WHERE user_id = $1 AND ended_at IS NULL"
JOINED = "SELECT organization_id, role FROM organization_member WHERE user_id = $1"
DELETE = "DELETE FROM users WHERE id = $1"


async def create(
    caller: Caller, *, email: str, name: str = "", password_hash: str | None = None
) -> User:
    """Give somebody an account, and a project of their own. They are in no organization by that.

    Raises:
        Forbidden: the caller does not administer this Jan.
        InvalidRequest: the name or the address does not fit; `param` names it.
        Conflict: somebody has this address.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        made = await registration.register(
            connection, email=email, name=name, password_hash=password_hash
        )
        await audit.record(
            caller,
            "account.created",
            made.id,
            organization_id=await platform.organization_id(connection),
            data={"email": made.email, "name": made.name},
        )
    return User(
        id=made.id,
        email=made.email,
        name=made.name,
        is_guest=False,
        is_enabled=True,
        created_at=seconds(made.created_at),
        last_login_at=None,
    )


async def get(caller: Caller, user_id: str) -> User:
    """Find a person.

    Raises:
        Forbidden: the caller does not administer this Jan.
        NotFound: there is none of this id.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        return _found(await connection.fetchrow(SELECT + " AND u.id = $1", user_id), user_id)


async def page(caller: Caller, wanted: Wanted, addresses: Sequence[str] = ()) -> Page[User]:
    """List all people, guests among them, or those of them who have these addresses.

    Raises:
        Forbidden: the caller does not administer this Jan.
        InvalidRequest: too many addresses, or the cursor is none of the list's ids.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    if len(addresses) > MAX_EMAILS:
        raise InvalidRequest(f"At most {MAX_EMAILS} addresses at once.", param="emails")
    select, values = SELECT, []
    if addresses:
        select += " AND u.email = ANY($1)"
        values.append([emails.folded(address) for address in addresses])
    async with scope.reading_all() as connection:
        rows = await paging.fetch(connection, select, values, wanted, alias="u")
    return pages.page([_user(row) for row in rows], wanted)


async def update(caller: Caller, user_id: str, changes: UserUpdate) -> User:
    """Change a person's name, or lock them out or in again.

    Who is locked out is signed out, too. Their keys stop, and go on when they are let in again.

    Raises:
        Forbidden, NotFound: as `get`.
        InvalidRequest: the name does not fit, or nothing is to change.
        Conflict: people can't lock themselves out.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    if changes.name is None and changes.is_enabled is None:
        raise InvalidRequest("Give a `name` or `is_enabled`.", param="name")
    async with scope.of_all() as connection:
        before = _found(await connection.fetchrow(LOCK, user_id), user_id)
        name, is_enabled = before.name, before.is_enabled
        if changes.name is not None:
            name = registration.checked_name(changes.name)
        if changes.is_enabled is not None:
            is_enabled = changes.is_enabled
        if not is_enabled and user_id == caller.user_id:
            raise Conflict("You can't disable your own account.")
        await connection.execute(UPDATE, user_id, name, is_enabled)
        if not is_enabled:
            await connection.execute(END_SESSIONS, user_id, clock.now())
        await audit.record(
            caller,
            "account.updated",
            user_id,
            organization_id=await platform.organization_id(connection),
            before={"name": before.name, "is_enabled": before.is_enabled},
            changes={"name": name, "is_enabled": is_enabled},
        )
        return _found(await connection.fetchrow(SELECT + " AND u.id = $1", user_id), user_id)


async def delete(caller: Caller, user_id: str) -> Deleted:
    """Delete a person, their own project and their keys, for good.

    Raises:
        Forbidden, NotFound: as `get`.
        Conflict: it is the caller, or the last owner of an organization.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        found = _found(await connection.fetchrow(LOCK_TO_DELETE, user_id), user_id)
        if user_id == caller.user_id:
            raise Conflict("You can't delete your own account.")
        joined = {
            row["organization_id"]: row["role"] for row in await connection.fetch(JOINED, user_id)
        }
        with ownership.kept():
            await connection.execute(DELETE, user_id)
        everywhere = await platform.organization_id(connection)
        # In the order of their names: several logs are locked, by others too.
        for organization_id in sorted({*joined, everywhere}):
            if organization_id in joined:
                await audit.record(
                    caller,
                    "user.deleted",
                    user_id,
                    organization_id=organization_id,
                    before={"role": joined[organization_id]},
                )
            if organization_id == everywhere:
                await audit.record(
                    caller,
                    "account.deleted",
                    user_id,
                    organization_id=organization_id,
                    before={"email": found.email, "name": found.name},
                )
    return Deleted(object="user.deleted", id=user_id)


def _found(row: Any, user_id: str) -> User:
    if row is None:
        raise NotFound(f"There is no user `{user_id}`.")
    return _user(row)


def _user(row: Any) -> User:
    return User(
        id=row["id"],
        email=row["email"],
        name=row["name"],
        is_guest=row["is_guest"],
        is_enabled=row["is_enabled"],
        created_at=seconds(row["created_at"]),
        last_login_at=optional_seconds(row["last_login_at"]),
    )
