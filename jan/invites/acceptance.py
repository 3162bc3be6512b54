"""How somebody comes in by an invite: the code in the link is all that they need.

A code that was mailed proves that the mailbox is theirs. One that the inviter was shown proves
nothing: who registers with it and a password of their choice has merely claimed the address. And an
account that somebody has claimed so gets no place in an organization without its password, or
whoever claims an address first would get the invites of its owner.
"""

from dataclasses import dataclass
from typing import Any

from jan import clock
from jan.audit import service as audit
from jan.auth import attempts, passwords, people
from jan.auth.attempts import Limit
from jan.auth.people import Person, Visitor
from jan.caller import Caller
from jan.db import scope
from jan.errors import Conflict, Forbidden, InvalidCode
from jan.invites import rows
from jan.invites.means import Means
from jan.invites.schemas import Acceptance, AcceptedInvite
from jan.permissions import OrganizationRole
from jan.users.registration import checked_name, register

GUESSES = Limit("codes from", 20, 900)
"""Wrong codes from one client, together with those of other links."""

INCORRECT = "This link was used before, is too old, or was taken back. Ask for a new one."
DISABLED = "The account is disabled."
GUEST = "A guest can't be invited. Sign in with an address of your own."
CLAIMED = (
    "Somebody has registered with this address and never proven that it is theirs. If it was you, "
    "give your password; if not, ask for a new one by mail: it makes the account yours."
)

# Whoever was an owner must not come back by an invite that they have kept.
FIND = """
SELECT i.id, i.organization_id, i.email, i.role, i.was_mailed, o.name AS organization_name
FROM invite AS i JOIN organization AS o ON o.id = i.organization_id
WHERE i.digest = $1 AND i.status = 'pending' AND i.expires_at > $2 AND (
    i.invited_by IS NULL OR EXISTS (
        SELECT FROM organization_member AS m JOIN users AS u ON u.id = m.user_id
        WHERE m.organization_id = i.organization_id AND m.user_id = i.invited_by
        AND m.role = 'owner' AND u.is_enabled
    )
)
"""
# Of several who wait for it, the first takes it: for the others it is no longer pending.
TAKE = FIND + " FOR UPDATE OF i"
PROVE = "UPDATE users SET is_email_proven = true WHERE id = $1 AND NOT is_email_proven"
ROLE = """
SELECT role FROM organization_member WHERE organization_id = $1 AND user_id = $2 FOR UPDATE
"""
JOIN = """
INSERT INTO organization_member (organization_id, user_id, role, created_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (organization_id, user_id) DO UPDATE SET role = excluded.role
"""
# A role that somebody has is not made smaller. What was archived meanwhile is left out.
JOIN_PROJECTS = """
INSERT INTO project_member AS m (project_id, organization_id, user_id, role, created_at)
SELECT w.project_id, w.organization_id, $2, w.role, $3
FROM invite_project AS w JOIN project AS p ON p.id = w.project_id
WHERE w.invite_id = $1 AND p.archived_at IS NULL ORDER BY w.project_id
ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role
WHERE m.role = 'member' AND excluded.role = 'owner'
RETURNING project_id, role
"""
ACCEPT = """
UPDATE invite SET status = 'accepted', accepted_at = $2, accepted_by = $3 WHERE id = $1
"""

RANKS: dict[OrganizationRole | None, int] = {None: 0, "member": 1, "reader": 2, "owner": 3}


async def accept(visitor: Visitor, wanted: Acceptance, *, means: Means) -> AcceptedInvite:
    """Let somebody in, and register them if nobody has their address. Works once.

    It signs nobody in. Of somebody who is registered, name and password stay as they are.

    Raises:
        InvalidCode: the link is no good (any more).
        InvalidRequest: name or password do not fit; `param` names it.
        Forbidden: the account is disabled, or claimed by somebody who does not give its password.
        Conflict: the address is a guest's.
        RateLimited: too many codes were wrong before.
    """
    guess = GUESSES.of(attempts.network(visitor.address))
    await attempts.take(guess)
    async with scope.system() as connection:
        row = await _look(connection, FIND, wanted.code, means)
    person = await people.by_email(row["email"])
    proof = await _proof(person, wanted.password, means)
    await attempts.give_back(guess)
    name, password_hash = checked_name(wanted.name or ""), None
    if person is None and wanted.password:
        passwords.check(wanted.password, email=row["email"])
        password_hash = await means.passwords.hash(wanted.password)
    async with scope.system() as connection:
        await connection.execute(people.LOCK_EMAIL, row["email"])
        taken = await _look(connection, TAKE, wanted.code, means)
        person = await people.by_email(taken["email"])
        _require_proof(person, proof)
        entry = _Entry(connection, visitor, taken)
        return await entry.admit(person, name=name, password_hash=password_hash)


async def _look(connection: Any, query: str, code: str, means: Means) -> Any:
    digest = means.codes.digest(code)
    row = digest and await connection.fetchrow(query, digest, clock.now())
    if not row:
        raise InvalidCode(INCORRECT, param="code")
    return row


async def _proof(person: Person | None, password: str | None, means: Means) -> str | None:
    """Check the password of an account that may be anybody's. Returns the hash that it matches."""
    if person is None or person.is_email_proven or not person.is_enabled:
        return None
    if not await means.passwords.verify(password or "", person.password_hash):
        raise Forbidden(CLAIMED, param="password")
    return person.password_hash


def _require_proof(person: Person | None, proof: str | None) -> None:
    if person is None:
        return
    if not person.is_enabled:
        raise Forbidden(DISABLED)
    if person.is_guest:
        raise Conflict(GUEST)
    if not person.is_email_proven and (proof is None or person.password_hash != proof):
        raise Forbidden(CLAIMED, param="password")


@dataclass(frozen=True, slots=True)
class _Entry:
    """An invite that somebody has in their hands, in the transaction that lets them in."""

    connection: Any
    visitor: Visitor
    invite: Any

    async def admit(
        self, person: Person | None, *, name: str, password_hash: str | None
    ) -> AcceptedInvite:
        """Give them their roles, and use the invite up."""
        user_id = person.id if person else await self._registered(name, password_hash)
        if person and self.invite["was_mailed"]:
            await self.connection.execute(PROVE, user_id)
        organization_id, now = self.invite["organization_id"], clock.now()
        held = await self.connection.fetchval(ROLE, organization_id, user_id)
        role = max(held, self.invite["role"], key=RANKS.__getitem__)
        if role != held:
            await self.connection.execute(JOIN, organization_id, user_id, role, now)
        joined = await self.connection.fetch(JOIN_PROJECTS, self.invite["id"], user_id, now)
        await self.connection.execute(ACCEPT, self.invite["id"], now, user_id)
        row = await self.connection.fetchrow(rows.ONE, organization_id, now, self.invite["id"])
        await self._record(
            user_id, held, role, {each["project_id"]: each["role"] for each in joined}
        )
        return AcceptedInvite(
            **rows.columns(row),
            organization_id=organization_id,
            organization_name=self.invite["organization_name"],
            user_id=user_id,
            is_new_user=person is None,
        )

    async def _registered(self, name: str, password_hash: str | None) -> str:
        # Into an account without a password nobody comes but by a provider or a mail.
        is_proven = self.invite["was_mailed"] or password_hash is None
        new = await register(
            self.connection,
            email=self.invite["email"],
            name=name,
            password_hash=password_hash,
            is_email_proven=is_proven,
        )
        return new.id

    async def _record(
        self, user_id: str, held: str | None, role: str, projects: dict[str, str]
    ) -> None:
        email = self.invite["email"]
        caller = Caller(
            kind="user",
            scopes=frozenset(),
            organization_id=self.invite["organization_id"],
            user_id=user_id,
            email=email,
            address=self.visitor.address,
            user_agent=self.visitor.user_agent,
        )
        data = {"email": email, "role": role, "projects": projects}
        await audit.record(caller, "invite.accepted", self.invite["id"], data=data)
        if held is None:
            await audit.record(caller, "user.added", user_id, data=data)
        elif role != held:
            await audit.record(
                caller, "user.updated", user_id, before={"role": held}, changes={"role": role}
            )
