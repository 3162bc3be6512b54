"""From a request to the visitor, and from a session to the answer that hands it over."""

from typing import Any

from litestar import Request, Response
from litestar.datastructures import Cookie

from jan import clients
from jan.auth import cookies
from jan.auth.people import Visitor
from jan.auth.schemas import AccessToken
from jan.auth.sessions import Opened
from jan.auth.tokens import LIFETIME_S
from jan.guards import MAX_USER_AGENT_LENGTH

AnyRequest = Request[Any, Any, Any]


def visitor_of(request: AnyRequest) -> Visitor:
    """Tell where somebody is of whom nothing else is known."""
    agent = request.headers.get("user-agent", "")[:MAX_USER_AGENT_LENGTH]
    return Visitor(clients.address_of(request.scope), agent)


def refresh_token_of(request: AnyRequest) -> str | None:
    """Read the session's cookie."""
    return request.cookies.get(cookies.REFRESH)


def signed_in(request: AnyRequest, opened: Opened, *more: Cookie) -> Response[AccessToken]:
    """Hand over a session's tokens."""
    return Response(
        AccessToken(opened.access_token, LIFETIME_S),
        status_code=200,
        cookies=[cookies.refresh(request, opened), *more],
    )
