"""The outbound guard: the one way to fetch what a user, a page or a model named.

What the operator configured (the model server, a mail server, a search engine's address) is no
matter of this guard.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import httpx2

from jan.errors import UrlNotFetched, UrlRefused
from jan.net.policy import Policy, port_of
from jan.net.resolver import Resolver, SystemResolver
from jan.net.transport import LIMIT, GuardedTransport
from jan.settings import Settings

USER_AGENT = "jan"
PUBLIC_HEADERS = frozenset({"accept", "accept-language", "user-agent"})
"""What goes along when one site sends us to another. Everything else may be a credential: sites
have headers of their own for them."""
MAX_SHOWN = 200
"""Of a URL, in words about it."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL led to."""

    url: str
    """Where it was in the end."""
    content_type: str
    """As the site wrote it; may be empty, or a lie."""
    body: bytes = field(repr=False)


class Guard:
    """Fetches from the public internet, and from what the operator allows beside it."""

    def __init__(  # noqa: PLR0913 - limits, each by its name
        self,
        policy: Policy,
        *,
        timeout_s: float = 15.0,
        max_bytes: int = 16 * 1024 * 1024,
        max_redirects: int = 5,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.policy = policy
        self.timeout_s = timeout_s
        self.max_bytes = max_bytes
        self.max_redirects = max_redirects
        self._resolver: Resolver = resolver or SystemResolver()
        self._tls = tls or httpx2.create_ssl_context()
        self._transport = self._new_transport(max_bytes)

    @classmethod
    def configured(cls, settings: Settings) -> Self:
        return cls(
            Policy.configured(settings),
            timeout_s=settings.outbound_timeout_s,
            max_bytes=settings.outbound_max_bytes,
            max_redirects=settings.outbound_max_redirects,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.aclose()
        self._resolver.close()

    def client(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        max_bytes: int | None = None,
    ) -> httpx2.AsyncClient:
        """Make a client for a library that speaks HTTP itself, such as the MCP SDK.

        Every request of it is checked as those of `fetch`, and every answer is bounded, streams
        too. It follows no redirect, so `headers` go only where the library asks. It has
        connections and cookies of its own: close it. `timeout_s` is for each step, not for all.
        """
        return httpx2.AsyncClient(
            transport=self._new_transport(max_bytes or self.max_bytes),
            headers={"user-agent": USER_AGENT, **(headers or {})},
            timeout=httpx2.Timeout(timeout_s or self.timeout_s),
            follow_redirects=False,
            trust_env=False,
        )

    async def fetch(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        max_bytes: int | None = None,
    ) -> Fetched:
        """Fetch a document. `headers` of the caller's stay with the first site.

        Raises:
            UrlRefused: it, or what it redirects to, may not be fetched.
            UrlNotFetched: it could not be; or it is longer, or took longer, than is allowed.
        """
        limit_s = timeout_s or self.timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await self._follow(
                    self.policy.read(url),
                    httpx2.Headers({"user-agent": USER_AGENT, "accept": "*/*", **(headers or {})}),
                    max_bytes or self.max_bytes,
                )
        except UrlNotFetched as error:
            kind = UrlRefused if isinstance(error, UrlRefused) else UrlNotFetched
            why = error.message
        except (TimeoutError, httpx2.TimeoutException):
            kind, why = UrlNotFetched, f"It took longer than {limit_s:g} seconds."
        except httpx2.HTTPError as error:
            kind, why = UrlNotFetched, _words(error)
        raise kind(f"Can't fetch {_shown(url)}: {why[:1].lower()}{why[1:]}")

    async def _follow(self, url: httpx2.URL, headers: httpx2.Headers, limit_bytes: int) -> Fetched:
        for _ in range(self.max_redirects + 1):
            response = await self._transport.handle_async_request(
                httpx2.Request("GET", url, headers=headers, extensions={LIMIT: limit_bytes})
            )
            try:
                if response.status_code not in REDIRECTS:
                    return await _read(url, response)
                elsewhere = self._elsewhere(url, response)
            finally:
                await response.aclose()
            if _origin(elsewhere) != _origin(url):
                headers = httpx2.Headers(
                    [(name, value) for name, value in headers.items() if name in PUBLIC_HEADERS]
                )
            url = elsewhere
        raise UrlNotFetched(f"It was sent elsewhere more than {self.max_redirects} times.")

    def _elsewhere(self, url: httpx2.URL, response: httpx2.Response) -> httpx2.URL:
        try:
            return self.policy.read(url.join(response.headers["location"]))
        except (KeyError, httpx2.InvalidURL):
            raise UrlNotFetched("It was sent to nowhere.") from None

    def _new_transport(self, max_bytes: int) -> GuardedTransport:
        return GuardedTransport(self.policy, self._resolver, self._tls, max_bytes=max_bytes)


async def _read(url: httpx2.URL, response: httpx2.Response) -> Fetched:
    if not response.is_success:
        raise UrlNotFetched(f"The answer has status {response.status_code}.")
    body = await response.aread()
    return Fetched(str(url), response.headers.get("content-type", ""), body)


def _origin(url: httpx2.URL) -> tuple[str, bytes, int]:
    return url.scheme, url.raw_host, port_of(url)


def _words(error: httpx2.HTTPError) -> str:
    """Say what went wrong on the way, without what the other side said."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"Its certificate is not good: {cause.verify_message}."
        if isinstance(cause, ssl.SSLError):
            return "It speaks no TLS that is understood."
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.ConnectError):
        return "No connection could be made."
    return "Its answer broke off, or is no HTTP."


def _shown(url: str) -> str:
    """Name a URL without what may be secret in it."""
    try:
        read = httpx2.URL(url)
    except httpx2.InvalidURL:
        return "the URL"
    place = f"{read.scheme}://{read.netloc.decode('ascii')}{read.path}"
    return f"`{place[:MAX_SHOWN]}`" if read.netloc else "the URL"
