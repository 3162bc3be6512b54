"""Keys as the rest of the program sees them."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class KeyCreate:
    """What a new key is to be."""

    name: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key, without what opens anything."""

    id: str
    name: str
    hint: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def status(self, now: datetime) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key and its secret, which is in this object only."""

    key: Key
    secret: str
