"""Rules of conversations: each is private to its owner within a project."""

from typing import Any

import msgspec
from msgspec import UNSET

from jan import clock, pages
from jan.caller import Caller
from jan.conversations import contents, metadata, record, titles
from jan.conversations.schemas import Conversation, ConversationCreate, ConversationUpdate
from jan.conversations.tables import new_conversation_id
from jan.db import paging, scope
from jan.errors import NotFound
from jan.pages import Page, Wanted
from jan.wire import Deleted, seconds

NONE = "none"
"""What a list is narrowed to for conversations that are in no workspace."""

INSERT = """
INSERT INTO conversation
    (id, project_id, owner_id, workspace_id, title, metadata, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7, $7)
"""
SELECT_ALL = """
SELECT c.id, c.title, c.workspace_id, c.metadata, c.created_at FROM conversation AS c
WHERE c.project_id = $1 AND c.owner_id = $2
"""
SELECT = f"{SELECT_ALL} AND c.id = $3"
UPDATE = """
UPDATE conversation
SET title = CASE WHEN $4 THEN $5 ELSE title END,
    metadata = CASE WHEN $6 THEN $7::jsonb ELSE metadata END,
    updated_at = $8
WHERE project_id = $1 AND owner_id = $2 AND id = $3
RETURNING id, title, workspace_id, metadata, created_at
"""
MOVE = """
UPDATE conversation SET workspace_id = $4, updated_at = $5
WHERE project_id = $1 AND owner_id = $2 AND id = $3
RETURNING id, title, workspace_id, metadata, created_at
"""
DELETE = """
DELETE FROM conversation WHERE project_id = $1 AND owner_id = $2 AND id = $3 RETURNING id
"""
# Locked, so that it is there until the conversation is in it.
HOLD_WORKSPACE = """
SELECT 1 FROM workspace WHERE project_id = $1 AND owner_id = $2 AND id = $3 FOR KEY SHARE
"""


async def create(caller: Caller, wanted: ConversationCreate) -> Conversation:
    """Make a conversation, with its first items. It is titled after them where no title is given.

    Raises:
        InvalidRequest: the title, the metadata or an item is not as it must be.
        NotFound: the workspace, or an item that is referred to, is not the caller's.
    """
    place = caller.require_place()
    title = titles.checked(wanted.title)
    attached = metadata.check(wanted.metadata)
    workspace_id = _workspace(wanted.workspace_id)
    conversation_id, now = new_conversation_id(), clock.now()
    async with scope.of(caller) as connection:
        await _hold(connection, place, workspace_id)
        await connection.execute(
            INSERT, conversation_id, *place, workspace_id, title, _encoded(attached), now
        )
        if wanted.items:
            await contents.add(caller, conversation_id, wanted.items)
        return await get(caller, conversation_id)


async def get(caller: Caller, conversation_id: str) -> Conversation:
    """Find a conversation.

    Raises:
        NotFound: no such conversation of the caller's.
    """
    place = caller.require_place()
    async with scope.of(caller) as connection:
        return _conversation(
            await connection.fetchrow(SELECT, *place, conversation_id), conversation_id
        )


async def page(
    caller: Caller, wanted: Wanted, workspace_id: str | None = None
) -> Page[Conversation]:
    """List the caller's conversations; those of a workspace, or with `none` those that are in none.

    Raises:
        InvalidRequest: the cursor is none of the list's ids.
    """
    select, values = SELECT_ALL, [*caller.require_place()]
    workspace_id = _workspace(workspace_id)
    if workspace_id is not None and workspace_id.lower() == NONE:
        select += " AND c.workspace_id IS NULL"
    elif workspace_id is not None:
        select += " AND c.workspace_id = $3"
        values.append(workspace_id)
    async with scope.reading(caller) as connection:
        rows = await paging.fetch(connection, select, values, wanted, alias="c")
    return pages.page([_conversation(row) for row in rows], wanted)


async def update(caller: Caller, conversation_id: str, wanted: ConversationUpdate) -> Conversation:
    """Rename a conversation, or replace its metadata as a whole.

    Raises:
        InvalidRequest: the title or the metadata is not as it must be.
        NotFound: no such conversation of the caller's.
    """
    place = caller.require_place()
    is_renamed, is_relabelled = wanted.title is not UNSET, wanted.metadata is not UNSET
    title = titles.checked(wanted.title or None)
    attached = metadata.check(wanted.metadata or None)
    async with scope.of(caller) as connection:
        row = await connection.fetchrow(
            UPDATE,
            *(*place, conversation_id),
            *(is_renamed, title, is_relabelled, _encoded(attached), clock.now()),
        )
    return _conversation(row, conversation_id)


async def move(caller: Caller, conversation_id: str, workspace_id: str | None) -> Conversation:
    """Put a conversation into a workspace of the caller's, or out of the one that it is in.

    Raises:
        NotFound: no such conversation or workspace of the caller's.
    """
    place, workspace_id = caller.require_place(), _workspace(workspace_id)
    async with scope.of(caller) as connection:
        await _hold(connection, place, workspace_id)
        row = await connection.fetchrow(MOVE, *place, conversation_id, workspace_id, clock.now())
    return _conversation(row, conversation_id)


async def delete(caller: Caller, conversation_id: str) -> Deleted:
    """Delete a conversation with all that was said in it.

    Raises:
        NotFound: no such conversation of the caller's.
    """
    place = caller.require_place()
    async with scope.of(caller) as connection:
        if not await connection.fetchval(DELETE, *place, conversation_id):
            raise record.missing(conversation_id)
    return Deleted(id=conversation_id, object="conversation.deleted")


async def _hold(connection: Any, place: tuple[str, str], workspace_id: str | None) -> None:
    if workspace_id is not None and not await connection.fetchval(
        HOLD_WORKSPACE, *place, workspace_id
    ):
        raise NotFound(f"There is no workspace `{workspace_id}`.", param="workspace_id")


def _workspace(workspace_id: str | None) -> str | None:
    """Read a workspace's id. A blank one is none."""
    return (workspace_id or "").strip() or None


def _encoded(attached: metadata.Metadata) -> str:
    return msgspec.json.encode(attached).decode()


def _conversation(row: Any, conversation_id: str = "") -> Conversation:
    if row is None:
        raise record.missing(conversation_id)
    return Conversation(
        id=row["id"],
        created_at=seconds(row["created_at"]),
        metadata=msgspec.json.decode(row["metadata"]),
        title=row["title"],
        workspace_id=row["workspace_id"],
    )
