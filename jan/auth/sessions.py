"""Sessions: a person, signed in somewhere, for as long as they keep coming.

A session ends a week after it was last used, and after 30 days in any case; a guest, who could not
sign in again, may keep it up for ever. Its refresh tokens are one family: each opens the next one,
once. One that is used again was stolen, from one side or the other, so the session ends at once.

There is one exception. The tabs of a browser share a cookie, and may send the same token at the
same time: for a few seconds such a one gets what the first has got. It is the very same next token,
so that there is never more than one that works, and whoever stole one is found out next time.
Source: RFC 9700, section 4.14.2 (rotation); NIST SP 800-63B-4, section 2.1.3 (30 days).
"""

import base64
import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jan import clock, keyring
from jan.auth import people, tokens
from jan.auth.people import Person, Visitor
from jan.auth.tables import new_session_id
from jan.auth.tokens import AccessTokens
from jan.db import scope
from jan.errors import SessionEnded, Unauthorized

IDLE = timedelta(days=7)
WHOLE = timedelta(days=30)
GRACE = timedelta(seconds=10)
"""For a browser's answer to reach all its tabs."""
MAX_STEPS = 8
"""Tokens that may follow each other within the grace: as many as a page can be loaded."""
PURPOSE = "next-refresh-token"

ENDED = "The session has ended. Sign in again."
REUSED = "refresh_token_reused"

INSERT = """
INSERT INTO session (id, user_id, address, user_agent, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""
ADD = "INSERT INTO refresh_token (digest, session_id, created_at) VALUES ($1, $2, $3)"
SEEN = "UPDATE users SET last_login_at = $2 WHERE id = $1"
# Both rows are locked: of two that use one token, the second sees what the first has done.
FIND = """
SELECT r.used_at, s.id AS session_id, s.created_at, s.expires_at, s.ended_at,
       u.id AS user_id, u.email, u.is_guest, u.is_enabled
FROM refresh_token AS r JOIN session AS s ON s.id = r.session_id JOIN users AS u ON u.id = s.user_id
WHERE r.digest = $1
"""
FIND_TO_USE = FIND + "FOR UPDATE OF r, s"
USED_AT = "SELECT used_at FROM refresh_token WHERE digest = $1 AND session_id = $2"
USE = "UPDATE refresh_token SET used_at = $2 WHERE digest = $1"
EXTEND = "UPDATE session SET expires_at = $2 WHERE id = $1"
END = "UPDATE session SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL RETURNING user_id"
END_ALL = """
UPDATE session SET ended_at = $2
WHERE user_id = $1 AND ended_at IS NULL AND id IS DISTINCT FROM $3
"""


@dataclass(frozen=True, slots=True)
class Opened:
    """What its holder gets of a session: the two tokens, and how long they go on."""

    user_id: str
    session_id: str
    access_token: str
    refresh_token: str
    expires_at: datetime
    """When the session ends unless it is refreshed."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose refresh token something is."""

    user_id: str
    email: str
    session_id: str
    is_guest: bool
    is_living: bool
    """Whether the token would be good now."""


class Sessions:
    """Opens and refreshes sessions. `secret` is that of the access tokens."""

    def __init__(self, access_tokens: AccessTokens, secret: str) -> None:
        self._access_tokens = access_tokens
        self._key = keyring.derive(secret, PURPOSE)

    async def open(self, visitor: Visitor, person: Person, *, how: str) -> Opened:
        """Sign somebody in who has proven who they are, as part of the open transaction.

        `how` is for the audit log.
        """
        session_id, token, now = new_session_id(), tokens.new_refresh_token(), clock.now()
        expires_at = _end(person.is_guest, created_at=now, now=now)
        async with scope.system() as connection:
            await connection.execute(
                INSERT, session_id, person.id, visitor.address, visitor.user_agent, now, expires_at
            )
            await connection.execute(ADD, tokens.refresh_digest(token), session_id, now)
            await connection.execute(SEEN, person.id, now)
            await people.record(
                visitor,
                "login.succeeded",
                user_id=person.id,
                email=person.email,
                session_id=session_id,
                data={"method": how},
            )
        return self._opened(person.id, session_id, token, expires_at)

    async def refresh(self, visitor: Visitor, token: str | None, *, has_tabs: bool) -> Opened:
        """Turn a refresh token into the next one and an access token.

        `has_tabs` is whether a browser asks, of which others may be asking at the same time.

        Raises:
            SessionEnded: it is none, or no longer good. If it was used before, nothing is any more.
        """
        if token is None or not tokens.is_refresh_token(token):
            raise SessionEnded(ENDED)
        now = clock.now()
        async with scope.system() as connection:
            row = await connection.fetchrow(FIND_TO_USE, tokens.refresh_digest(token))
            if row is None or not _is_living(row, now):
                raise SessionEnded(ENDED)
            latest = await self._latest(connection, row, token, now, has_tabs=has_tabs)
            if latest is not None:
                return await self._go_on(connection, row, latest, now)
            await connection.execute(END, row["session_id"], now)
            await people.record(
                visitor,
                "login.failed",
                user_id=row["user_id"],
                email=row["email"],
                session_id=row["session_id"],
                data={"error_code": REUSED, "error_message": "A refresh token came twice."},
            )
        raise SessionEnded(ENDED)  # not within: the end is to be committed

    async def holder(self, token: str | None, *, has_tabs: bool = False) -> Holder | None:
        """Tell whose refresh token this is or was, without using it."""
        if token is None or not tokens.is_refresh_token(token):
            return None
        now = clock.now()
        async with scope.system() as connection:
            row = await connection.fetchrow(FIND, tokens.refresh_digest(token))
            if row is None:
                return None
            is_living = (
                _is_living(row, now)
                and await self._latest(connection, row, token, now, has_tabs=has_tabs) is not None
            )
        return Holder(row["user_id"], row["email"], row["session_id"], row["is_guest"], is_living)

    async def log_out(
        self, visitor: Visitor, refresh_token: str | None, access_token: str | None
    ) -> None:
        """End the sessions that these tokens are of, as far as they are any."""
        if access_token is not None:
            with suppress(Unauthorized):
                await end(visitor, self._access_tokens.read(access_token).session_id)
        if holder := await self.holder(refresh_token):
            await end(visitor, holder.session_id, email=holder.email)

    async def _latest(
        self, connection: Any, row: Any, token: str, now: datetime, *, has_tabs: bool
    ) -> str | None:
        """Find the unused token that this one stands for: itself, or what another tab has got."""
        used_at = row["used_at"]
        for _ in range(MAX_STEPS):
            if used_at is None:
                return token
            if not has_tabs or now - used_at > GRACE:
                return None
            token = self._next(token)
            found = await connection.fetchrow(
                USED_AT, tokens.refresh_digest(token), row["session_id"]
            )
            if found is None:  # made with another secret
                return None
            used_at = found["used_at"]
        return None

    async def _go_on(self, connection: Any, row: Any, latest: str, now: datetime) -> Opened:
        """Give out the next token; the latest itself, if another tab has made it just now."""
        expires_at = row["expires_at"]
        if row["used_at"] is None:
            await connection.execute(USE, tokens.refresh_digest(latest), now)
            latest = self._next(latest)
            await connection.execute(ADD, tokens.refresh_digest(latest), row["session_id"], now)
            expires_at = _end(row["is_guest"], created_at=row["created_at"], now=now)
            await connection.execute(EXTEND, row["session_id"], expires_at)
        return self._opened(row["user_id"], row["session_id"], latest, expires_at)

    def _next(self, token: str) -> str:
        """Make the token that follows. Without the secret nobody can tell it from a random one."""
        digest = hmac.digest(self._key, token.encode(), hashlib.sha256)
        return tokens.REFRESH_PREFIX + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _opened(self, user_id: str, session_id: str, token: str, expires_at: datetime) -> Opened:
        access_token = self._access_tokens.issue(user_id=user_id, session_id=session_id)
        return Opened(user_id, session_id, access_token, token, expires_at)


async def end(
    visitor: Visitor, session_id: str, *, email: str | None = None, from_session: str | None = None
) -> bool:
    """Sign out, everywhere at once. Returns whether the session was still going on.

    `from_session` is where that was asked for, if not there itself.
    """
    async with scope.system() as connection:
        user_id = await connection.fetchval(END, session_id, clock.now())
        if user_id is None:
            return False
        await people.record(
            visitor,
            "logout.succeeded",
            user_id=user_id,
            email=email,
            session_id=from_session or session_id,
            subject_id=session_id,
        )
    return True


async def end_all(user_id: str, *, except_id: str | None = None) -> None:
    """End all sessions of a person, or all but one, as part of the open transaction."""
    async with scope.system() as connection:
        await connection.execute(END_ALL, user_id, clock.now(), except_id)


def _is_living(row: Any, now: datetime) -> bool:
    return row["ended_at"] is None and row["expires_at"] > now and row["is_enabled"]


def _end(is_guest: bool, *, created_at: datetime, now: datetime) -> datetime:
    return now + IDLE if is_guest else min(now + IDLE, created_at + WHOLE)
