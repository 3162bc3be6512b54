"""Guards of routes, and how a handler learns who is asking.

What may be done by whom is no matter of theirs: that is the table in `jan.permissions`.
"""

from dataclasses import replace
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from jan import clients
from jan.caller import Caller
from jan.permissions import Scope

MAX_USER_AGENT_LENGTH = 256


def requires(scope: Scope) -> Guard:
    """Make the guard of a route for which the caller needs `scope`."""

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """Raise Forbidden where it is lacking."""
        caller: Caller = connection.user
        caller.require(scope)

    guard.scope = scope  # pyright: ignore[reportFunctionMemberAccess] - tests read it
    return guard


def caller_of(request: Request[Caller, Any, Any]) -> Caller:
    """Provide the caller to a handler, and where they are, for the audit log."""
    agent = request.headers.get("user-agent", "")[:MAX_USER_AGENT_LENGTH]
    return replace(request.user, address=clients.address_of(request.scope), user_agent=agent)
