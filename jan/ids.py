"""Identifiers that clients see: `<prefix>_` and 24 random base-36 characters.

Database keys never leave the process; these do. 24 characters carry 124 bits.
"""

import secrets

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
RANDOM_LENGTH = 24

_COUNT = len(ALPHABET) ** RANDOM_LENGTH
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)


def new(prefix: str) -> str:
    """Make an id that nothing else has, such as `key_4k0c...`."""
    # One draw, and two characters at a time: every request makes an id.
    number = secrets.randbelow(_COUNT)
    pairs: list[str] = []
    for _ in range(RANDOM_LENGTH // 2):
        number, pair = divmod(number, len(_PAIRS))
        pairs.append(_PAIRS[pair])
    return f"{prefix}_{''.join(pairs)}"
