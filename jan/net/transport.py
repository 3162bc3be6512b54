"""The way out for httpx2 clients: checks each request, pins each connection, bounds each answer."""

import ssl

import httpcore2
import httpx2

from jan.errors import UrlNotFetched
from jan.net.bodies import ENCODINGS, Bounded, too_long
from jan.net.connecting import PinnedBackend
from jan.net.policy import Policy
from jan.net.resolver import Resolver

MAX_CONNECTIONS = 200
KEEPALIVE_S = 5.0

LIMIT = "jan_max_bytes"
"""Extension of a request that has another limit."""


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """Refuses what the policy does, however a client came to ask for it."""

    def __init__(
        self, policy: Policy, resolver: Resolver, tls: ssl.SSLContext, *, max_bytes: int
    ) -> None:
        super().__init__(verify=tls, trust_env=False)
        # httpx2 has no way to say how connections are made; httpcore2, which it is made of, does.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEPALIVE_S,
            network_backend=PinnedBackend(policy, resolver),
        )
        self._policy = policy
        self._max_bytes = max_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. The body of what it returns is unpacked, and ends at the limit.

        Raises:
            UrlRefused, UrlNotFetched: as they say.
            httpx2.TransportError: it went wrong on the way.
        """
        request.url = self._policy.read(request.url)
        request.headers["accept-encoding"] = "gzip"
        response = await super().handle_async_request(request)
        try:
            return self._bounded(response, request.extensions.get(LIMIT, self._max_bytes))
        except UrlNotFetched:
            await response.aclose()
            raise

    def _bounded(self, response: httpx2.Response, limit_bytes: int) -> httpx2.Response:
        said = response.headers.get("content-encoding", "identity").strip().lower()
        encoding = None if said in {"", "identity"} else said
        length = response.headers.get("content-length", "")
        if encoding is not None:
            if encoding not in ENCODINGS:
                raise UrlNotFetched("Its answer is packed in a way that was not asked for.")
            del response.headers["content-encoding"]
            response.headers.pop("content-length", None)
        elif length.isdecimal() and int(length) > limit_bytes:
            raise too_long(limit_bytes)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = Bounded(response.stream, encoding, limit_bytes)
        return response
