"""The code in an invite's link: 256 random bits, of which only an HMAC is stored.

An invite is found by that, so that how long it takes to look says nothing about the code, and
nobody makes a link of what is in the database.
"""

import hashlib
import hmac
import re
import secrets

from jan import keyring

RANDOM_BYTES = 32
KEY_PURPOSE = "invite-code"

_CODE = re.compile("[A-Za-z0-9_-]{43}")


class Codes:
    """Makes codes, and what is stored of them. `secret` is `api_key_secret`."""

    def __init__(self, secret: str) -> None:
        self._key = keyring.derive(secret, KEY_PURPOSE)

    def new(self) -> str:
        """Make a code that nobody can guess."""
        return secrets.token_urlsafe(RANDOM_BYTES)

    def digest(self, code: str) -> str | None:
        """Tell what is stored in a code's place. None: this was never a code."""
        if not _CODE.fullmatch(code):
            return None
        return hmac.digest(self._key, code.encode(), hashlib.sha256).hex()
