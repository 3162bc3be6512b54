"""The person behind a sign-in, the visitor who is none yet, and what is written down of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from jan.audit import service as audit
from jan.caller import Caller
from jan.db import scope

_SELECT = """
SELECT u.id, u.email, u.name, u.is_guest, u.is_enabled, u.is_email_proven, u.password_hash
FROM users AS u
"""
BY_EMAIL = _SELECT + "WHERE u.email = $1"
BY_ID = _SELECT + "WHERE u.id = $1"
BY_IDENTITY = (
    _SELECT + "JOIN identity AS i ON i.user_id = u.id WHERE i.provider = $1 AND i.subject = $2"
)
# One of an address at a time: two tabs that come back from a provider are one new person.
LOCK_EMAIL = "SELECT pg_advisory_xact_lock(hashtextextended('jan e-mail ' || $1, 0))"
DEFAULT_ORGANIZATION = "SELECT id FROM organization WHERE is_default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A row of users, as far as signing in goes."""

    id: str
    email: str
    name: str
    is_guest: bool
    is_enabled: bool
    is_email_proven: bool
    """Whether anybody but they themselves says that the address is theirs."""
    password_hash: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any] | None) -> Self | None:
        """Read what one of the queries found."""
        return None if row is None else cls(**row)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever sent a request that no credential stands behind."""

    address: str = ""
    user_agent: str = ""

    @classmethod
    def of(cls, caller: Caller) -> Self:
        """Be where a caller is."""
        return cls(caller.address, caller.user_agent)


async def by_email(email: str) -> Person | None:
    """Find who has this address; it is written as `jan.users.emails` writes it."""
    async with scope.system() as connection:
        return Person.of(await connection.fetchrow(BY_EMAIL, email))


async def by_id(user_id: str) -> Person | None:
    """Find a person."""
    async with scope.system() as connection:
        return Person.of(await connection.fetchrow(BY_ID, user_id))


async def record(  # noqa: PLR0913 - as many as an act has sides
    visitor: Visitor,
    act: str,
    *,
    user_id: str | None = None,
    email: str | None = None,
    session_id: str | None = None,
    subject_id: str | None = None,
    data: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Write an act at the door down, as `jan.audit.service.record`: last in its transaction.

    It goes to the default organization, whose owners look after all people of this Jan. Where no
    `subject_id` is given, it is the session's that begins or ends, else the person's.
    """
    async with scope.system() as connection:
        caller = Caller(
            kind="user",
            scopes=frozenset(),
            organization_id=await connection.fetchval(DEFAULT_ORGANIZATION),
            user_id=user_id,
            session_id=session_id,
            email=email,
            address=visitor.address,
            user_agent=visitor.user_agent,
        )
        about = session_id if act.startswith(("login.", "logout.")) else user_id
        await audit.record(caller, act, subject_id or about or "", data=data, changes=changes)
