"""From the credential in a request's headers to the caller, once, at the edge."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from litestar.types import ASGIApp, Receive, Scope, Send

from jan import telemetry
from jan.auth.cache import Credential
from jan.errors import Unauthorized
from jan.gateway.parts import Credentials

Challenge = Callable[[Mapping[str, Any]], str]
"""Says how to come in where others say only `Bearer`."""


class Authenticate:
    """Middleware: lets known callers through, as `scope["user"]`, and refuses all others."""

    def __init__(
        self, app: ASGIApp, credentials: Credentials, challenge: Challenge | None = None
    ) -> None:
        self.app = app
        self.credentials = credentials
        self.challenge = challenge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request.

        Raises:
            Unauthorized: no credential, or one that does not work.
            NotFound: the organization or the project that the request names is not the caller's.
            DatabaseUnavailable: whether it works can't be found out now.
        """
        try:
            presented = credential(scope["headers"])
            caller = self.credentials.known(presented) or await self.credentials.resolve(presented)
        except Unauthorized as error:
            if self.challenge is not None:
                error.challenge = self.challenge(cast("dict[str, Any]", scope))
            raise
        scope["user"] = caller
        telemetry.exchange_of(cast("dict[str, Any]", scope)).caller = caller
        await self.app(scope, receive, send)


def credential(headers: Iterable[tuple[bytes, bytes]]) -> Credential:
    """Find the token in `Authorization: Bearer` or, as Anthropic's clients send it, `x-api-key`.

    Where a caller has several organizations or projects, OpenAI's headers say which is meant.

    Raises:
        Unauthorized: neither is there.
    """
    token = api_key = organization_id = project_id = b""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, said = value.partition(b" ")
            if scheme.lower() == b"bearer":
                token = said.strip()
        elif name == b"x-api-key":
            api_key = value.strip()
        elif name == b"openai-organization":
            organization_id = value.strip()
        elif name == b"openai-project":
            project_id = value.strip()
    if not (token or api_key):
        raise Unauthorized(
            "You did not provide an API key. Send it as `Authorization: Bearer YOUR_KEY`."
        )
    return Credential(
        (token or api_key).decode("latin-1"),
        organization_id.decode("latin-1"),
        project_id.decode("latin-1"),
    )
