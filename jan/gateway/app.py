"""The app: all routes, what stands before them, and how errors are shown, in one place."""

from litestar import Litestar, Router

from jan.auth import routes as auth
from jan.chat import routes as chat
from jan.clients import Proxies
from jan.conv import routes as conv
from jan.conv.serving import Talks
from jan.conversations import routes as conversations
from jan.gateway import administration, probes, render
from jan.gateway.authenticate import Authenticate
from jan.gateway.front import Front
from jan.gateway.origins import Origins
from jan.gateway.parts import Parts
from jan.inference.chat import Chat
from jan.invites import routes as invites
from jan.mcp import routes as mcp_routes
from jan.mcp.late import Late
from jan.mcp.site import Site
from jan.models import routes as models
from jan.responses import routes as responses
from jan.responses.compaction import Seal
from jan.responses.serving import Responses


def create_app(parts: Parts) -> Front:
    """Make the app that the server runs."""
    origins = Origins(parts.allowed_origins)
    relay = parts.relay
    catalog = relay.fleet.catalog
    passages = relay.passages
    making = Responses(
        Chat(relay.fleet),
        passages,
        Seal(parts.key_secret),
        parts.leases,
        parts.news,
        carriers=parts.carriers,
        max_body_bytes=relay.max_body_bytes,
    )
    site = Site(parts.public_url, parts.names, origins.allows)
    mcp = Late(parts.toolbox, catalog, passages, max_body_bytes=relay.max_body_bytes)
    keyed = Router(
        "/",
        route_handlers=[
            *chat.handlers(relay),
            *responses.handlers(making),
            conversations.router(max_body_bytes=relay.max_body_bytes),
            models.router(catalog),
            *administration.routers(
                parts.settings, parts.key_secret, parts.passwords, parts.invites
            ),
            conv.chat_handler(Talks(relay, parts.carriers and parts.carriers.of)),
            conv.workspace_router(),
            models.router(catalog, "/v1/conv/models", "_for_conversations"),
            auth.router(parts.means),
        ],
        # A function, because Litestar copies everything else deeply: there is one cache of them.
        middleware=[lambda app: Authenticate(app, parts.credentials)],
    )
    open_to_all = probes.handlers(
        parts.standing,
        parts.checks,
        parts.optional_checks,
        is_draining=lambda: passages.is_draining,
    )
    app = Litestar(
        [
            keyed,
            mcp_routes.router(
                mcp, site, [lambda app: Authenticate(app, parts.credentials, site.challenge)]
            ),
            mcp_routes.open_to_all(site),
            *open_to_all,
            *auth.open_to_all(parts.means, trusts=origins.trusts),
            invites.open_to_all(parts.invites),
        ],
        exception_handlers={Exception: render.handle},
        logging_config=None,
        openapi_config=None,
    )
    return Front(
        app,
        parts.record,
        parts.note_use,
        parts.requests,
        passages=passages,
        origins=origins,
        proxies=Proxies(parts.trusted_proxies),
    )
