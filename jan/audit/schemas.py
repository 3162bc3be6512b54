"""Acts as they are recorded."""

from typing import Any

import msgspec


class Actor(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Who did it, and from where, as far as it is known."""

    kind: str
    """`operator`, `user` or `key`."""
    user_id: str | None = None
    email: str | None = None
    key_id: str | None = None
    service_account_id: str | None = None
    session_id: str | None = None
    address: str = ""
    user_agent: str = ""


class Details(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What was done to what. Secrets are in none of it."""

    id: str
    """Of what it was done to."""
    data: dict[str, Any] = {}
    """As it was made."""
    before: dict[str, Any] = {}
    changes_requested: dict[str, Any] = {}
    """What is different now."""
