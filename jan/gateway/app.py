"""The app: all routes, what stands before them, and how errors are shown, in one place."""

from collections.abc import Sequence

from litestar import Litestar, Router

from jan.auth import passwords
from jan.auth.passwords import Passwords
from jan.chat import routes as chat
from jan.clients import Proxies
from jan.gateway import probes, render
from jan.gateway.authenticate import Authenticate
from jan.gateway.front import Front
from jan.gateway.origins import Origins
from jan.gateway.parts import Parts
from jan.keys import account_routes
from jan.models import routes as models
from jan.organization import routes as organization
from jan.projects import routes as projects
from jan.users import routes as users


def administration(key_secret: str, chosen: Passwords) -> Sequence[Router]:
    """Make the routes of the administration, which commands use in their own process, too."""

    async def hash_password(password: str, email: str) -> str:
        passwords.check(password, email=email)
        return await chosen.hash(password)

    return [
        users.router(hash_password),
        *organization.routers(),
        projects.router(),
        account_routes.router(key_secret),
    ]


def create_app(parts: Parts) -> Front:
    """Make the app that the server runs."""
    keyed = Router(
        "/",
        route_handlers=[
            *chat.handlers(parts.relay),
            models.router(parts.catalog),
            *administration(parts.key_secret, parts.passwords),
        ],
        # A function, because Litestar copies everything else deeply: there is one cache of them.
        middleware=[lambda app: Authenticate(app, parts.credentials)],
    )
    open_to_all = probes.handlers(
        parts.catalog,
        parts.checks,
        parts.optional_checks,
        is_draining=lambda: front.is_draining,
    )
    app = Litestar(
        [keyed, *open_to_all],
        exception_handlers={Exception: render.handle},
        logging_config=None,
        openapi_config=None,
    )
    front = Front(
        app,
        parts.record,
        origins=Origins(parts.allowed_origins),
        proxies=Proxies(parts.trusted_proxies),
    )
    return front
