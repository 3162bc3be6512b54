"""Prompts over MCP: the texts that the caller keeps to be put before a model."""

import mcp_types as types
from mcp.shared.exceptions import MCPError

from jan.caller import Caller
from jan.errors import NotFound
from jan.mcp.schemas import PAGE, Prompts


async def page(
    offered: Prompts | None, caller: Caller, cursor: str | None
) -> types.ListPromptsResult:
    """List one page. A cursor is the last prompt's name.

    Raises:
        InvalidRequest: the cursor is none of this list's.
    """
    if offered is None or offered.needed not in caller.scopes:
        return types.ListPromptsResult(prompts=[])
    entries = await offered.page(caller, cursor or None, PAGE)
    return types.ListPromptsResult(
        prompts=[
            types.Prompt(name=entry.id, title=entry.title, description=entry.description)
            for entry in entries.data
        ],
        next_cursor=entries.data[-1].id if entries.has_more else None,
    )


async def read(offered: Prompts | None, caller: Caller, name: str) -> types.GetPromptResult:
    """Read one, as something that the user says.

    Raises:
        MCPError: there is none of this name, or none that is the caller's.
    """
    if offered is None or offered.needed not in caller.scopes:
        raise _missing()
    try:
        entry, text = await offered.read(caller, name)
    except NotFound:
        raise _missing() from None
    message = types.PromptMessage(role="user", content=types.TextContent(type="text", text=text))
    return types.GetPromptResult(description=entry.title, messages=[message])


def _missing() -> MCPError:
    return MCPError(types.INVALID_PARAMS, "There is no such prompt.")
