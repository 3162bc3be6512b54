"""Organizations and the people in them, as they are on the wire."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from jan.permissions import OrganizationRole


class Organization(msgspec.Struct, kw_only=True):
    """A tenant."""

    id: str
    object: Literal["organization"] = "organization"
    name: str
    is_default: bool
    """Whether its owners administer all of this Jan."""
    role: OrganizationRole | None
    """Of who asks. Null: they administer it without being in it."""
    created_at: int
    retention_days: int | None
    """How long its conversations and responses are kept that nobody changes. Null: for ever."""


class OrganizationCreate(msgspec.Struct, kw_only=True):
    """What a new organization is to be."""

    name: str
    owner_email: str | None = None
    """Who owns it. Null: who makes it. Somebody new is registered."""


class OrganizationUpdate(msgspec.Struct, kw_only=True):
    """What is to be different about an organization. What is not there stays as it is."""

    name: str | UnsetType = UNSET
    retention_days: int | str | UnsetType | None = UNSET
    """Null: everything is kept from now on. A text is read as one, to be refused: a number that
    deletes things is not guessed at."""


class Person(msgspec.Struct, kw_only=True):
    """Who a member is on the whole of this Jan."""

    id: str
    object: Literal["user"] = "user"
    name: str
    email: str
    enabled: bool
    """False: nothing of theirs works."""


class OrganizationUser(msgspec.Struct, kw_only=True):
    """A person in an organization. Source: OpenAI's `organization.user`."""

    id: str
    object: Literal["organization.user"] = "organization.user"
    name: str
    email: str
    role: OrganizationRole
    added_at: int
    created: int
    """When the person was registered with this Jan."""
    is_service_account: Literal[False] = False
    user: Person


class MemberAdd(msgspec.Struct, kw_only=True):
    """Who comes into an organization, by one of the two, and as what."""

    role: OrganizationRole
    user_id: str | None = None
    email: str | None = None


class MemberUpdate(msgspec.Struct, kw_only=True):
    """What is to be different about a member."""

    role: OrganizationRole
