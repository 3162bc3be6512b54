"""Acts as they are recorded, as they are linked, and as they are shown."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

OUTSIDE = "jan"
"""The chain of what happens outside of any organization."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act, read back."""

    id: str
    type: str
    effective_at: datetime
    sequence: int
    hash: str
    project_id: str | None
    project_name: str | None
    """As it is called now. None: it is gone, or there was none."""
    actor: Actor
    details: Details


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which acts are meant. None: whichever."""

    since: datetime | None = None
    until: datetime | None = None
    """Before this, not at it."""
    types: list[str] | None = None
    project_ids: list[str] | None = None
    actor_ids: list[str] | None = None
    """Of people, service accounts or keys."""
    actor_emails: list[str] | None = None
    subject_ids: list[str] | None = None
    """Of what it was done to."""


ALL = Filter()


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """Where a chain is not what it was."""

    sequence: int
    """The first number at which it shows."""
    id: str | None
    """Of the row that stands there. None: there is none."""
    reason: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a chain."""

    chain: str
    count: int
    sequence: int
    """Of the last row. 0: there is none."""
    hash: str
    """Of the last row: who keeps it elsewhere can tell later that nothing before it has changed."""
    broken: Break | None
    """The first trouble. None: all is as it was written."""
