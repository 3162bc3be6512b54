"""Identifiers that clients see: `<prefix>_` and 24 random base-36 characters.

Database keys never leave the process; these do. 24 characters carry 124 bits.
"""

import secrets

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
RANDOM_LENGTH = 24


def new(prefix: str) -> str:
    """Make an id that nothing else has, such as `key_4k0c...`."""
    # One draw, not one a character: every request makes an id.
    number = secrets.randbelow(len(ALPHABET) ** RANDOM_LENGTH)
    characters: list[str] = []
    for _ in range(RANDOM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return f"{prefix}_{''.join(characters)}"
