"""The two cookies: the session's refresh token, and a sign-in at a provider that is under way.

They go to `/v1/auth` only, so that no other route, and no proxy's log of those, ever sees one. No
script can read them.
"""

from typing import Any

from litestar import Request
from litestar.datastructures import Cookie

from jan import clients, clock
from jan.auth import pending
from jan.auth.sessions import Opened

REFRESH = "jan_refresh_token"
STATE = "jan_oauth_state"
PATH = "/v1/auth"

AnyRequest = Request[Any, Any, Any]


def refresh(request: AnyRequest, opened: Opened) -> Cookie:
    """Hand over a session's refresh token, for as long as the session would go on."""
    left_s = int((opened.expires_at - clock.now()).total_seconds())
    return _cookie(request, REFRESH, opened.refresh_token, left_s)


def state(request: AnyRequest, sealed: str) -> Cookie:
    """Leave what `Oidc.finish` wants back."""
    return _cookie(request, STATE, sealed, pending.LIFETIME_S)


def gone(request: AnyRequest, name: str) -> Cookie:
    """Take a cookie away."""
    return _cookie(request, name, "", 0)


def _cookie(request: AnyRequest, name: str, value: str, max_age_s: int) -> Cookie:
    return Cookie(
        key=name,
        value=value,
        path=PATH,
        max_age=max_age_s,
        secure=clients.wants_secure_cookie(request.scope),
        httponly=True,
        samesite="lax",
    )
