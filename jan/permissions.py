"""Who may do what: the one table of it. Guards and services read it, nothing else decides.

A scope is granted by a role in an organization, by a role in a project, or by the kind of a key; a
key may be narrowed further, never widened. Scopes of the administration that a project's role
grants hold in that project only; those that an organization's role grants hold in all of it.
"""

from enum import StrEnum
from typing import Literal

OrganizationRole = Literal["owner", "reader", "member"]
ProjectRole = Literal["owner", "member"]
KeyKind = Literal["admin", "organization", "project", "service", "ephemeral"]


class Scope(StrEnum):
    """One thing that a caller may be allowed to do."""

    MODELS_READ = "models:read"
    CHAT_WRITE = "chat:write"
    EMBEDDINGS_WRITE = "embeddings:write"
    RESPONSES_READ = "responses:read"
    RESPONSES_WRITE = "responses:write"
    CONVERSATIONS_READ = "conversations:read"
    CONVERSATIONS_WRITE = "conversations:write"
    TOOLS_USE = "tools:use"
    """Call tools, and let models call them."""

    ADMINISTRATION_USE = "administration:use"
    """Come in at all. What is seen there depends on the other scopes and on the projects."""
    ORGANIZATION_READ = "organization:read"
    ORGANIZATION_ADMIN = "organization:admin"
    MEMBERS_ADMIN = "members:admin"
    """Roles within the organization, and removal from it."""
    INVITES_ADMIN = "invites:admin"
    PROJECTS_READ = "projects:read"
    PROJECTS_WRITE = "projects:write"
    """Create projects."""
    PROJECTS_ADMIN = "projects:admin"
    """Change and archive a project, its members and service accounts."""
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    """Make keys of a project for oneself, and revoke them."""
    KEYS_ADMIN = "keys:admin"
    """Revoke and change keys of others; keys of the whole organization."""
    MCP_ADMIN = "mcp:admin"
    """Register remote MCP servers, of the organization or of a project."""
    AUDIT_READ = "audit:read"
    USAGE_READ = "usage:read"
    ACCOUNT_WRITE = "account:write"
    """A person's own name, password and sessions."""
    PLATFORM_ADMIN = "platform:admin"
    """All organizations and users of this Jan."""


DATA_PLANE = frozenset(
    {
        Scope.MODELS_READ,
        Scope.CHAT_WRITE,
        Scope.EMBEDDINGS_WRITE,
        Scope.RESPONSES_READ,
        Scope.RESPONSES_WRITE,
        Scope.CONVERSATIONS_READ,
        Scope.CONVERSATIONS_WRITE,
        Scope.TOOLS_USE,
    }
)
"""What a project is for."""

_READER = frozenset(
    {
        Scope.ADMINISTRATION_USE,
        Scope.ORGANIZATION_READ,
        Scope.PROJECTS_READ,
        Scope.KEYS_READ,
        Scope.AUDIT_READ,
        Scope.USAGE_READ,
    }
)
_OWNER = _READER | {
    Scope.ORGANIZATION_ADMIN,
    Scope.MEMBERS_ADMIN,
    Scope.INVITES_ADMIN,
    Scope.PROJECTS_WRITE,
    Scope.PROJECTS_ADMIN,
    Scope.KEYS_WRITE,
    Scope.KEYS_ADMIN,
    Scope.MCP_ADMIN,
}

ORGANIZATION_ROLES: dict[OrganizationRole, frozenset[Scope]] = {
    "owner": _OWNER,
    "reader": _READER,
    "member": frozenset({Scope.ADMINISTRATION_USE}),
}
"""What holds in all projects of the organization."""

PROJECT_ROLES: dict[ProjectRole, frozenset[Scope]] = {
    "owner": DATA_PLANE
    | {
        Scope.PROJECTS_READ,
        Scope.PROJECTS_ADMIN,
        Scope.KEYS_READ,
        Scope.KEYS_WRITE,
        Scope.KEYS_ADMIN,
        Scope.MCP_ADMIN,
        Scope.USAGE_READ,
    },
    "member": DATA_PLANE | {Scope.PROJECTS_READ, Scope.KEYS_WRITE},
}
"""What holds in that project only. A person is the owner of their own."""

KEY_KINDS: dict[KeyKind, frozenset[Scope]] = {
    "admin": _OWNER | {Scope.PLATFORM_ADMIN},
    "organization": DATA_PLANE,
    "project": DATA_PLANE,
    "service": DATA_PLANE,
    "ephemeral": DATA_PLANE,
}
"""The most that a key of this kind can do. An admin key does no more than its owner might."""

OPERATOR = frozenset(Scope)
"""Whoever can read JAN_HOME or the database's address needs no one's permission."""


def of_user(
    organization_role: OrganizationRole | None,
    project_role: ProjectRole | None,
    *,
    is_guest: bool = False,
    is_platform: bool,
) -> frozenset[Scope]:
    """What a person may do. `is_platform`: the organization is the default one.

    Of the project's role only the data plane is among it: the rest holds in that project alone,
    and is granted where the project is known. A guest uses their own project, and nothing more.
    """
    held = frozenset({Scope.ACCOUNT_WRITE})
    if not is_guest:
        held |= {Scope.ADMINISTRATION_USE}
    if organization_role is not None:
        held |= ORGANIZATION_ROLES[organization_role]
        if organization_role == "owner" and is_platform:
            held |= {Scope.PLATFORM_ADMIN}
    if project_role is not None:
        held |= PROJECT_ROLES[project_role] & DATA_PLANE
    return held


def of_key(
    kind: KeyKind,
    organization_role: OrganizationRole | None,
    *,
    is_platform: bool,
    narrowed_to: frozenset[str] | None,
) -> frozenset[Scope]:
    """What a key may do. `organization_role` is its owner's; None where nobody owns it.

    However narrow an admin key is, it may come in.
    """
    held = KEY_KINDS[kind]
    if kind == "admin":
        owner = organization_role or "owner"  # the operator's own
        held &= of_user(owner, None, is_platform=is_platform)
    return held if narrowed_to is None else held & (narrowed_to | {Scope.ADMINISTRATION_USE})
