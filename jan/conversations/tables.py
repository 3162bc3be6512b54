"""Rows of conversations and their items."""

from piccolo.columns import JSONB, BigInt, Text, Timestamptz, Varchar
from piccolo.table import Table

from jan import clock, ids


def new_conversation_id() -> str:
    """Make a conversation's id."""
    return ids.new("conv")


class Conversation(Table, tablename="conversation"):
    """What was said, in order: private to its owner within a project."""

    id = Varchar(length=40, primary_key=True, default=new_conversation_id)
    project_id = Varchar(length=40)
    owner_id = Varchar(length=40, help_text="Whose it is: see `Caller.owner_id`.")
    workspace_id = Varchar(length=40, null=True, default=None)
    title = Varchar(length=200, null=True, default=None)
    metadata = JSONB(default={})
    created_at = Timestamptz(default=clock.now)
    updated_at = Timestamptz(default=clock.now, help_text="When it was last added to or changed.")


class ConversationItem(Table, tablename="conversation_item"):
    """Something that was said, thought or called."""

    conversation_id = Varchar(length=40, primary_key=True)
    position = BigInt(help_text="Its place in the order. Drawn while the conversation is locked.")
    id = Varchar(length=128, help_text="What clients call it.")
    project_id = Varchar(length=40)
    owner_id = Varchar(length=40)
    type = Text()
    status = Text(null=True, default=None)
    item = JSONB(help_text="As OpenAI writes it, id and status included.")
    created_at = Timestamptz(default=clock.now)
