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


class Metadata(msgspec.Struct, kw_only=True):
    """Where a chat that knows its conversation is, and what its items are called."""

    conversation_id: str | None
    conversation_created: bool
    conversation_title: str | None
    ask_item_id: str | None
    """Of the last item of the request."""
    completion_item_id: str | None
    """Of the assistant's message. It can be fetched once the answer has ended."""
    store: bool
    store_reasoning: bool
