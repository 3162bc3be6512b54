"""`/v1/mcp`: Jan as an MCP server, and how to come in to it."""

from collections.abc import Sequence
from typing import Any, cast

from litestar import Request, Router, get
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import ASGIApp, Middleware, Receive, Scope, Send

from jan.mcp.late import Serving
from jan.mcp.site import METADATA, Site

PATHS = ("/v1/mcp", "/v1/conv/mcp")
"""The second is where Jan Server has it, too. There is no difference."""


def router(serving: Serving, site: Site, middleware: Sequence[Middleware]) -> Router:
    """Make the routes of the protocol. `middleware` finds out who asks."""
    return Router(
        "/",
        route_handlers=[_served(path, serving) for path in PATHS],
        middleware=[lambda app: _Door(app, site), *middleware],
    )


def open_to_all(site: Site) -> Router:
    """Make the routes of who has no credential yet."""

    @get(
        ["/", *PATHS],
        operation_id="describe_protected_resource",
        middleware=[lambda app: _Door(app, site)],
    )
    async def describe_protected_resource(request: Request[Any, Any, Any]) -> dict[str, Any]:
        """Describe how to come in to what stands at the rest of the path (RFC 9728)."""
        return site.metadata(cast("dict[str, Any]", request.scope))

    return Router(METADATA, route_handlers=[describe_protected_resource], tags=["MCP"])


def _served(path: str, serving: Serving) -> ASGIRouteHandler:
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await serving.serve(cast("dict[str, Any]", scope), receive, send)

    return asgi(path, name=path, copy_scope=False)(handle)


class _Door:
    """Middleware: lets in whoever calls Jan by a name of its own."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self.app = app
        self.site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request. Raises as `Site.admit`."""
        self.site.admit(cast("dict[str, Any]", scope))
        await self.app(scope, receive, send)
