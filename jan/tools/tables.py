"""What search providers answered lately, and remote MCP servers."""

from piccolo.columns import JSON, Array, Boolean, Bytea, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from jan import clock, ids


class ToolAnswer(Table, tablename="tool_answer"):
    """One answer, known by a digest of what was asked. Nobody's in particular."""

    key = Varchar(
        length=64, primary_key=True, help_text="SHA-256 of provider and question, in hex."
    )
    provider = Text()
    answer = Bytea(help_text="JSON, without the question.")
    size_bytes = Integer()
    created_at = Timestamptz()
    expires_at = Timestamptz()


def new_mcp_server_id() -> str:
    """Make a registered MCP server's id."""
    return ids.new("mcps")


class McpServer(Table, tablename="mcp_server"):
    """A remote MCP server that an administrator has registered, for a project or all of them."""

    id = Varchar(length=40, primary_key=True, default=new_mcp_server_id)
    organization_id = Varchar(
        length=40, null=True, default=None, help_text="Null: of a person's own project."
    )
    project_id = Varchar(
        length=40, null=True, default=None, help_text="Null: of all of the organization's."
    )
    label = Varchar(length=64, help_text="What requests call it by. Unique where it belongs.")
    description = Text(default="")
    url = Text()
    sealed = Text(null=True, default=None, help_text="Headers that are sent, see `jan.seal`.")
    header_names = Array(Text(), default=[], help_text="Which headers these are.")
    allowed_tools = Array(Text(), null=True, default=None, help_text="Null: all.")
    require_approval = Text(help_text="`always` or `never`, where a request says nothing.")
    is_enabled = Boolean(default=True)
    tools = JSON(null=True, default=None, help_text="As they were listed last.")
    left_out = Array(Text(), default=[], help_text="Tools that can't be used, and why.")
    tools_listed_at = Timestamptz(null=True, default=None)
    last_checked_at = Timestamptz(null=True, default=None)
    last_error = Text(null=True, default=None, help_text="Null: it was well at the last check.")
    created_at = Timestamptz(default=clock.now)
    updated_at = Timestamptz(default=clock.now)
