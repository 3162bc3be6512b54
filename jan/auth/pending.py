"""A sign-in that is under way, kept in the browser it began in: sealed in a cookie, for 10 minutes.

Sealed means encrypted and signed (Fernet, under a key made from `jwt_secret`): whoever has the
cookie can neither read nor change it. It serves once, because the provider's code does, and because
whoever opens it deletes the cookie.
"""

import base64
import binascii
from collections.abc import Iterable

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from jan import clock, keyring
from jan.errors import SignInFailed

LIFETIME_S = 600
"""For a person to choose an account, find a password and confirm on a telephone."""
MAX_LENGTH = 4096
"""What browsers keep of a cookie (RFC 6265, section 6.1)."""
PURPOSE = "pending-sign-in"

MISSING = "No sign-in was begun in this browser, or it was finished already. Begin again."
INCORRECT = "The cookie of the sign-in is damaged. Begin again."
EXPIRED = "The sign-in took longer than 10 minutes. Begin again."


class Pending(msgspec.Struct, frozen=True):
    """What must be the same when the provider sends the person back."""

    provider: str
    state: str
    nonce: str
    verifier: str
    redirect: str | None
    """Where the person wanted to go."""
    expires_at: int
    """Unix seconds."""


class Sealer:
    """Seals with `secret`, opens what was sealed with it or a previous one."""

    def __init__(self, secret: str, previous_secrets: Iterable[str] = ()) -> None:
        keys = (keyring.derive(each, PURPOSE) for each in (secret, *previous_secrets))
        self._fernet = MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])

    def seal(self, pending: Pending) -> str:
        """Make the cookie's value: ASCII that needs no quoting."""
        return self._fernet.encrypt(msgspec.json.encode(pending)).decode()

    def open(self, cookie: str | None) -> Pending:
        """Read a cookie's value.

        Raises:
            SignInFailed: there is none, it was not made here, or it is too old.
        """
        if not cookie:
            raise SignInFailed(MISSING)
        if len(cookie) > MAX_LENGTH or not _is_base64(cookie):
            raise SignInFailed(INCORRECT)
        try:
            pending = msgspec.json.decode(self._fernet.decrypt(cookie), type=Pending)
        except (InvalidToken, msgspec.MsgspecError):
            raise SignInFailed(INCORRECT) from None
        if pending.expires_at <= clock.now().timestamp():
            raise SignInFailed(EXPIRED)
        return pending


def _is_base64(text: str) -> bool:
    """Whether this is how base64 is written. Decoders skip what does not belong; we refuse it."""
    try:
        return base64.urlsafe_b64encode(base64.urlsafe_b64decode(text)).decode() == text
    except (ValueError, binascii.Error):
        return False
