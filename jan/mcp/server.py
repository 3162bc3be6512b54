"""What Jan says over MCP: tools, resources and prompts, each list made for who asks.

The protocol itself, in all of its versions, is the SDK's. Nothing is kept between two requests, so
that any process answers any of them.
"""

from collections.abc import Sequence
from importlib.metadata import version as version_of
from typing import Any

import mcp_types as types
import structlog
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from jan import telemetry
from jan.caller import Caller
from jan.errors import InvalidRequest, JanError, NotFound
from jan.mcp import prompts, resources, tools
from jan.mcp.schemas import Prompts, Shelf
from jan.tools.toolbox import Toolbox

NAME = "jan"
INSTRUCTIONS = (
    "Jan is a private AI platform. Its tools search the web and read pages, where they are"
    " configured. Its resources are your own conversations and responses, and the models that you"
    " may use. Its prompts are the instructions of your workspaces."
)

Context = ServerRequestContext[Any, Any]

log = structlog.get_logger("jan.mcp")


def make(toolbox: Toolbox | None, shelves: Sequence[Shelf], offered: Prompts | None) -> Server[Any]:
    """Make the server that answers requests for MCP."""
    read = resources.Resources(shelves)

    async def list_tools(ctx: Context, _: Any) -> types.ListToolsResult:
        return await tools.listed(toolbox, caller_of(ctx))

    async def call_tool(ctx: Context, asked: types.CallToolRequestParams) -> types.CallToolResult:
        return await tools.called(toolbox, caller_of(ctx), ctx.session, asked)

    async def list_resources(
        ctx: Context, asked: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        return await read.page(caller_of(ctx), asked and asked.cursor)

    async def list_templates(ctx: Context, _: Any) -> types.ListResourceTemplatesResult:
        return read.templates(caller_of(ctx))

    async def read_resource(
        ctx: Context, asked: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        return await read.read(caller_of(ctx), str(asked.uri))

    async def list_prompts(
        ctx: Context, asked: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        return await prompts.page(offered, caller_of(ctx), asked and asked.cursor)

    async def get_prompt(
        ctx: Context, asked: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        return await prompts.read(offered, caller_of(ctx), asked.name)

    server = Server[Any](
        NAME,
        title="Jan",
        version=version_of("jan"),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
    )
    server.middleware.append(_worded)
    return server


def caller_of(ctx: Context) -> Caller:
    """Tell who asks: `Authenticate` has found out."""
    return _scope(ctx)["user"]


def _scope(ctx: Context) -> dict[str, Any]:
    assert ctx.request is not None  # it came over HTTP
    return ctx.request.scope


async def _worded(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Put what was refused into the protocol's words. Of a bug nothing is told."""
    try:
        return await call_next(ctx)
    except (MCPError, ValidationError):  # the SDK's own
        raise
    except JanError as error:
        is_theirs = isinstance(error, (InvalidRequest, NotFound))
        code = types.INVALID_PARAMS if is_theirs else types.INTERNAL_ERROR
        raise MCPError(code, error.message, {"code": error.code}) from None
    except Exception:
        request_id = telemetry.exchange_of(_scope(ctx)).request_id
        log.exception("unexpected error", request_id=request_id)
        raise MCPError(types.INTERNAL_ERROR, "Something went wrong in the server.") from None
