"""Invites on the wire, as in OpenAI's API, with the names that Jan Server had beside them.

Source: https://platform.openai.com/docs/api-reference/invite
"""

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from jan.permissions import OrganizationRole, ProjectRole

Status = Literal["pending", "accepted", "expired"]


class InviteProject(msgspec.Struct, frozen=True):
    """A project that comes with an invite, and the role in it."""

    id: str
    role: ProjectRole


class InviteCreate(msgspec.Struct, kw_only=True):
    """Who is to be invited, and to what."""

    email: str
    role: OrganizationRole
    projects: list[InviteProject] | None = None
    """Not given: none. What is not named is not granted."""


class Acceptance(msgspec.Struct, kw_only=True):
    """An invite's code, and what somebody new tells of themselves."""

    code: str
    name: str | None = None
    password: str | None = None
    """Of somebody new: what they sign in with. Without one they do so at a provider, or set one by
    a link that is mailed. Of somebody who has claimed the address before: proves that it is they.
    """


class Invite(msgspec.Struct, kw_only=True):
    """An invite. Its code is in none of it."""

    object: Literal["organization.invite"] = "organization.invite"
    id: str
    email: str
    role: OrganizationRole
    status: Status
    created_at: int
    expires_at: int
    accepted_at: int | None
    projects: list[InviteProject]
    invited_at: datetime
    """Jan Server's name of `created_at`."""
    jan_projects: list[InviteProject] = msgspec.field(name="Projects")
    """Jan Server's name of `projects`."""
    link: str | UnsetType = UNSET
    """Only where it is sent, and no mail server is configured: hand it on."""


class AcceptedInvite(Invite, kw_only=True):
    """An invite, and who has accepted it."""

    organization_id: str
    organization_name: str
    user_id: str
    is_new_user: bool
    """Whether they were registered by it."""
