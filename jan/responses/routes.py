"""Paths of the Responses API. Bare ASGI handlers, as the data plane's and for the same reason."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import Receive, Scope, Send

from jan.responses.serving import Responses

Serve = Callable[[Any, Any, Any], Awaitable[None]]


def handlers(responses: Responses) -> Sequence[ASGIRouteHandler]:
    """Make the handlers."""
    return [
        _posted("/v1/responses", responses.create),
        _posted("/v1/responses/input_tokens", responses.count),
    ]


def _posted(path: str, serve: Serve) -> ASGIRouteHandler:
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if cast("dict[str, Any]", scope)["method"] != "POST":
            raise MethodNotAllowedException(headers={"allow": "POST"})
        await serve(scope, receive, send)

    return asgi(path, name=path, copy_scope=False)(handle)
