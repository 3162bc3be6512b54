"""Whose this Jan is: the owners that the settings name, or the first one, by a link.

Whoever starts Jan may say who owns it: in the settings, or by the link that `jan serve` and
`jan setup` print. The link works until there is an owner. All of it may happen on several machines
at once; one lock puts it in order.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import structlog

from jan.audit import service as audit
from jan.auth import attempts, passwords, people
from jan.auth.codes import GUESSES, Codes
from jan.auth.means import Means
from jan.auth.people import Person, Visitor
from jan.auth.sessions import Opened
from jan.db import scope
from jan.errors import Conflict
from jan.organization import access
from jan.users import emails
from jan.users.registration import checked_name, register

OWNED = "Somebody owns this Jan already."
OWNED_HINT = "Ask them for an invite. The operator can make others owners with `jan member`."

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('jan owners', 0))"
IS_OWNED = """
SELECT EXISTS (
    SELECT FROM organization_member AS m JOIN organization AS o ON o.id = m.organization_id
    WHERE o.is_default AND m.role = 'owner'
)
"""
APPOINT = """
INSERT INTO organization_member AS m (organization_id, user_id, role) VALUES ($1, $2, 'owner')
ON CONFLICT (organization_id, user_id) DO UPDATE SET role = 'owner' WHERE m.role <> 'owner'
RETURNING user_id
"""

log = structlog.get_logger("jan.auth")


async def appoint(addresses: Sequence[str]) -> list[str]:
    """Make these people owners of the default organization; register whom nobody knows.

    Returns the addresses of those who were not before. Whoever has merely claimed an address here
    does not become an owner by it.
    """
    if not addresses:
        return []
    appointed: list[Person] = []
    async with scope.system() as connection:
        operator = await access.operator()
        await connection.execute(LOCK)
        for address in dict.fromkeys(map(emails.normal, addresses)):
            person = await _found_or_registered(connection, address)
            if not person.is_email_proven:
                log.error(
                    "an owner's address was claimed by somebody who has not proven it",
                    setting="organization_admin_emails",
                    user=person.id,
                    hint="a new password, set by mail, makes the account that of the mailbox",
                )
                continue
            if await connection.fetchval(APPOINT, operator.organization_id, person.id):
                appointed.append(person)
        for person in appointed:  # last: it holds up other acts in the organization
            data = {"email": person.email, "role": "owner"}
            await audit.record(operator, "user.added", person.id, data=data)
    return [person.email for person in appointed]


async def is_owned() -> bool:
    """Whether the default organization has an owner."""
    async with scope.system() as connection:
        return await connection.fetchval(IS_OWNED)


async def link(*, codes: Codes, url: str) -> str:
    """Make the link for the first owner. Older ones are void. `url` is this Jan's.

    Raises:
        Conflict: there is an owner.
    """
    async with scope.system() as connection:
        await connection.execute(LOCK)
        if await is_owned():
            raise Conflict(OWNED, hint=OWNED_HINT)
        code = await codes.make("setup")
    return f"{url}/setup?{urlencode({'code': code})}"


async def set_up(  # noqa: PLR0913 - as many as a person tells of themselves
    visitor: Visitor, code: str, *, email: str, name: str, password: str, means: Means
) -> Opened:
    """Register the first owner, and sign them in.

    Raises:
        InvalidCode: the link is no good (any more).
        InvalidRequest: address, name or password do not fit; `param` names it.
        Conflict: somebody has the address; or there is an owner.
        RateLimited: too many codes were wrong before.
    """
    guess = GUESSES.of(attempts.network(visitor.address))
    await attempts.take(guess)
    await means.codes.check("setup", code)
    await attempts.give_back(guess)
    address, name = emails.normal(email), checked_name(name)
    passwords.check(password, email=address)
    password_hash = await means.passwords.hash(password)
    async with scope.system() as connection:
        await connection.execute(LOCK)
        await means.codes.use("setup", code)
        if await is_owned():
            raise Conflict(OWNED, hint=OWNED_HINT)
        new = await register(connection, email=address, name=name, password_hash=password_hash)
        person = Person.of(await connection.fetchrow(people.BY_ID, new.id))
        assert person is not None
        operator = await access.operator()
        await connection.execute(APPOINT, operator.organization_id, person.id)
        await people.record(
            visitor,
            "user.added",
            user_id=person.id,
            email=address,
            data={"email": address, "role": "owner"},
        )
        return await means.sessions.open(visitor, person, how="setup")


async def _found_or_registered(connection: Any, address: str) -> Person:
    await connection.execute(people.LOCK_EMAIL, address)
    found = Person.of(await connection.fetchrow(people.BY_EMAIL, address))
    if found is None:
        await register(connection, email=address, name="")
        found = Person.of(await connection.fetchrow(people.BY_EMAIL, address))
        assert found is not None
    return found
