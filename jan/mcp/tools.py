"""Jan's own tools over MCP: those that are configured, for who may use tools.

A tool that fails is an answer, which the model reads and can act on. Only what is no call of a tool
at all is an error of the protocol.
"""

from typing import Any

import mcp_types as types
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError

from jan.caller import Caller
from jan.errors import Forbidden, ToolNotConfigured, ToolNotFound
from jan.permissions import Scope
from jan.tools.toolbox import Annotations, Result, Toolbox


async def listed(toolbox: Toolbox | None, caller: Caller) -> types.ListToolsResult:
    """List the tools that the caller may use."""
    allowed = toolbox.tools() if toolbox and Scope.TOOLS_USE in caller.scopes else ()
    return types.ListToolsResult(
        tools=[
            types.Tool(
                name=tool.name,
                title=tool.annotations.title,
                description=tool.description,
                input_schema=dict(tool.input_schema),
                annotations=_told(tool.annotations),
            )
            for tool in allowed
        ]
    )


async def called(
    toolbox: Toolbox | None,
    caller: Caller,
    session: ServerSession,
    asked: types.CallToolRequestParams,
) -> types.CallToolResult:
    """Call a tool. Whoever asked for progress hears when it begins and when it is done.

    Raises:
        MCPError: there is no such tool, or none that the caller may use.
    """
    if toolbox is None:
        raise _unknown(asked.name)
    try:
        tool = toolbox.find(caller, asked.name)
    except ToolNotConfigured as error:
        return _said(Result.of(error))
    except (ToolNotFound, Forbidden):
        raise _unknown(asked.name) from None
    await session.report_progress(0, 1, f"Calling {tool.name}")
    result = await toolbox.run(caller, tool, asked.arguments or {})
    await session.report_progress(1, 1)
    return _said(result)


def _said(result: Result) -> types.CallToolResult:
    # Versions before 2026-07-28 know no other data than objects.
    data: Any = result.structured if isinstance(result.structured, dict) else None
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=result.text)],
        structured_content=data,
        is_error=result.is_error,
    )


def _unknown(name: str) -> MCPError:
    return MCPError(types.INVALID_PARAMS, f"Unknown tool: {name[:100]}")


def _told(annotations: Annotations) -> types.ToolAnnotations:
    return types.ToolAnnotations(
        title=annotations.title,
        read_only_hint=annotations.is_read_only,
        destructive_hint=annotations.is_destructive,
        idempotent_hint=annotations.is_idempotent,
        open_world_hint=annotations.is_open_world,
    )
