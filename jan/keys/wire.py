"""Keys as they go over HTTP: OpenAI's objects, with what Jan adds to them.

How a key looks depends on its kind, not on the path: `/v1/keys` shows each as its own path does.
Beyond OpenAI's fields: `kind`, `status`, `scopes`, `allowed_models` and where it belongs; and the
owner of type `operator`, who made it at the machine itself.
"""

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from jan import clock
from jan.errors import InvalidRequest
from jan.keys import text
from jan.keys.schemas import ORGANIZATION_KINDS, Key, KeyChanges, KeyCreate, NewKey, Owner
from jan.permissions import KeyKind
from jan.wire import Deleted, optional_seconds, seconds

OBJECTS: dict[KeyKind, str] = {
    "admin": "organization.admin_api_key",
    "organization": "organization.api_key",
    "project": "organization.project.api_key",
    "service": "organization.project.api_key",
    "ephemeral": "organization.project.api_key",
}
LAST_SECOND = 253_402_300_799
"""Of the year 9999, with which dates end."""


class ProjectUser(msgspec.Struct, kw_only=True):
    """A person or a service account, as the owner of a project's key."""

    id: str
    name: str
    created_at: int
    role: str | None
    """In the project. Null: they are not in it any more."""
    email: str | UnsetType = UNSET


class ProjectOwner(msgspec.Struct, kw_only=True):
    """Whose key it is, as OpenAI says it of a project's."""

    type: Literal["user", "service_account", "operator"]
    user: ProjectUser | UnsetType = UNSET
    service_account: ProjectUser | UnsetType = UNSET


class OrganizationOwner(msgspec.Struct, kw_only=True):
    """Whose key it is, as OpenAI says it of an organization's."""

    type: Literal["user", "operator"]
    object: Literal["organization.user"] | UnsetType = UNSET
    id: str | UnsetType = UNSET
    name: str
    created_at: int | UnsetType = UNSET
    role: str | None = None


class KeyObject(msgspec.Struct, kw_only=True):
    """An API key."""

    object: str
    id: str
    name: str
    kind: KeyKind
    status: str
    """`active`, `expired` or `revoked`."""
    redacted_value: str
    value: str | UnsetType = UNSET
    """The key itself: in the answer to its creation or rotation only."""
    owner: ProjectOwner | OrganizationOwner
    owner_project_access: Literal["active", "inactive"] | UnsetType = UNSET
    organization_id: str | None
    project_id: str | None
    scopes: list[str] | None
    """Null: all of its kind."""
    allowed_models: list[str] | None
    """Null: all."""
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    """To the minute or so."""


class KeyBody(msgspec.Struct, kw_only=True):
    """What a new key is to be."""

    name: str
    scopes: list[str] | None = None
    """What the key is narrowed to. Null: all of its kind."""
    allowed_models: list[str] | None = None
    """Null: all."""
    expires_in_seconds: int | None = None
    expires_at: int | None = None
    """Unix seconds. Give one of the two, or neither: it does not expire."""


class ProjectKeyBody(KeyBody, kw_only=True):
    """What a new key of a project is to be."""

    kind: Literal["project", "service", "ephemeral"] = "project"
    """`ephemeral`: it lives for 24 hours at most."""
    service_account_id: str | None = None
    """Whose it is, if it is of kind `service`."""


class AnyKeyBody(KeyBody, kw_only=True):
    """What a new key of any kind is to be."""

    kind: KeyKind = "project"
    project_id: str | None = None
    """Null: where you act, or the organization's oldest project."""
    service_account_id: str | None = None


class KeyUpdate(msgspec.Struct, kw_only=True):
    """What is to change. What is left out stays."""

    name: str | UnsetType = UNSET
    scopes: list[str] | UnsetType = UNSET
    """Empty: all of its kind, as in OpenAI's API."""
    allowed_models: list[str] | UnsetType = UNSET
    """Empty: all."""
    expires_in_seconds: int | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET


def wanted(
    data: KeyBody,
    *,
    kind: KeyKind,
    project_id: str | None = None,
    service_account_id: str | None = None,
) -> KeyCreate:
    """Read what a new key is to be.

    Raises:
        InvalidRequest: a time is none.
    """
    return KeyCreate(
        name=data.name,
        kind=kind,
        project_id=project_id,
        service_account_id=service_account_id,
        scopes=_set(data.scopes),
        allowed_models=_set(data.allowed_models),
        expires_at=_moment(data.expires_at),
        expires_in_s=data.expires_in_seconds,
    )


def changes(data: KeyUpdate) -> KeyChanges:
    """Read what is to change.

    Raises:
        InvalidRequest: a time is none.
    """
    said = {
        field: value for field, value in msgspec.structs.asdict(data).items() if value is not UNSET
    }
    return KeyChanges(
        name=said.get("name"),
        scopes=_set(said.get("scopes")),
        allowed_models=_set(said.get("allowed_models")),
        expires_at=_moment(said.get("expires_at")),
        expires_in_s=said.get("expires_in_seconds"),
    )


def shown(key: Key) -> KeyObject:
    """Write a key as OpenAI does."""
    is_of_project = key.kind not in ORGANIZATION_KINDS
    access = "active" if key.has_access else "inactive"
    return KeyObject(
        object=OBJECTS[key.kind],
        id=key.id,
        name=key.name,
        kind=key.kind,
        status=key.status(clock.now()),
        redacted_value=f"{text.PREFIX}...{key.hint}",
        owner=_project_owner(key) if is_of_project else _organization_owner(key.owner),
        owner_project_access=access if is_of_project else UNSET,
        organization_id=key.organization_id,
        project_id=key.project_id,
        scopes=key.scopes,
        allowed_models=key.allowed_models,
        created_at=seconds(key.created_at),
        expires_at=optional_seconds(key.expires_at),
        last_used_at=optional_seconds(key.last_used_at),
    )


def told(new: NewKey) -> KeyObject:
    """Write a key with its secret."""
    key = shown(new.key)
    key.value = new.secret
    return key


def deleted(key: Key) -> Deleted:
    """Write that a key is no more."""
    return Deleted(object=f"{OBJECTS[key.kind]}.deleted", id=key.id)


def _project_owner(key: Key) -> ProjectOwner:
    owner = key.owner
    if owner is None:
        return ProjectOwner(type="operator")
    user = ProjectUser(
        id=owner.id,
        name=owner.name,
        created_at=seconds(owner.created_at),
        role=owner.role,
        email=UNSET if owner.email is None else owner.email,
    )
    if key.service_account_id is not None:
        return ProjectOwner(type="service_account", service_account=user)
    return ProjectOwner(type="user", user=user)


def _organization_owner(owner: Owner | None) -> OrganizationOwner:
    if owner is None:
        return OrganizationOwner(type="operator", name="operator", role="owner")
    return OrganizationOwner(
        type="user",
        object="organization.user",
        id=owner.id,
        name=owner.name,
        created_at=seconds(owner.created_at),
        role=owner.role,
    )


def _set(values: Any) -> frozenset[str] | None:
    return None if values is None else frozenset(values)


def _moment(second: int | None) -> datetime | None:
    if second is None:
        return None
    if not 0 <= second <= LAST_SECOND:
        raise InvalidRequest("`expires_at` is in Unix seconds.", param="expires_at")
    return datetime.fromtimestamp(second, UTC)
