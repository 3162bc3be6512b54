"""Keys as the rest of the program sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jan.permissions import KEY_KINDS, KeyKind

ORGANIZATION_KINDS: frozenset[KeyKind] = frozenset({"admin", "organization"})
"""Keys that belong to no one project."""
PROJECT_KINDS: tuple[KeyKind, ...] = ("project", "service", "ephemeral")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCreate:
    """What a new key is to be."""

    name: str
    kind: KeyKind = "project"
    project_id: str | None = None
    """Of the kinds that act in one project: None is the caller's, or the organization's oldest."""
    service_account_id: str | None = None
    """Whose it is: of kind `service`, and of no other."""
    scopes: frozenset[str] | None = None
    """None: all that the kind, and whoever makes it, may do."""
    allowed_models: frozenset[str] | None = None
    """None: all."""
    expires_at: datetime | None = None
    expires_in_s: int | None = None
    """The same, from now on. At most one of the two is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChanges:
    """What is to be different about a key. None: as it is."""

    name: str | None = None
    scopes: frozenset[str] | None = None
    """Empty: all of its kind, as in OpenAI's API."""
    allowed_models: frozenset[str] | None = None
    """Empty: all."""
    expires_at: datetime | None = None
    expires_in_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which keys are meant, in a list or by an id."""

    kinds: Sequence[KeyKind] = tuple(KEY_KINDS)
    project_id: str | None = None
    """None: of any project, and of none."""
    has_revoked: bool = True
    has_access: bool | None = None
    """Whether its owner has access to its project. None: either."""


ALL = Filter()


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
    has_access: bool
    """Whether its owner may use the project now, or the organization: if not, it does not work."""
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
