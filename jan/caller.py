"""Who is asking: resolved once at the edge from the credential, then handed down."""

from dataclasses import dataclass
from typing import Self

OPERATOR = "operator"
"""Stands where a key id would, for the person at the machine's own shell."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request acts as."""

    key_id: str

    @classmethod
    def operator(cls) -> Self:
        """Whoever can read JAN_HOME or the database URL: that is the operator's proof."""
        return cls(OPERATOR)
