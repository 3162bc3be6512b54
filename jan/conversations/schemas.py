"""Conversations as they are on the wire. Source: OpenAI's `Conversation` and what makes one."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from jan.conversations.items import Item
from jan.conversations.metadata import Metadata

Given = list[dict[str, Any]]
"""Items that a client sends."""


class Conversation(msgspec.Struct, kw_only=True):
    """What was said, less its items."""

    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: Metadata
    title: str | None
    """Jan's: what it is called. Null until the user has said something."""
    workspace_id: str | None
    """Jan's: where it is filed."""


class ConversationCreate(msgspec.Struct, kw_only=True):
    """What a new conversation is to be."""

    items: Given | None = None
    metadata: Metadata | None = None
    title: str | None = None
    workspace_id: str | None = None


class ConversationUpdate(msgspec.Struct, kw_only=True):
    """What is to be different about a conversation. What is left out stays; null takes it away."""

    metadata: Metadata | UnsetType | None = UNSET
    title: str | UnsetType | None = UNSET


class ConversationMove(msgspec.Struct, kw_only=True):
    """Into which workspace a conversation goes. Null: into none."""

    workspace_id: str | None


class ItemsCreate(msgspec.Struct, kw_only=True):
    """What is to be added to a conversation."""

    items: Given


class ItemList(msgspec.Struct, kw_only=True):
    """Items of a conversation, all or a page of them."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool
