"""Signing in by password, as a guest, or by an OpenID provider: who one is then, and who may not.

Nobody learns here who has an account: a wrong password and an unknown address are one answer, which
takes as long and is counted and written down alike.
"""

import secrets
from dataclasses import dataclass, replace
from typing import Any

from jan import clock, ids
from jan.auth import attempts, people, sessions
from jan.auth.attempts import Limit, Try
from jan.auth.id_token import Identity
from jan.auth.means import Means
from jan.auth.oidc import Answer
from jan.auth.people import Person, Visitor
from jan.auth.sessions import Opened
from jan.db import scope
from jan.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    JanError,
    SessionEnded,
    SignInFailed,
    WrongPassword,
)
from jan.users import emails
from jan.users.registration import MAX_NAME_LENGTH, register

FAILURES_OF_CLIENT = Limit("sign-ins from", 60, 900)
"""Failed ones. An office is one client, and its people mistype."""
FAILURES_ON_ACCOUNT_OF_CLIENT = Limit("sign-ins as, from", 10, 900)
FAILURES_ON_ACCOUNT = Limit("sign-ins as", 100, 3600)
"""From everywhere: as many as NIST SP 800-63B-4, section 3.2.2, allows in all. With fewer it would
be easy to lock somebody out."""
GUESTS_OF_CLIENT = Limit("guests from", 20, 3600)

GUEST_PREFIX = "jan_"
GUEST_DOMAIN = "guest.jan.ai"
GUEST_LENGTH = 12

INCORRECT = "The e-mail address or the password is wrong."
DISABLED = "The account is disabled."
NO_GUESTS = "There are no guests here. Sign in."
SIGNED_IN = "You are signed in, not as a guest. Refresh the session, or log out first."
NOT_INVITED = "Nobody has invited you. Ask whoever runs this Jan for an invite."
UNPROVEN = (
    "Somebody else has registered with your e-mail address and never proven that it is theirs. "
    "Ask for a new password by mail: it makes the account yours."
)
OTHER_ACCOUNT = "This address belongs to another account at that provider."

# Once more, in the transaction that signs in: a password that was changed meanwhile is none.
IS_STILL_RIGHT = (
    "SELECT 1 FROM users WHERE id = $1 AND password_hash = $2 AND is_enabled FOR UPDATE"
)
REHASH = "UPDATE users SET password_hash = $2 WHERE id = $1"
HAS_OTHER_SUBJECT = "SELECT 1 FROM identity WHERE provider = $1 AND user_id = $2"
LINK = "INSERT INTO identity (provider, subject, user_id) VALUES ($1, $2, $3)"
IS_INVITED = "SELECT 1 FROM invite WHERE email = $1 AND status = 'pending' AND expires_at > $2"
ADOPT = """
UPDATE users SET is_guest = false, is_email_proven = $2, email = $3, password_hash = $4,
                 name = COALESCE(NULLIF($5, ''), name)
WHERE id = $1 AND is_guest AND is_enabled
RETURNING id, email, name, is_guest, is_enabled, is_email_proven, password_hash
"""


async def by_password(visitor: Visitor, email: str, password: str, *, means: Means) -> Opened:
    """Sign in with an e-mail address and a password.

    Raises:
        WrongPassword: they belong to nobody.
        Forbidden: they are right, and the account is disabled.
        RateLimited: too many were wrong before, or too many sign in at once.
        InvalidRequest: this is no e-mail address.
    """
    address = emails.normal(email)
    tries = tries_of(visitor, address)
    await attempts.take(*tries)
    person = await people.by_email(address)
    stored = person.password_hash if person else None
    is_right = await means.passwords.verify(password, stored)
    if person is None or stored is None or not is_right:
        raise await _refused(visitor, WrongPassword(INCORRECT), person, address)
    if not person.is_enabled:
        raise await _refused(visitor, Forbidden(DISABLED), person, address)
    rehashed = None
    if means.passwords.needs_rehash(stored):
        rehashed = await means.passwords.hash(password)
    async with scope.system() as connection:
        if await connection.fetchval(IS_STILL_RIGHT, person.id, stored):
            if rehashed is not None:
                await connection.execute(REHASH, person.id, rehashed)
            await attempts.give_back(*tries)
            return await means.sessions.open(visitor, person, how="password")
    raise await _refused(visitor, WrongPassword(INCORRECT), person, address)


def tries_of(visitor: Visitor, email: str) -> tuple[Try, ...]:
    """Name all limits that a password for this account, from this visitor, counts against."""
    client = attempts.network(visitor.address)
    return (
        FAILURES_OF_CLIENT.of(client),
        FAILURES_ON_ACCOUNT_OF_CLIENT.of(email, client),
        FAILURES_ON_ACCOUNT.of(email),
    )


async def as_guest(
    visitor: Visitor, refresh_token: str | None, *, has_tabs: bool, means: Means
) -> Opened:
    """Become a guest: the one that the browser is already, or a new one.

    Raises:
        Forbidden: there are none here.
        Conflict: the browser is signed in as somebody, who would be lost by it.
        RateLimited: too many were made for this client.
    """
    if not means.has_guests:
        raise Forbidden(NO_GUESTS)
    holder = await means.sessions.holder(refresh_token, has_tabs=has_tabs)
    if holder is not None and holder.is_guest:
        try:
            return await means.sessions.refresh(visitor, refresh_token, has_tabs=has_tabs)
        except SessionEnded:
            pass  # and nobody can ever be that guest again
    elif holder is not None and holder.is_living:
        raise Conflict(SIGNED_IN)
    await attempts.take(GUESTS_OF_CLIENT.of(attempts.network(visitor.address)))
    name = GUEST_PREFIX + "".join(secrets.choice(ids.ALPHABET) for _ in range(GUEST_LENGTH))
    async with scope.system() as connection:
        new = await register(connection, email=f"{name}@{GUEST_DOMAIN}", name=name, is_guest=True)
        person = Person.of(await connection.fetchrow(people.BY_ID, new.id))
        assert person is not None
        return await means.sessions.open(visitor, person, how="guest")


async def by_provider(  # noqa: PLR0913 - as many as a browser brings back
    visitor: Visitor,
    provider: str,
    answer: Answer,
    *,
    state_cookie: str | None,
    refresh_token: str | None,
    means: Means,
) -> tuple[Opened, str | None]:
    """Sign in whom a provider sends back; a guest becomes that person in place.

    The identity itself decides who it is. Where it is new, an account with the same address is
    theirs, if the address of the account is proven too. Else they are somebody new. Returns also
    where they wanted to go.

    Raises:
        NotFound, SignInFailed, Unavailable, Misconfigured: as `Oidc.finish`.
        Forbidden: the account is disabled; or nobody knows them, and that is not enough here.
        Conflict: an account has the address, and may be somebody else's.
        RateLimited: too many came to nothing before.
    """
    attempt = FAILURES_OF_CLIENT.of(attempts.network(visitor.address))
    await attempts.take(attempt)
    email = None
    try:
        finished = await means.oidc.finish(provider, answer, cookie=state_cookie)
        email = finished.identity.email
        newcomer = _Newcomer(visitor, _normal(finished.identity), refresh_token, means)
        async with scope.system() as connection:
            person = await newcomer.known(connection)
            await attempts.give_back(attempt)
            return await means.sessions.open(visitor, person, how=provider), finished.redirect
    except (SignInFailed, Forbidden, Conflict) as refusal:
        await _refused(visitor, refusal, None, email)
        raise


def _normal(identity: Identity) -> Identity:
    try:
        return replace(identity, email=emails.normal(identity.email))
    except InvalidRequest as refusal:
        raise SignInFailed(refusal.message) from None


@dataclass(frozen=True, slots=True)
class _Newcomer:
    """Somebody whom a provider vouches for. Perhaps they were here before."""

    visitor: Visitor
    identity: Identity
    refresh_token: str | None
    means: Means

    async def known(self, connection: Any) -> Person:
        """Find the person of the identity, or introduce them."""
        await connection.execute(people.LOCK_EMAIL, self.identity.email)
        found = Person.of(
            await connection.fetchrow(
                people.BY_IDENTITY, self.identity.provider, self.identity.subject
            )
        )
        person = found or await self._introduced(connection)
        if not person.is_enabled:
            raise Forbidden(DISABLED)
        return person

    async def _introduced(self, connection: Any) -> Person:
        """Find or make the account, and link the identity with it."""
        identity = self.identity
        person = Person.of(await connection.fetchrow(people.BY_EMAIL, identity.email))
        act, said = "user.updated", {"identity": identity.provider}
        if person is not None:
            await self._require_sameness(connection, person)
        else:
            await self._require_welcome(connection)
            person = await self._adopted()
            said |= {"email": identity.email}
            if person is None:
                act, person = "user.added", await self._registered(connection)
        await connection.execute(LINK, identity.provider, identity.subject, person.id)
        await people.record(self.visitor, act, user_id=person.id, email=person.email, changes=said)
        return person

    async def _require_welcome(self, connection: Any) -> None:
        """Refuse strangers: of most providers everybody can have an account."""
        config = self.means.providers[self.identity.provider]
        # Of which domains people come in was checked where the identity was read.
        is_welcome = self.means.registration == "open" or bool(config.allowed_domains)
        if not is_welcome and not await connection.fetchval(
            IS_INVITED, self.identity.email, clock.now()
        ):
            raise Forbidden(NOT_INVITED)

    async def _require_sameness(self, connection: Any, person: Person) -> None:
        """Refuse to give somebody an account that is perhaps not theirs."""
        if not person.is_email_proven:
            raise Conflict(UNPROVEN)
        if await connection.fetchval(HAS_OTHER_SUBJECT, self.identity.provider, person.id):
            # The address was given to somebody else, as companies do when people leave.
            raise Conflict(OTHER_ACCOUNT)

    async def _adopted(self) -> Person | None:
        """Make the guest of this browser the person, if there is one."""
        holder = await self.means.sessions.holder(self.refresh_token, has_tabs=True)
        if holder is None or not holder.is_guest or not holder.is_living:
            return None
        return await adopt(holder.user_id, email=self.identity.email, name=self._name)

    async def _registered(self, connection: Any) -> Person:
        new = await register(connection, email=self.identity.email, name=self._name)
        person = Person.of(await connection.fetchrow(people.BY_ID, new.id))
        assert person is not None
        return person

    @property
    def _name(self) -> str:
        return (self.identity.name or "").strip()[:MAX_NAME_LENGTH]


async def adopt(
    user_id: str,
    *,
    email: str,
    name: str,
    password_hash: str | None = None,
    is_proven: bool = True,
) -> Person | None:
    """Make a guest a registered person, with all that is theirs; as part of the open transaction.

    Their sessions end: what a guest's tokens were worth must not grow. None: it is no guest.
    """
    async with scope.system() as connection:
        person = Person.of(
            await connection.fetchrow(ADOPT, user_id, is_proven, email, password_hash, name)
        )
        if person is not None:
            await sessions.end_all(user_id)
    return person


async def _refused(
    visitor: Visitor, refusal: JanError, person: Person | None, email: str | None
) -> JanError:
    """Write down that somebody did not get in, and why. Returns what is to be raised."""
    await people.record(
        visitor,
        "login.failed",
        user_id=person and person.id,
        email=email,
        data={"error_code": refusal.code, "error_message": refusal.message},
    )
    return refusal
