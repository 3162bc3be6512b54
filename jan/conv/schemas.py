"""Workspaces as they are on the wire: Jan's own shapes."""

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType


class Workspace(msgspec.Struct, kw_only=True):
    """A folder of conversations, with what the model is told in all of them."""

    id: str
    object: Literal["workspace"] = "workspace"
    name: str
    instruction: str | UnsetType = UNSET
    """Left out where there is none."""
    created_at: datetime
    updated_at: datetime


class WorkspaceList(msgspec.Struct, kw_only=True):
    """One page of workspaces."""

    status: Literal["000000"] = "000000"
    total: int
    """Of all pages."""
    results: list[Workspace]
    first_id: str | None
    last_id: str | None
    has_more: bool


class WorkspaceCreate(msgspec.Struct, kw_only=True):
    """What a new workspace is to be."""

    name: str
    instruction: str | None = None


class WorkspaceUpdate(msgspec.Struct, kw_only=True):
    """What is to be different about a workspace."""

    name: str


class InstructionUpdate(msgspec.Struct, kw_only=True):
    """What the model is to be told from now on. Null or blank: nothing."""

    instruction: str | None
