"""What people call their organizations, projects and the programs that act in them."""

from jan.errors import InvalidRequest

MAX_LENGTH = 128
"""In characters, as the database's columns have it."""


def checked(name: str) -> str:
    """Trim a name. It need not differ from others: people tell things apart by ids, too.

    Raises:
        InvalidRequest: it is empty, too long, or holds what can't be seen.
    """
    trimmed = name.strip()
    if not trimmed or len(trimmed) > MAX_LENGTH or not trimmed.isprintable():
        raise InvalidRequest(f"A name has 1 to {MAX_LENGTH} printable characters.", param="name")
    return trimmed
