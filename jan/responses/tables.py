"""Rows of responses, their items and their events."""

from piccolo.columns import JSON, JSONB, Boolean, Bytea, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from jan import clock, ids


def new_response_id() -> str:
    """Make a response's id."""
    return ids.new("resp")


class Response(Table, tablename="response"):
    """What a model was asked, and what became of it. Its status moves forward only."""

    id = Varchar(length=40, primary_key=True, default=new_response_id)
    project_id = Varchar(length=40)
    owner_id = Varchar(length=40, help_text="Whose it is: see `Caller.owner_id`.")
    conversation_id = Varchar(length=40, null=True, default=None)
    previous_response_id = Varchar(length=40, null=True, default=None)
    status = Text()
    is_background = Boolean()
    is_stream = Boolean(help_text="Whether its events are kept, if it is in the background.")
    parameters = JSON(help_text="Of the request, as sent, less its input.")
    object = JSON(help_text="As OpenAI writes it, less its output.")
    caller = JSONB(help_text="Who asked, for usage and for what they may do. No credential.")
    engine = Text(null=True, default=None, help_text="What answered, by its own word.")
    attempt = Integer(default=0, help_text="How often it was begun. An older one writes no more.")
    lease_expires_at = Timestamptz(
        null=True, default=None, help_text="Until when whoever makes it is believed to live."
    )
    created_at = Timestamptz(default=clock.now)
    started_at = Timestamptz(null=True, default=None)
    ended_at = Timestamptz(null=True, default=None)


class ResponseItem(Table, tablename="response_item"):
    """Something that went into a response, or came of it."""

    response_id = Varchar(length=40, primary_key=True)
    position = Integer(help_text="Its place in the order: input first, then output.")
    is_output = Boolean()
    id = Varchar(length=128, help_text="What clients call it.")
    project_id = Varchar(length=40)
    owner_id = Varchar(length=40)
    item = JSON(help_text="As OpenAI writes it, id and status included.")


class ResponseEvent(Table, tablename="response_event"):
    """Events of a response in the background, all that were written at a time."""

    response_id = Varchar(length=40, primary_key=True)
    first_number = Integer(help_text="The `sequence_number` of the first.")
    last_number = Integer()
    events = Bytea(help_text="Exactly as they are sent.")
