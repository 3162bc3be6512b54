"""The data plane's paths. Bare ASGI handlers: Litestar's ordinary ones cost twice the CPU."""

from collections.abc import Sequence
from typing import Any, cast

from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import Receive, Scope, Send

from jan import telemetry
from jan.chat.dialect import ENDPOINTS, Endpoint
from jan.chat.relay import Relay


def handlers(relay: Relay) -> Sequence[ASGIRouteHandler]:
    """Make the handlers of all endpoints."""
    return [_handler(endpoint, relay) for endpoint in ENDPOINTS]


def _handler(endpoint: Endpoint, relay: Relay) -> ASGIRouteHandler:
    async def pass_on(scope: Scope, receive: Receive, send: Send) -> None:
        plain = cast("dict[str, Any]", scope)
        telemetry.exchange_of(plain).is_metered = True
        if plain["method"] != "POST":
            raise MethodNotAllowedException(headers={"allow": "POST"})
        await relay.serve(endpoint, plain, receive, cast("Any", send))

    return asgi(endpoint.path, name=endpoint.path, copy_scope=False)(pass_on)
