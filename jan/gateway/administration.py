"""The administration alone, for commands at the machine's own shell: the same routes, no server.

Who can open the database is the operator; the organization is the one that the request names, as in
`Authenticate`, or the default one.
"""

from typing import Any, cast

from litestar import Litestar, Router
from litestar.types import ASGIApp, Receive, Scope, Send

from jan.auth.passwords import Passwords
from jan.gateway import render
from jan.gateway.app import administration
from jan.keyring import Keyring
from jan.organization import access
from jan.settings import Settings
from jan.telemetry import Exchange

AGENT = "jan command"


def create_app(_: Settings, secrets: Keyring) -> ASGIApp:
    """Make the app. A database has to be open while it is used."""
    app = Litestar(
        # In one router: Litestar answers OPTIONS by itself, once for a path of the app's own.
        [Router("/", route_handlers=administration(secrets.api_key_secret, Passwords()))],
        middleware=[_Operator],
        exception_handlers={Exception: render.handle},
        logging_config=None,
        openapi_config=None,
    )

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        plain = cast("dict[str, Any]", scope)
        plain["state"] = {"exchange": Exchange("command", plain["method"], plain["path"])}
        await app(scope, receive, send)

    return front


class _Operator:
    """Middleware: whoever asks is the operator."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        named = dict(scope["headers"]).get(b"openai-organization", b"").decode("latin-1")
        scope["user"] = await access.operator(named)
        await self.app(scope, receive, send)
