"""How a person comes to be: their row, and a project of their own that nobody else sees."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from jan import clock, ids
from jan.errors import Conflict, InvalidRequest
from jan.users import emails
from jan.users.tables import new_user_id

MAX_NAME_LENGTH = 100
OWN_PROJECT = "Personal"

INSERT = """
INSERT INTO users (id, email, name, is_guest, is_email_proven, password_hash, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
INSERT_PROJECT = """
INSERT INTO project (id, owner_user_id, name, created_at) VALUES ($1, $2, $3, $4)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """Somebody new."""

    id: str
    email: str
    name: str
    created_at: datetime


async def register(  # noqa: PLR0913 - as many as a person has sides
    connection: Any,
    *,
    email: str,
    name: str,
    password_hash: str | None = None,
    is_guest: bool = False,
    is_email_proven: bool = True,
) -> Registered:
    """Make a person and their own project, in a transaction that sees all rows.

    Raises:
        InvalidRequest: the name or the address does not fit; `param` names it.
        Conflict: somebody has this address.
    """
    user_id, address, now = new_user_id(), emails.normal(email), clock.now()
    trimmed = checked_name(name)
    try:
        await connection.execute(
            INSERT, user_id, address, trimmed, is_guest, is_email_proven, password_hash, now
        )
    except asyncpg.UniqueViolationError:
        raise Conflict(f"Somebody has the address {address}.", param="email") from None
    await connection.execute(INSERT_PROJECT, ids.new("proj"), user_id, OWN_PROJECT, now)
    return Registered(id=user_id, email=address, name=trimmed, created_at=now)


def checked_name(name: str) -> str:
    """Trim a person's name. It may be empty: not everybody tells theirs.

    Raises:
        InvalidRequest: it is too long, or not text.
    """
    trimmed = name.strip()
    if len(trimmed) > MAX_NAME_LENGTH or not trimmed.isprintable():
        raise InvalidRequest(
            f"A name has up to {MAX_NAME_LENGTH} printable characters.", param="name"
        )
    return trimmed
