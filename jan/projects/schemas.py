"""Projects, who is in them and the programs that act in them, as they are on the wire."""

from typing import Literal

import msgspec

from jan.permissions import ProjectRole

AccountRole = Literal["owner", "member", "none"]


class Project(msgspec.Struct, kw_only=True):
    """Where everything that is made belongs. Source: OpenAI's `organization.project`."""

    id: str
    object: Literal["organization.project"] = "organization.project"
    name: str
    status: Literal["active", "archived"]
    created_at: int
    archived_at: int | None
    is_personal: bool
    """Whether it is the caller's own, outside of all organizations."""


class ProjectCreate(msgspec.Struct, kw_only=True):
    """What a new project is to be."""

    name: str


class ProjectUpdate(msgspec.Struct, kw_only=True):
    """What is to be different about a project."""

    name: str


class ProjectUser(msgspec.Struct, kw_only=True):
    """A person in a project. Source: OpenAI's `organization.project.user`."""

    id: str
    object: Literal["organization.project.user"] = "organization.project.user"
    name: str
    email: str
    role: ProjectRole
    added_at: int


class ProjectUserCreate(msgspec.Struct, kw_only=True):
    """Which member of the organization comes into a project, by one of the two, and as what."""

    role: ProjectRole
    user_id: str | None = None
    email: str | None = None


class ProjectUserUpdate(msgspec.Struct, kw_only=True):
    """What is to be different about a person in a project."""

    role: ProjectRole


class ServiceAccount(msgspec.Struct, kw_only=True):
    """A program in a project. Source: OpenAI's `organization.project.service_account`."""

    id: str
    object: Literal["organization.project.service_account"] = "organization.project.service_account"
    name: str
    role: AccountRole
    """`none`: its keys open nothing, until it has another."""
    created_at: int


class ServiceAccountUpdate(msgspec.Struct, kw_only=True):
    """What is to be different about a service account. Null: as it is."""

    name: str | None = None
    role: Literal["owner", "member"] | None = None
