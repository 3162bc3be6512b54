"""What people send to sign in, and what they are told of themselves."""

from typing import Literal

import msgspec


class Login(msgspec.Struct):
    """An e-mail address and its password."""

    email: str
    password: str


class Callback(msgspec.Struct):
    """What a provider sent back with the person."""

    code: str
    state: str


class PasswordChange(msgspec.Struct):
    """A new password, from somebody who knows the old one."""

    current_password: str
    password: str


class ResetRequest(msgspec.Struct):
    """Whose password is forgotten."""

    email: str


class Reset(msgspec.Struct):
    """A new password, from somebody who has a link for it."""

    code: str
    password: str


class Upgrade(msgspec.Struct):
    """What makes a guest a registered person."""

    email: str
    password: str
    name: str = ""


class Setup(msgspec.Struct):
    """The first owner."""

    code: str
    email: str
    password: str
    name: str = ""


class AccessToken(msgspec.Struct):
    """What a session gives, beside the cookie that refreshes it."""

    access_token: str
    expires_in: int
    """Seconds."""
    object: Literal["access.token"] = "access.token"


class LoginUrl(msgspec.Struct):
    """Where to sign in at a provider."""

    object: str
    """`google.login.url` or `oidc.login.url`."""
    url: str


class Accepted(msgspec.Struct):
    """The same answer, whether or not there is such a person."""

    object: Literal["auth.password_reset_request"] = "auth.password_reset_request"


class MyOrganization(msgspec.Struct):
    """An organization that one is in."""

    id: str
    name: str
    role: str
    is_default: bool


class MyProject(msgspec.Struct):
    """A project that one is in, or one's own."""

    id: str
    name: str
    role: str
    organization_id: str | None
    """None: one's own, which nobody else sees."""


class Me(msgspec.Struct):
    """Oneself."""

    id: str
    email: str
    name: str
    is_guest: bool
    has_password: bool
    organizations: list[MyOrganization]
    projects: list[MyProject]
    object: Literal["me"] = "me"


class SessionView(msgspec.Struct):
    """Somewhere where one is signed in."""

    id: str
    address: str
    user_agent: str
    created_at: int
    """Unix seconds, as all times."""
    expires_at: int
    is_current: bool
    """Whether it is the one that asks."""
    object: Literal["auth.session"] = "auth.session"


class SessionDeleted(msgspec.Struct):
    """A session that is over."""

    id: str
    deleted: bool = True
    object: Literal["auth.session.deleted"] = "auth.session.deleted"


class Provider(msgspec.Struct):
    """A provider that one can sign in with."""

    id: str
    login_path: str
    object: Literal["auth.provider"] = "auth.provider"
