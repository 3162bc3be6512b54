"""The text of an API key: made, checked without a look-up, and turned into what is stored.

`sk-jan-`, 32 random base-62 characters (190 bits), 6 more that are the CRC-32 of all before them.
The checksum is no secret: it tells a typing error or a cut-off key from a key, so that junk costs
no look-up.
"""

import hashlib
import hmac
import secrets
import string
import zlib

PREFIX = "sk-jan-"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH = 32
CHECKSUM_LENGTH = 6
LENGTH = len(PREFIX) + RANDOM_LENGTH + CHECKSUM_LENGTH
HINT_LENGTH = 4


def new() -> str:
    """Make a key that nobody can guess."""
    body = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return body + _checksum(body)


def is_well_formed(key: str) -> bool:
    """Whether this was ever a key: its length, its beginning, its checksum."""
    return (
        len(key) == LENGTH
        and key.isascii()
        and key.startswith(PREFIX)
        and _checksum(key[:-CHECKSUM_LENGTH]) == key[-CHECKSUM_LENGTH:]
    )


def digest(key: str, secret: str) -> str:
    """What is stored in a key's place: 64 hexadecimal digits, of no use without `secret`."""
    return hmac.new(secret.encode(), key.encode(), hashlib.sha256).hexdigest()


def hint(key: str) -> str:
    """The last characters, so that a person can tell keys apart."""
    return key[-HINT_LENGTH:]


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits += ALPHABET[digit]
    return digits
