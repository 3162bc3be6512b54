"""Codes in links, which open one thing once: a new password, the first owner's set-up.

A code is 256 random bits. What is stored is its HMAC, so that nobody makes a link of what is in the
database; it is found by that, so that how long it takes to look says nothing about the code. Who
guesses is held up by counting (`GUESSES`), not that it would help them.
"""

import hashlib
import hmac
import re
import secrets
from datetime import timedelta
from typing import Literal

from jan import clock, keyring
from jan.auth.attempts import Limit
from jan.db import scope
from jan.errors import InvalidCode

Purpose = Literal["password_reset", "setup"]

LIFETIMES: dict[Purpose, timedelta] = {
    "password_reset": timedelta(hours=1),
    "setup": timedelta(hours=24),
}
RANDOM_BYTES = 32
KEY_PURPOSE = "one-time-code"
GUESSES = Limit("codes from", 20, 900)
"""Wrong codes from one client."""

INCORRECT = "This link was used before, or is too old. Ask for a new one."

_CODE = re.compile("[A-Za-z0-9_-]{43}")

INSERT = """
INSERT INTO one_time_code (digest, purpose, user_id, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5)
"""
VOID = "DELETE FROM one_time_code WHERE purpose = $1 AND user_id IS NOT DISTINCT FROM $2"
_IS_GOOD = "digest = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3"
FIND = f"SELECT user_id FROM one_time_code WHERE {_IS_GOOD}"  # noqa: S608 - our own words
USE = f"UPDATE one_time_code SET used_at = $3 WHERE {_IS_GOOD} RETURNING user_id"  # noqa: S608


class Codes:
    """Makes codes and takes them back. `secret` is `api_key_secret`."""

    def __init__(self, secret: str) -> None:
        self._key = keyring.derive(secret, KEY_PURPOSE)

    async def make(self, purpose: Purpose, user_id: str | None = None) -> str:
        """Make a code, as part of the open transaction. Older ones for the same are void."""
        code, now = secrets.token_urlsafe(RANDOM_BYTES), clock.now()
        async with scope.system() as connection:
            await connection.execute(VOID, purpose, user_id)
            await connection.execute(
                INSERT, self._digest(code), purpose, user_id, now, now + LIFETIMES[purpose]
            )
        return code

    async def check(self, purpose: Purpose, code: str) -> str | None:
        """Tell whom a code is for, without using it up.

        Raises:
            InvalidCode: it is not good.
        """
        return await self._look(FIND, purpose, code)

    async def use(self, purpose: Purpose, code: str) -> str | None:
        """Use a code up, as part of the open transaction. Of several at once, one can.

        Raises:
            InvalidCode: it is not good (any more).
        """
        return await self._look(USE, purpose, code)

    async def _look(self, query: str, purpose: Purpose, code: str) -> str | None:
        if not _CODE.fullmatch(code):
            raise InvalidCode(INCORRECT, param="code")
        async with scope.system() as connection:
            row = await connection.fetchrow(query, self._digest(code), purpose, clock.now())
        if row is None:
            raise InvalidCode(INCORRECT, param="code")
        return row["user_id"]

    def _digest(self, code: str) -> str:
        return hmac.digest(self._key, code.encode(), hashlib.sha256).hex()
