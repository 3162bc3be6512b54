"""Rows of usage, and of calls of tools."""

from piccolo.columns import (
    UUID,
    BigInt,
    Boolean,
    Integer,
    Real,
    SmallInt,
    Text,
    Timestamptz,
    Varchar,
)
from piccolo.table import Table


class Usage(Table, tablename="usage"):
    """One request of the data plane, however it ended."""

    id = UUID(primary_key=True, help_text="Made by the writer, so that no row is written twice.")
    request_id = Varchar(length=128, help_text="Clients may choose it, so it need not be unique.")
    organization_id = Varchar(length=40, null=True, default=None)
    project_id = Varchar(length=40, null=True, default=None)
    user_id = Varchar(length=40, null=True, default=None)
    key_id = Varchar(length=40, null=True, default=None, help_text="Outlives the key.")
    model = Text()
    path = Text()
    status = SmallInt(help_text="HTTP status; 499 where the client went away.")
    prompt_tokens = Integer(default=0, help_text="Cached ones included.")
    completion_tokens = Integer(default=0)
    cached_tokens = Integer(default=0)
    time_to_first_token_ms = Real(null=True, default=None)
    duration_ms = Real()
    request_bytes = BigInt()
    response_bytes = BigInt()
    is_stream = Boolean()
    error_code = Text(null=True, default=None)
    created_at = Timestamptz()
    endpoint_id = Varchar(length=40, null=True, default=None, help_text="Outlives the endpoint.")
    queue_ms = Real(null=True, default=None, help_text="For how long it waited for its turn.")
    cost_picodollars = BigInt(null=True, default=None, help_text="Null: the model has no price.")


class ToolCall(Table, tablename="tool_call"):
    """One call of a tool, however it ended. What was asked and answered is in none of it."""

    id = UUID(primary_key=True, help_text="Made by the writer, so that no row is written twice.")
    organization_id = Varchar(length=40, null=True, default=None)
    project_id = Varchar(length=40, null=True, default=None)
    user_id = Varchar(length=40, null=True, default=None)
    key_id = Varchar(length=40, null=True, default=None, help_text="Outlives the key.")
    tool = Text()
    server = Text(null=True, default=None, help_text="Null: the tool is Jan's own.")
    response_id = Varchar(length=40, null=True, default=None, help_text="That it was made for.")
    outcome = Text()
    error_code = Text(null=True, default=None)
    duration_ms = Real()
    request_bytes = BigInt()
    response_bytes = BigInt()
    created_at = Timestamptz()
