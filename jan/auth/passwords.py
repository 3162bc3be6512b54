"""Passwords: what is a good one, and how it is kept and compared.

They are hashed by argon2id, never in the event loop. What is counted and hashed is Unicode's normal
form NFKC: the same word, typed on a telephone and on a Mac, is not the same bytes. Nothing is cut
off, and no mix of characters is asked for.
Source: NIST SP 800-63B-4, section 3.1.1.2 (passwords); RFC 9106, section 4 (parameters).
"""

import base64
import secrets
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
from argon2 import Parameters, PasswordHasher
from argon2.exceptions import VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY

from jan.errors import InvalidRequest, RateLimited

MIN_LENGTH = 8
"""Code points. The least that NIST allows; it asks for 15 where nothing else proves who it is.
Guessing is held up where sign-ins are counted."""
MAX_LENGTH = 128
"""Code points. NIST wants 64 or more."""
MAX_TYPED_LENGTH = 4 * MAX_LENGTH
"""Normalizing may make a text shorter, but none that is longer than this becomes a password."""

AT_ONCE = 2
"""Hashes that a process works on at a time. Each takes 64 MiB, and four threads for about 90 ms.
Two cores do some ten in a second, however many are begun: so a flood of sign-ins takes 128 MiB of a
process, and not all there is."""
MAX_WAITING = 32
"""Sign-ins that wait for their turn, some three seconds. Who comes then is sent away at once."""
COME_BACK_S = 3

TERRIBLE = frozenset(
    (
        *("password", "password1", "password123", "passw0rd", "p@ssw0rd", "changeme", "letmein1"),
        *("12345678", "123456789", "1234567890", "123123123", "87654321", "abcd1234", "test1234"),
        *("qwertyuiop", "qwerty123", "1q2w3e4r", "1qaz2wsx", "iloveyou", "sunshine", "princess"),
        *("football", "baseball", "superman", "trustno1", "welcome1", "admin123", "administrator"),
    )
)
"""What is tried first, as far as it is long enough to be a password at all."""

R = TypeVar("R")


def check(password: str, *, email: str) -> None:
    """Check a password that somebody chooses.

    Raises:
        InvalidRequest: it is too short, too long, too easily guessed, or no text.
    """
    text = _normalized(password)
    if text is None or len(text) > MAX_LENGTH:
        raise _refused(f"A password has at most {MAX_LENGTH} characters.")
    if len(text) < MIN_LENGTH:
        raise _refused(f"A password has at least {MIN_LENGTH} characters.")
    if not _is_text(text):
        raise _refused("The password holds something that is not text.")
    folded, address = text.casefold(), email.casefold()
    if folded in {address, address.partition("@")[0]}:
        raise _refused("The password must not be the e-mail address.")
    if folded in TERRIBLE or len(set(folded)) == 1:
        raise _refused("This password is among the first that anybody would try.")


class Passwords:
    """Hashes and compares. One per process: the limits are its own.

    `parameters` are weaker in tests only. Hashes made with others still work.
    """

    def __init__(self, parameters: Parameters = RFC_9106_LOW_MEMORY) -> None:
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._nobodys = _made_up(parameters)
        self._limiter = anyio.CapacityLimiter(AT_ONCE)
        self._present = 0

    async def hash(self, password: str) -> str:
        """Make what is stored. The password must have passed `check`.

        Raises:
            RateLimited: too many wait already.
        """
        text = _normalized(password)
        assert text is not None
        return await self._in_thread(partial(self._hasher.hash, text))

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether this is the password. `stored` is None where there is no user or no password.

        It takes the same time then: nobody learns who has an account.

        Raises:
            RateLimited: too many wait already.
        """
        text = _normalized(password)
        if stored is None or text is None or len(text) > MAX_LENGTH or not _is_text(text):
            await self._in_thread(partial(self._matches, self._nobodys, ""))
            return False
        return await self._in_thread(partial(self._matches, stored, text))

    def needs_rehash(self, stored: str) -> bool:
        """Whether it was made with other parameters: hash anew while the password is at hand."""
        return self._hasher.check_needs_rehash(stored)

    def _matches(self, stored: str, text: str) -> bool:
        try:
            return self._hasher.verify(stored, text)
        except VerifyMismatchError:
            return False

    async def _in_thread(self, work: Callable[[], R]) -> R:
        # Counted here: whoever has only just come does not wait at the limiter yet.
        if self._present >= AT_ONCE + MAX_WAITING:
            raise RateLimited("Too many people are signing in.", retry_after_s=COME_BACK_S)
        self._present += 1
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._present -= 1


def _normalized(password: str) -> str | None:
    """Bring it into its normal form; None where it is longer than any password."""
    if len(password) > MAX_TYPED_LENGTH:
        return None
    return unicodedata.normalize("NFKC", password)


def _is_text(text: str) -> bool:
    """Whether it can be written down: JSON can carry halves of characters, UTF-8 can't."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="password")


def _made_up(parameters: Parameters) -> str:
    """Write a hash that is the hash of nothing, and costs as much to compare with as any."""

    def drawn(length: int) -> str:
        return base64.b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()

    costs = f"m={parameters.memory_cost},t={parameters.time_cost},p={parameters.parallelism}"
    salt, digest = drawn(parameters.salt_len), drawn(parameters.hash_len)
    return f"$argon2id$v={parameters.version}${costs}${salt}${digest}"
