"""`/v1/mcp/servers`: remote MCP servers, registered for a project or a whole organization."""

from typing import Any

from litestar import Request, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from jan import pages
from jan.caller import Caller
from jan.guards import caller_of, requires
from jan.net.guard import Guard
from jan.net.policy import Policy
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.rest import MAX_BODY_BYTES, PAGED, change
from jan.settings import Settings
from jan.tools import health, servers
from jan.tools.registered import ServerCreate, ServerObject, ServerUpdate
from jan.tools.servers import Servers
from jan.wire import Deleted

PATH = "/v1/mcp/servers"
ONE = "/{mcp_server_id:str}"

Asked = Request[Caller, Any, Any]


def router(settings: Settings, key_secret: str) -> Router:
    """Make the routes. Who administers a place is decided there."""
    means = Servers(Policy.configured(settings), key_secret)

    @get("/", operation_id="list_mcp_servers")
    async def list_mcp_servers(
        request: Asked, wanted: NamedDependency[Wanted], project_id: FromQuery[str | None] = None
    ) -> Page[ServerObject]:
        """List registered servers: those of a project and of its organization, or all."""
        found = await servers.page(caller_of(request), wanted, project_id=project_id)
        return pages.mapped(found, lambda server: server.shown())

    @post("/", operation_id="create_mcp_server", status_code=200)
    async def create_mcp_server(request: Asked, data: JSONBody[ServerCreate]) -> ServerObject:
        """Register a server, for `project_id` or for all projects. Credentials are kept sealed."""
        made = await servers.create(caller_of(request), data, means=means)
        return made.shown(in_full=True)

    @get(ONE, operation_id="get_mcp_server")
    async def get_mcp_server(request: Asked, mcp_server_id: FromPath[str]) -> ServerObject:
        """Describe a server, with its tools as they were listed last."""
        return (await servers.get(caller_of(request), mcp_server_id)).shown(in_full=True)

    @change(ONE, "update_mcp_server")
    async def update_mcp_server(
        request: Asked, mcp_server_id: FromPath[str], data: JSONBody[ServerUpdate]
    ) -> ServerObject:
        """Change a server. One that moves to another site loses its credentials."""
        changed = await servers.update(caller_of(request), mcp_server_id, data, means=means)
        return changed.shown(in_full=True)

    @delete(ONE, operation_id="delete_mcp_server", status_code=200)
    async def delete_mcp_server(request: Asked, mcp_server_id: FromPath[str]) -> Deleted:
        """Forget a server, and its credentials."""
        return await servers.delete(caller_of(request), mcp_server_id)

    @post(ONE + "/test", operation_id="test_mcp_server", status_code=200)
    async def test_mcp_server(request: Asked, mcp_server_id: FromPath[str]) -> ServerObject:
        """Ask a server for its tools now. `last_error` says what is wrong, if anything is."""
        caller = caller_of(request)
        server = await servers.administered(caller, mcp_server_id)
        async with Guard.configured(settings) as guard:
            await health.check(server, guard=guard, means=means)
        return (await servers.get(caller, mcp_server_id)).shown(in_full=True)

    return Router(
        PATH,
        route_handlers=[
            *(list_mcp_servers, create_mcp_server, get_mcp_server, update_mcp_server),
            *(delete_mcp_server, test_mcp_server),
        ],
        dependencies=PAGED,
        guards=[requires(Scope.ADMINISTRATION_USE)],
        request_max_body_size=MAX_BODY_BYTES,
        tags=["MCP servers"],
    )
