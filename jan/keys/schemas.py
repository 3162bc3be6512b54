"""Keys as the rest of the program sees them."""

from dataclasses import dataclass
from datetime import datetime

from jan.permissions import KeyKind


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCreate:
    """What a new key is to be."""

    name: str
    kind: KeyKind = "project"
    project_id: str | None = None
    """Of the kinds that act in one project: None is the organization's oldest."""
    service_account_id: str | None = None
    scopes: frozenset[str] | None = None
    """None: all that the kind, and whoever makes it, may do."""
    allowed_models: frozenset[str] | None = None
    """None: all."""
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChanges:
    """What is to be different about a key. None: as it is."""

    name: str | None = None
    scopes: frozenset[str] | None = None
    allowed_models: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose key it is: a person, or a service account."""

    id: str
    name: str
    email: str | None
    """None: a service account has none."""
    role: str | None
    """In the project, or in the organization for keys of it. None: not in it any more."""
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key, without what opens anything."""

    id: str
    name: str
    kind: KeyKind
    organization_id: str | None
    project_id: str | None
    user_id: str | None
    service_account_id: str | None
    scopes: list[str] | None
    allowed_models: list[str] | None
    hint: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    owner: Owner | None = None
    """None: the operator made it for nobody in particular."""

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
