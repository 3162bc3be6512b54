"""People as whoever administers this Jan sees them."""

from typing import Literal

import msgspec


class User(msgspec.Struct, kw_only=True):
    """A person with an account."""

    id: str
    object: Literal["user"] = "user"
    email: str
    name: str
    is_guest: bool
    is_enabled: bool
    """False: nothing of theirs works, at once and everywhere."""
    created_at: int
    last_login_at: int | None


class UserCreate(msgspec.Struct, kw_only=True):
    """Who is to have an account."""

    email: str
    name: str | None = None
    password: str | None = None
    """Null: they sign in by other means, or set one by mail."""


class UserUpdate(msgspec.Struct, kw_only=True):
    """What is to be different about a person. Null: as it is."""

    name: str | None = None
    is_enabled: bool | None = None
