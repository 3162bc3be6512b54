"""Passwords that were forgotten: a link by mail, a new password for it.

Whoever asks is told nothing, and everything that depends on whether there is such a person happens
in a job, after the answer. A link proves that the address is theirs. Where that was not known, the
account may have been made by somebody else: what they could still get in by is taken from them.
"""

from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec
import structlog

from jan import clock
from jan.auth import attempts, passwords, people, sessions, sign_in
from jan.auth.attempts import Limit
from jan.auth.codes import GUESSES, LIFETIMES, Codes
from jan.auth.means import Means
from jan.auth.people import Person, Visitor
from jan.db import scope
from jan.errors import InvalidCode, InvalidRequest, NotFound
from jan.jobs import queue
from jan.jobs.queue import Hopeless, Job
from jan.mail.outbox import Outbox
from jan.users import emails

REQUESTS_OF_CLIENT = Limit("reset links from", 20, 3600)
REQUESTS_FOR_ACCOUNT = Limit("reset links for", 3, 3600)
"""Nobody's mailbox is to be flooded by us."""

JOB = "auth.password_reset"
MAIL = "mail/password_reset"

SET = "UPDATE users SET password_hash = $2, is_email_proven = true WHERE id = $1"
REVOKE_KEYS = "UPDATE api_key SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL"

log = structlog.get_logger("jan.auth")


class Wanted(msgspec.Struct, frozen=True):
    """Whom somebody wants a link for."""

    email: str


async def request(visitor: Visitor, email: str) -> None:
    """See to it that whoever has this address gets a link, if anybody has.

    Raises:
        InvalidRequest: this is no e-mail address.
        RateLimited: too many were asked for, whether or not they led anywhere.
    """
    address = emails.normal(email)
    await attempts.take(
        REQUESTS_OF_CLIENT.of(attempts.network(visitor.address)), REQUESTS_FOR_ACCOUNT.of(address)
    )
    async with scope.system() as connection:
        await queue.enqueue(connection, JOB, Wanted(address))


async def link(email: str, *, codes: Codes, url: str) -> str:
    """Make a link for a registered person; older ones are void. `url` is this Jan's.

    Raises:
        NotFound: nobody who could use it has this address.
    """
    async with scope.system() as connection:
        person = Person.of(await connection.fetchrow(people.BY_EMAIL, emails.normal(email)))
        if person is None or person.is_guest or not person.is_enabled:
            raise NotFound(f"Nobody who could sign in has the address {email}.")
        code = await codes.make("password_reset", person.id)
    return f"{url}/reset?{urlencode({'code': code})}"


def jobs(outbox: Outbox, codes: Codes, url: str) -> Sequence[Job]:
    """Make the job that mails links."""

    async def send(wanted: Wanted) -> None:
        if not outbox.is_configured:
            log.warning(
                "a link for a new password was asked for, and there is no mail server",
                hint="`jan user reset-link EMAIL` makes one; JAN_SMTP_HOST lets Jan mail them",
            )
            return
        async with scope.system() as connection:
            try:
                made = await link(wanted.email, codes=codes, url=url)
            except NotFound:
                return
            minutes = int(LIFETIMES["password_reset"].total_seconds()) // 60
            context = {"email": wanted.email, "link": made, "minutes": minutes}
            try:
                await outbox.post(connection, MAIL, wanted.email, context)
            except InvalidRequest:
                raise Hopeless("no mail can be sent to this address") from None

    return [Job(JOB, send, Wanted)]


async def redeem(visitor: Visitor, code: str, password: str, *, means: Means) -> None:
    """Set a new password for a link. All sessions end, and all other links are void.

    Raises:
        InvalidCode: the link is no good (any more).
        InvalidRequest: the password is too easy, or does not fit.
        RateLimited: too many codes were wrong before.
    """
    guess = GUESSES.of(attempts.network(visitor.address))
    await attempts.take(guess)
    user_id = await means.codes.check("password_reset", code)
    person = await people.by_id(user_id or "")
    if person is None or not person.is_enabled:
        raise InvalidCode(sign_in.DISABLED, param="code")
    await attempts.give_back(guess)
    passwords.check(password, email=person.email)
    password_hash = await means.passwords.hash(password)
    async with scope.system() as connection:
        await means.codes.use("password_reset", code)
        await connection.execute(SET, person.id, password_hash)
        if not person.is_email_proven:
            await connection.execute(REVOKE_KEYS, person.id, clock.now())
        await sessions.end_all(person.id)
        await attempts.forget(*sign_in.tries_of(visitor, person.email)[1:])
        await people.record(
            visitor,
            "user.updated",
            user_id=person.id,
            email=person.email,
            changes={"password": "reset"},
        )
