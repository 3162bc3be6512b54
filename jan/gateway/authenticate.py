"""From the credential in a request's headers to the caller, once, at the edge."""

from collections.abc import Iterable
from typing import Any, cast

from litestar.types import ASGIApp, Receive, Scope, Send

from jan import telemetry
from jan.errors import Unauthorized
from jan.gateway.parts import Keys


class Authenticate:
    """Middleware: lets known callers through, as `scope["user"]`, and refuses all others."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app = app
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request.

        Raises:
            Unauthorized: no key, or one that does not work.
            DatabaseUnavailable: whether it works can't be found out now.
        """
        key = credential(scope["headers"])
        caller = self.keys.known(key) or await self.keys.resolve(key)
        scope["user"] = caller
        telemetry.exchange_of(cast("dict[str, Any]", scope)).key_id = caller.key_id
        await self.app(scope, receive, send)


def credential(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Find the key in `Authorization: Bearer` or, as Anthropic's clients send it, `x-api-key`.

    Raises:
        Unauthorized: neither is there.
    """
    api_key: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            if scheme.lower() == b"bearer" and token.strip():
                return token.strip().decode("latin-1")
        elif name == b"x-api-key" and value.strip():
            api_key = value.strip()
    if api_key is None:
        raise Unauthorized(
            "You did not provide an API key. Send it as `Authorization: Bearer YOUR_KEY`."
        )
    return api_key.decode("latin-1")
