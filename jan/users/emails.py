"""E-mail addresses: how they are compared, and which are none.

Only what every mail system agrees on is checked; whether somebody reads it, a mail finds out.
"""

import re

from jan.errors import InvalidRequest

MAX_LENGTH = 254
"""Source: RFC 5321, section 4.5.3.1.3, less the angle brackets."""

_ADDRESS = re.compile(r"[^@\s\x00-\x1f<>,;:\"()\\\[\]]{1,64}@[^@\s\x00-\x1f<>,;:\"()\\\[\]]+")


def folded(address: str) -> str:
    """Write a text as an address would be stored, for a look-up: what is none is not found."""
    return address.strip().lower()


def normal(address: str) -> str:
    """Write an address as it is stored: in lower case, without space around it.

    Raises:
        InvalidRequest: it is none.
    """
    found = folded(address)
    is_text = found.isprintable() and len(found.encode(errors="replace")) <= MAX_LENGTH
    if not is_text or not _ADDRESS.fullmatch(found):
        raise InvalidRequest("This is no e-mail address.", param="email")
    return found
