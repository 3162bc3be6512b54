"""`/v1/auth/google` and `/v1/auth/oidc/{provider}`: to a provider, and back from it.

Programs and pages get JSON. Who comes with a browser is sent on, and is told in words what failed.
"""

from typing import Any

from litestar import Response, Router, get, post
from litestar.params import FromPath, JSONBody
from litestar.response import Redirect
from litestar.types import Guard

from jan.auth import cookies, fence, forms, sign_in
from jan.auth.answers import AnyRequest, refresh_token_of, signed_in, visitor_of
from jan.auth.means import Means
from jan.auth.oidc import Answer
from jan.auth.schemas import AccessToken, Callback, LoginUrl, Provider
from jan.auth.sessions import Opened
from jan.errors import JanError
from jan.issuers import GOOGLE

FAILED = "You are not signed in"


def router(means: Means, fenced: Guard, *, max_body_bytes: int) -> Router:
    """Make the routes. `fenced` keeps other sites from those that scripts call."""
    door = _Door(means)

    @get("/providers", operation_id="list_sign_in_providers")
    async def list_sign_in_providers() -> dict[str, Any]:
        """List the providers that one can sign in with."""
        listed = [Provider(name, _path(name)) for name in means.oidc.names]
        return {"object": "list", "data": listed}

    @get("/google/login", operation_id="google_login")
    async def google_login(request: AnyRequest) -> Response[Any]:
        """Tell where to sign in with Google."""
        return await door.begin(request, GOOGLE)

    @get("/google/callback", operation_id="google_return")
    async def google_return(request: AnyRequest) -> Response[Any]:
        """Take back who signed in with Google."""
        return await door.take_back(request, GOOGLE)

    @post("/google/callback", operation_id="google_callback", guards=[fenced])
    async def google_callback(
        request: AnyRequest, data: JSONBody[Callback]
    ) -> Response[AccessToken]:
        """Take back who signed in with Google, where a page of one's own took the answer."""
        return await door.finish(request, GOOGLE, data)

    @get("/oidc/{provider:str}/login", operation_id="oidc_login")
    async def oidc_login(request: AnyRequest, provider: FromPath[str]) -> Response[Any]:
        """Tell where to sign in with a provider."""
        return await door.begin(request, provider)

    @get("/oidc/{provider:str}/callback", operation_id="oidc_return")
    async def oidc_return(request: AnyRequest, provider: FromPath[str]) -> Response[Any]:
        """Take back who signed in with a provider."""
        return await door.take_back(request, provider)

    @post("/oidc/{provider:str}/callback", operation_id="oidc_callback", guards=[fenced])
    async def oidc_callback(
        request: AnyRequest, provider: FromPath[str], data: JSONBody[Callback]
    ) -> Response[AccessToken]:
        """Take back who signed in with a provider, where a page of one's own took the answer."""
        return await door.finish(request, provider, data)

    return Router(
        "/v1/auth",
        route_handlers=[
            *(list_sign_in_providers, google_login, google_return, google_callback),
            *(oidc_login, oidc_return, oidc_callback),
        ],
        request_max_body_size=max_body_bytes,
        tags=["Auth"],
    )


class _Door:
    """What is the same for all providers."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def begin(self, request: AnyRequest, provider: str) -> Response[Any]:
        try:
            begun = await self._means.oidc.begin(
                provider, redirect=request.query_params.get("redirect")
            )
        except JanError as error:
            if not fence.is_visit(request):
                raise
            return forms.notice(FAILED, error)
        kept = [cookies.state(request, begun.cookie)]
        if fence.is_visit(request):
            return Redirect(begun.url, status_code=303, cookies=kept)
        kind = GOOGLE if provider == GOOGLE else "oidc"
        return Response(LoginUrl(f"{kind}.login.url", begun.url), cookies=kept)

    async def take_back(self, request: AnyRequest, provider: str) -> Response[Any]:
        """Sign in who was sent here by the provider itself."""
        said = request.query_params
        answer = Answer(said.get("code"), said.get("state"), said.get("error"))
        try:
            opened, redirect = await self._sign_in(request, provider, answer)
        except JanError as error:
            if not fence.is_visit(request):
                raise
            return forms.notice(FAILED, error, cookies.gone(request, cookies.STATE))
        if redirect is None and not fence.is_visit(request):
            return signed_in(request, opened, cookies.gone(request, cookies.STATE))
        kept = (cookies.refresh(request, opened), cookies.gone(request, cookies.STATE))
        if redirect is None:
            return forms.told("You are signed in", "You can close this page.", *kept)
        return Redirect(redirect, status_code=303, cookies=kept)

    async def finish(
        self, request: AnyRequest, provider: str, said: Callback
    ) -> Response[AccessToken]:
        opened, _ = await self._sign_in(request, provider, Answer(said.code, said.state))
        return signed_in(request, opened, cookies.gone(request, cookies.STATE))

    async def _sign_in(
        self, request: AnyRequest, provider: str, answer: Answer
    ) -> tuple[Opened, str | None]:
        return await sign_in.by_provider(
            visitor_of(request),
            provider,
            answer,
            state_cookie=request.cookies.get(cookies.STATE),
            refresh_token=refresh_token_of(request),
            means=self._means,
        )


def _path(provider: str) -> str:
    return f"/v1/auth/{'google' if provider == GOOGLE else f'oidc/{provider}'}/login"
