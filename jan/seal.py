"""Keeps what has to lie in the database, and must not be read there, unreadable.

Whoever reads a table or a backup of it must not be able to use what it holds: the code of an invite
in a mail that waits, the credentials of a server. The key is derived from `api_key_secret`, which
is not in the database, is the same for all processes, and never changes.
"""

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Broken(Exception):
    """It was sealed with another secret or for another purpose, or altered."""


class Seal:
    """Closes and opens."""

    def __init__(self, api_key_secret: str, purpose: bytes) -> None:
        """Take what gives this use a key of its own.

        Source: https://www.rfc-editor.org/rfc/rfc5869#section-3.2
        """
        key = HKDF(SHA256(), length=32, salt=None, info=purpose).derive(api_key_secret.encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def close(self, content: bytes) -> str:
        """Make it unreadable, and unalterable."""
        return self._fernet.encrypt(content).decode()

    def open(self, sealed: str) -> bytes:
        """Read it.

        Raises:
            Broken: nobody can.
        """
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise Broken from None
