"""`/v1/auth`: signing in and out, and one's own account.

Who signs in has no credential yet, so these routes are apart from those of who has.
"""

from collections.abc import Callable
from typing import Any

from litestar import Request, Response, Router, delete, get, post, route
from litestar.params import FromPath, FromQuery, JSONBody

from jan.auth import cookies, fence, forms, owners, provider_routes, reset, service, sign_in
from jan.auth.answers import AnyRequest, refresh_token_of, signed_in, visitor_of
from jan.auth.means import Means
from jan.auth.schemas import (
    Accepted,
    AccessToken,
    Login,
    Me,
    PasswordChange,
    Reset,
    ResetRequest,
    SessionDeleted,
    SessionView,
    Setup,
    Upgrade,
)
from jan.caller import Caller
from jan.guards import caller_of, requires
from jan.pages import Page, read
from jan.permissions import Scope

MAX_BODY_BYTES = 64 * 1024

CallerRequest = Request[Caller, Any, Any]


def open_to_all(means: Means, *, trusts: Callable[[bytes], bool]) -> list[Router]:
    """Make the routes of who signs in. `trusts` tells which other sites may use the cookies."""

    @post("/login", operation_id="login", status_code=200)
    async def login(request: AnyRequest, data: JSONBody[Login]) -> Response[AccessToken]:
        """Sign in with an e-mail address and a password."""
        opened = await sign_in.by_password(
            visitor_of(request), data.email, data.password, means=means
        )
        return signed_in(request, opened)

    @post("/guest-login", operation_id="guest_login", status_code=200)
    async def guest_login(request: AnyRequest) -> Response[AccessToken]:
        """Become a guest, or go on as the one that the browser's cookie is."""
        opened = await sign_in.as_guest(
            visitor_of(request),
            refresh_token_of(request),
            has_tabs=fence.is_browser(request),
            means=means,
        )
        return signed_in(request, opened)

    @route(
        "/refresh-token",
        http_method=["GET", "POST"],
        operation_id="refresh_token",
        status_code=200,
    )
    async def refresh_token(request: AnyRequest) -> Response[AccessToken]:
        """Get an access token for the session of the cookie, and a new cookie."""
        opened = await means.sessions.refresh(
            visitor_of(request), refresh_token_of(request), has_tabs=fence.is_browser(request)
        )
        return signed_in(request, opened)

    @route("/logout", http_method=["GET", "POST"], operation_id="logout", status_code=200)
    async def logout(request: AnyRequest) -> Response[bytes]:
        """End the session of the cookie or of the access token. Nothing of it works any more."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        await means.sessions.log_out(
            visitor_of(request),
            refresh_token_of(request),
            token.strip() if scheme.lower() == "bearer" else None,
        )
        return Response(b"", cookies=[cookies.gone(request, cookies.REFRESH)])

    @post("/password/reset-request", operation_id="request_password_reset", status_code=202)
    async def request_password_reset(request: AnyRequest, data: JSONBody[ResetRequest]) -> Accepted:
        """Ask for a link to set a new password by. The answer never tells whether one is sent."""
        await reset.request(visitor_of(request), data.email)
        return Accepted()

    @post("/password/reset", operation_id="reset_password", status_code=204)
    async def reset_password(request: AnyRequest, data: JSONBody[Reset]) -> None:
        """Set a new password with the code of a link. All sessions end."""
        await reset.redeem(visitor_of(request), data.code, data.password, means=means)

    @post("/setup", operation_id="set_up", status_code=200)
    async def set_up(request: AnyRequest, data: JSONBody[Setup]) -> Response[AccessToken]:
        """Become the first owner of this Jan with the code of the link that `jan serve` prints."""
        opened = await owners.set_up(
            visitor_of(request),
            data.code,
            email=data.email,
            name=data.name,
            password=data.password,
            means=means,
        )
        return signed_in(request, opened)

    fenced = fence.made(means.url, trusts)
    return [
        Router(
            "/v1/auth",
            route_handlers=[
                *(login, guest_login, refresh_token, logout, set_up),
                *(request_password_reset, reset_password),
            ],
            guards=[fenced],
            request_max_body_size=MAX_BODY_BYTES,
            tags=["Auth"],
        ),
        provider_routes.router(means, fenced, max_body_bytes=MAX_BODY_BYTES),
        forms.router(),
    ]


def router(means: Means) -> Router:
    """Make the routes of who is signed in."""

    @get("/me", operation_id="get_me")
    async def get_me(request: CallerRequest) -> Me:
        """Tell who is asking. An API key gets to know its owner."""
        return await service.me(request.user)

    @post(
        "/upgrade",
        operation_id="upgrade_guest",
        status_code=200,
        guards=[requires(Scope.ACCOUNT_WRITE)],
    )
    async def upgrade_guest(
        request: CallerRequest, data: JSONBody[Upgrade]
    ) -> Response[AccessToken]:
        """Give a guest an e-mail address and a password. All that is theirs stays theirs."""
        opened = await service.upgrade(
            caller_of(request), data.email, data.password, data.name, means=means
        )
        return signed_in(request, opened)

    @post(
        "/password",
        operation_id="change_password",
        status_code=204,
        guards=[requires(Scope.ACCOUNT_WRITE)],
    )
    async def change_password(request: CallerRequest, data: JSONBody[PasswordChange]) -> None:
        """Change one's own password. All other sessions end."""
        await service.change_password(
            caller_of(request), data.current_password, data.password, means=means
        )

    @get("/sessions", operation_id="list_sessions", guards=[requires(Scope.ACCOUNT_WRITE)])
    async def list_sessions(  # noqa: PLR0913, PLR0917 - as many as a list has parameters
        request: CallerRequest,
        limit: FromQuery[int | None] = None,
        after: FromQuery[str | None] = None,
        before: FromQuery[str | None] = None,
        order: FromQuery[str | None] = None,
        last: FromQuery[str | None] = None,
    ) -> Page[SessionView]:
        """List where one is signed in."""
        wanted = read(limit, after, before, order, last, default_order="desc")
        return await service.page_sessions(request.user, wanted)

    @delete(
        "/sessions/{session_id:str}",
        operation_id="end_session",
        status_code=200,
        guards=[requires(Scope.ACCOUNT_WRITE)],
    )
    async def end_session(request: CallerRequest, session_id: FromPath[str]) -> SessionDeleted:
        """Sign oneself out somewhere, at once."""
        return await service.end_session(caller_of(request), session_id)

    return Router(
        "/v1/auth",
        route_handlers=[get_me, upgrade_guest, change_password, list_sessions, end_session],
        request_max_body_size=MAX_BODY_BYTES,
        tags=["Auth"],
    )
