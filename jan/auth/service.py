"""What a person sees and changes of their own account, once they are signed in."""

from typing import Any

from jan import clock
from jan.auth import attempts, passwords, people, sessions, sign_in
from jan.auth.attempts import Limit
from jan.auth.means import Means
from jan.auth.people import Person, Visitor
from jan.auth.schemas import Me, MyOrganization, MyProject, SessionDeleted, SessionView
from jan.auth.sessions import Opened
from jan.caller import Caller
from jan.db import paging, scope
from jan.errors import Conflict, Forbidden, NotFound, WrongPassword
from jan.pages import Page, Wanted, page
from jan.permissions import Scope
from jan.users import emails
from jan.users.registration import checked_name

UPGRADES_OF_CLIENT = Limit("registrations from", 20, 3600)

NOBODY = "This key belongs to no person."
HAS_NONE = "You have no password yet. Ask for one by mail: `POST /v1/auth/password/reset-request`."
OLD_IS_WRONG = "The current password is wrong."
NO_REGISTRATION = "Nobody can register here by themselves. Ask whoever runs this Jan for an invite."
TAKEN = "Somebody has this address."
NOT_A_GUEST = "You are registered already."

# A person's places are in several organizations, so row security can't narrow these: the person's
# id does. $2: of a key, the organization that it is for; $3: its project.
ORGANIZATIONS = """
SELECT o.id, o.name, m.role, o.is_default
FROM organization_member AS m JOIN organization AS o ON o.id = m.organization_id
WHERE m.user_id = $1 AND ($2::text IS NULL OR o.id = $2)
ORDER BY o.is_default DESC, m.created_at, o.id
"""
PROJECTS = """
SELECT p.id, p.name, p.organization_id,
       CASE WHEN p.owner_user_id IS NOT NULL THEN 'owner' ELSE m.role END AS role
FROM project AS p LEFT JOIN project_member AS m ON m.project_id = p.id AND m.user_id = $1
WHERE (p.owner_user_id = $1 OR m.user_id = $1) AND p.archived_at IS NULL
  AND ($2::text IS NULL OR p.id = $2)
ORDER BY p.owner_user_id IS NULL, p.created_at, p.id
"""
SESSIONS = """
SELECT s.id, s.address, s.user_agent, s.created_at, s.expires_at FROM session AS s
WHERE s.user_id = $1 AND s.ended_at IS NULL AND s.expires_at > $2
"""
IS_MINE = "SELECT 1 FROM session WHERE id = $1 AND user_id = $2 AND expires_at > $3"
CHANGE = """
UPDATE users SET password_hash = $2
WHERE id = $1 AND password_hash = $3 AND is_enabled RETURNING id
"""


async def me(caller: Caller) -> Me:
    """Tell a person who they are and where; of a key, its owner, and where the key acts.

    Raises:
        Forbidden: the key belongs to no person.
    """
    if caller.user_id is None:
        raise Forbidden(NOBODY)
    is_person = caller.kind == "user"
    async with scope.system() as connection:
        person = Person.of(await connection.fetchrow(people.BY_ID, caller.user_id))
        organizations = await connection.fetch(
            ORGANIZATIONS, caller.user_id, None if is_person else caller.organization_id
        )
        projects = await connection.fetch(
            PROJECTS, caller.user_id, None if is_person else caller.project_id
        )
    if person is None:
        raise NotFound("The account was deleted.")
    return Me(
        id=person.id,
        email=person.email,
        name=person.name,
        is_guest=person.is_guest,
        has_password=person.password_hash is not None,
        organizations=[MyOrganization(**row) for row in organizations],
        projects=[MyProject(**row) for row in projects],
    )


async def change_password(caller: Caller, current: str, new: str, *, means: Means) -> None:
    """Change one's own password. All other sessions end: they may be somebody else's.

    Raises:
        WrongPassword: the current one is another.
        Conflict: there is none yet.
        InvalidRequest: the new one is too easy, or does not fit.
        RateLimited: too many were wrong before.
    """
    person = await _person(caller)
    if person.is_guest or person.password_hash is None:
        raise Conflict(HAS_NONE)
    passwords.check(new, email=person.email)
    tries = sign_in.tries_of(Visitor.of(caller), person.email)
    await attempts.take(*tries)
    if not await means.passwords.verify(current, person.password_hash):
        raise WrongPassword(OLD_IS_WRONG, param="current_password")
    password_hash = await means.passwords.hash(new)
    async with scope.system() as connection:
        if not await connection.fetchval(CHANGE, person.id, password_hash, person.password_hash):
            raise WrongPassword(OLD_IS_WRONG, param="current_password")  # changed meanwhile
        await sessions.end_all(person.id, except_id=caller.session_id)
        await attempts.give_back(*tries)
        await people.record(
            Visitor.of(caller),
            "user.updated",
            user_id=person.id,
            email=person.email,
            session_id=caller.session_id,
            changes={"password": "changed"},
        )


async def upgrade(caller: Caller, email: str, password: str, name: str, *, means: Means) -> Opened:
    """Make the guest that one is a registered person, who keeps all that is theirs.

    Nobody has proven that the address is theirs. So no provider's word for it opens this account,
    and no office comes with it, until a new password is set by mail.

    Raises:
        Forbidden: nobody may register by themselves.
        Conflict: somebody has the address; or this is no guest.
        InvalidRequest: address, name or password do not fit; `param` names it.
        RateLimited: too many did so from there.
    """
    if means.registration != "open":
        raise Forbidden(NO_REGISTRATION)
    person, visitor = await _person(caller), Visitor.of(caller)
    if not person.is_guest:
        raise Conflict(NOT_A_GUEST)
    address, name = emails.normal(email), checked_name(name)
    passwords.check(password, email=address)
    await attempts.take(UPGRADES_OF_CLIENT.of(attempts.network(visitor.address)))
    password_hash = await means.passwords.hash(password)
    async with scope.system() as connection:
        await connection.execute(people.LOCK_EMAIL, address)
        if await connection.fetchrow(people.BY_EMAIL, address):
            raise Conflict(TAKEN, param="email")
        registered = await sign_in.adopt(
            person.id, email=address, name=name, password_hash=password_hash, is_proven=False
        )
        if registered is None:
            raise Conflict(NOT_A_GUEST)
        changes = {"is_guest": False, "email": address}
        await people.record(
            visitor, "user.updated", user_id=person.id, email=address, changes=changes
        )
        return await means.sessions.open(visitor, registered, how="password")


async def page_sessions(caller: Caller, wanted: Wanted) -> Page[SessionView]:
    """List where one is signed in."""
    caller.require(Scope.ACCOUNT_WRITE)
    async with scope.of(caller) as connection:
        rows = await paging.fetch(
            connection, SESSIONS, (caller.user_id, clock.now()), wanted, alias="s"
        )
    return page([_view(row, caller) for row in rows], wanted)


async def end_session(caller: Caller, session_id: str) -> SessionDeleted:
    """Sign oneself out somewhere, at once. Twice is no error.

    Raises:
        NotFound: none of one's own sessions is this.
    """
    caller.require(Scope.ACCOUNT_WRITE)
    async with scope.of(caller) as connection:
        if not await connection.fetchval(IS_MINE, session_id, caller.user_id, clock.now()):
            raise NotFound(f"You have no session `{session_id}`.")
    await sessions.end(
        Visitor.of(caller), session_id, email=caller.email, from_session=caller.session_id
    )
    return SessionDeleted(session_id)


async def _person(caller: Caller) -> Person:
    caller.require(Scope.ACCOUNT_WRITE)
    person = await people.by_id(caller.user_id or "")
    if person is None:
        raise NotFound("The account was deleted.")
    return person


def _view(row: Any, caller: Caller) -> SessionView:
    return SessionView(
        id=row["id"],
        address=row["address"],
        user_agent=row["user_agent"],
        created_at=int(row["created_at"].timestamp()),
        expires_at=int(row["expires_at"].timestamp()),
        is_current=row["id"] == caller.session_id,
    )
