"""What the database refuses, in words: an organization never loses its last owner."""

from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

from jan.errors import Conflict

CONSTRAINT = "organization_keeps_an_owner"
"""The database's name of the rule. It holds for people who remove one another at once, too."""


@contextmanager
def kept() -> Generator[None]:
    """Demote, remove or delete a person in the block.

    Raises:
        Conflict: they are an organization's last owner.
    """
    try:
        yield
    except asyncpg.CheckViolationError as error:
        if getattr(error, "constraint_name", None) != CONSTRAINT:
            raise
        raise Conflict("An organization keeps an owner. Make somebody else one first.") from None
