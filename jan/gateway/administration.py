"""The administration: its routes, for the gateway and for commands at the machine's own shell.

Commands need no server and no key: who can open the database is the operator. The organization is
the one that the request names, as in `Authenticate`, or the default one.
"""

from collections.abc import Sequence
from typing import Any, cast

from litestar import Litestar, Router
from litestar.types import ASGIApp, Receive, Scope, Send

from jan.audit import routes as audit
from jan.auth import passwords
from jan.auth.passwords import Passwords
from jan.fleet import (
    allowance_routes,
    deployment_routes,
    model_routes,
    plan_routes,
    provider_routes,
    store_routes,
)
from jan.gateway import render
from jan.invites import routes as invites
from jan.invites.means import Means as InviteMeans
from jan.keyring import Keyring
from jan.keys import account_routes
from jan.keys import routes as keys
from jan.mcp import server_routes as mcp_servers
from jan.organization import access
from jan.organization import routes as organization
from jan.projects import routes as projects
from jan.settings import Settings
from jan.telemetry import Exchange
from jan.users import routes as users


def routers(
    settings: Settings, key_secret: str, chosen: Passwords, inviting: InviteMeans
) -> Sequence[Router]:
    """Make the routes of the administration. Commands use them as well, in their own process."""

    async def hash_password(password: str, email: str) -> str:
        passwords.check(password, email=email)
        return await chosen.hash(password)

    return [
        *organization.routers(),
        projects.router(),
        *allowance_routes.routers(),
        account_routes.router(key_secret),
        users.router(hash_password),
        *keys.routers(key_secret),
        invites.router(inviting),
        audit.router(),
        mcp_servers.router(settings, key_secret),
        *deployment_routes.routers(settings),
        plan_routes.router(settings),
        provider_routes.router(key_secret),
        *model_routes.routers(),
        store_routes.router(settings.home),
    ]


def create_app(settings: Settings, secrets: Keyring) -> ASGIApp:
    """Make the app. A database has to be open while it is used."""
    chosen = Passwords()
    inviting = InviteMeans.configured(settings, secrets, passwords=chosen)
    app = Litestar(
        # In one router: Litestar answers OPTIONS by itself, once for a path of the app's own.
        [Router("/", route_handlers=routers(settings, secrets.api_key_secret, chosen, inviting))],
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
