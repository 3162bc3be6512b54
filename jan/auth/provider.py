"""HTTP with one OpenID provider: its discovery document, its keys, the exchange of a code.

Nothing is fetched before somebody signs in. What was fetched is kept for a while; what failed is
tried again by the next who needs it. Source: OpenID Connect Discovery 1.0; RFC 6749, section 4.1.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread
import httpx2
import msgspec
import structlog
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, RSAKey

from jan import clock
from jan.errors import JanError, Misconfigured, SignInFailed, Unavailable
from jan.issuers import OidcProvider, is_protected

STEP_TIMEOUT_S = 5.0
"""Longest wait for a connection, and for the next bytes."""
TIMEOUT_S = 10.0
"""Longest wait for a whole answer."""
MAX_ANSWER_BYTES = 256 * 1024
"""Discovery documents have some 3 KB, key sets up to 20."""
LIFETIME_S = 3600.0
"""How long endpoints and keys are kept: a key that the provider withdraws is refused so soon."""
MIN_RSA_BITS = 2048
"""RFC 7518, section 3.3."""

CODE_REFUSED = (
    "The provider did not take its own code: it was used before or is too old. Begin again."
)
SILENT = "The sign-in provider `{}` does not answer as it should. Try again later."
MISCONFIGURED = "The sign-in provider `{}` does not accept this Jan as it is configured."

CODE_IS_BAD = "invalid_grant"
OURS_TO_MEND = frozenset(
    (
        *("invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"),
        *("invalid_request", "redirect_uri_mismatch"),
    )
)
"""Errors that say that this Jan is registered or configured wrongly (RFC 6749, section 5.2, and one
of Google's). All others are the provider's trouble."""

NONSENSE = (ValueError, TypeError, ArithmeticError, RecursionError, msgspec.MsgspecError)
"""What parsers raise for an answer that is not what it should be."""
TROUBLE = (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, *NONSENSE)
"""What a request raises that came to nothing."""

T = TypeVar("T")
log = structlog.get_logger("jan.auth")


class Metadata(msgspec.Struct, frozen=True):
    """What Jan needs of a discovery document."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class Grant(msgspec.Struct, frozen=True):
    """What a code was exchanged for."""

    id_token: str
    access_token: str | None = None


class Bounded(httpx2.AsyncBaseTransport):
    """Reads whole answers, up to a limit, and takes none that is compressed: it could be a bomb."""

    def __init__(self) -> None:
        self._inner: httpx2.AsyncHTTPTransport | None = None
        self._lock = anyio.Lock()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and read its answer."""
        request.headers["accept-encoding"] = "identity"
        response = await (await self._connections()).handle_async_request(request)
        body = bytearray()
        try:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise httpx2.RemoteProtocolError("the answer is compressed", request=request)
            async for part in response.aiter_raw():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise httpx2.RemoteProtocolError("the answer is too long", request=request)
        finally:
            await response.aclose()
        return httpx2.Response(
            response.status_code, headers=response.headers, content=bytes(body), request=request
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._inner is not None:
            await self._inner.aclose()

    async def _connections(self) -> httpx2.AsyncHTTPTransport:
        async with self._lock:
            if self._inner is None:
                # It reads the certificates of the machine, for some 30 ms.
                self._inner = await anyio.to_thread.run_sync(httpx2.AsyncHTTPTransport)
            return self._inner


class Kept(Generic[T]):
    """A thing that is fetched when first needed: by one, while the others wait for the same."""

    def __init__(self, fetch: Callable[[], Awaitable[T]]) -> None:
        self._fetch = fetch
        self._lock = anyio.Lock()
        self._value: T | None = None
        self._fetched_s = 0.0
        self._failure: Unavailable | None = None
        self._failed_s = 0.0

    async def get(self, *, other_than: T | None = None) -> T:
        """Return it, fetching it anew where it is old or the very one that did not help.

        Raises:
            Unavailable: it can't be fetched.
        """
        asked_s = clock.monotonic_s()
        async with self._lock:
            if self._value is not None and self._value is not other_than and self._is_fresh():
                return self._value
            if self._failure is not None and self._failed_s >= asked_s:
                # It failed while we waited: one after the other, all would wait for ever longer.
                raise Unavailable(self._failure.message)
            try:
                value = await self._fetch()
            except Unavailable as failure:
                self._failure, self._failed_s = failure, clock.monotonic_s()
                raise
            self._value, self._fetched_s, self._failure = value, clock.monotonic_s(), None
            return value

    def _is_fresh(self) -> bool:
        return clock.monotonic_s() - self._fetched_s < LIFETIME_S


class Provider:
    """One provider. Its methods raise Unavailable where it does not answer as it should."""

    def __init__(
        self, name: str, config: OidcProvider, transport: httpx2.AsyncBaseTransport
    ) -> None:
        self.name = name
        self.config = config
        self._transport = transport
        self._metadata = Kept(self._discover)
        self._keys = Kept(self._fetch_keys)

    async def metadata(self) -> Metadata:
        """Tell its endpoints."""
        return await self._metadata.get()

    async def keys(self, *, other_than: KeySet | None = None) -> KeySet:
        """Tell the keys that it signs with; newer ones than those that did not help."""
        return await self._keys.get(other_than=other_than)

    async def authorization_url(self, *, state: str, nonce: str, verifier: str, **more: str) -> str:
        """Write the address at which a person signs in."""
        metadata = await self.metadata()
        client = self._client(metadata)
        try:
            url, _ = client.create_authorization_url(
                metadata.authorization_endpoint, state, verifier, nonce=nonce, **more
            )
        except ValueError as error:
            raise self._failed("authorization endpoint", error) from error
        return url

    async def exchange(self, code: str, verifier: str) -> Grant:
        """Turn the code into tokens.

        Raises:
            SignInFailed: the code is no longer good.
            Misconfigured: the provider does not know this Jan as it is configured.
        """
        metadata = await self.metadata()
        client = self._client(metadata)
        try:
            with anyio.fail_after(TIMEOUT_S):
                answer = await client.fetch_token(
                    metadata.token_endpoint,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=verifier,
                )
            return msgspec.convert(dict(answer), Grant)
        except OAuthError as error:
            raise self._refused(str(error.error)) from error
        except TROUBLE as error:
            raise self._failed("exchange", error) from error

    async def userinfo(self, access_token: str) -> dict[str, Any]:
        """Ask what the ID token did not say of the person. Nothing where that is not offered."""
        url = (await self.metadata()).userinfo_endpoint
        if url is None:
            return {}
        body = await self._get(url, {"authorization": f"Bearer {access_token}"})
        return self._decoded(body, dict[str, Any])

    async def _discover(self) -> Metadata:
        body = await self._get(self.config.issuer.rstrip("/") + "/.well-known/openid-configuration")
        metadata = self._decoded(body, Metadata)
        if metadata.issuer != self.config.issuer:
            raise self._failed("discovery", ValueError(f"the issuer is {metadata.issuer!r}"))
        endpoints = (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri)
        for url in (*endpoints, metadata.userinfo_endpoint):
            if url is not None and not self._may_be_asked(url):
                raise self._failed("discovery", ValueError(f"the endpoint {url!r} is not https"))
        return metadata

    def _may_be_asked(self, url: str) -> bool:
        # On this machine only if the provider itself is here: no provider elsewhere sends us to
        # what listens on loopback.
        is_here = self.config.issuer.startswith("http:")
        return is_protected(url) and (is_here or url.startswith("https:"))

    async def _fetch_keys(self) -> KeySet:
        body = await self._get((await self.metadata()).jwks_uri)
        listed = self._decoded(body, dict[str, Any]).get("keys")
        keys = [key for each in (listed if isinstance(listed, list) else []) for key in _key(each)]
        if not keys:
            raise self._failed("keys", ValueError("none is usable"))
        return KeySet(keys)

    async def _get(self, url: str, headers: Mapping[str, str] = {}) -> bytes:
        try:
            with anyio.fail_after(TIMEOUT_S):
                client = httpx2.AsyncClient(transport=self._transport, timeout=STEP_TIMEOUT_S)
                answer = await client.get(url, headers={"accept": "application/json", **headers})
            answer.raise_for_status()
        except TROUBLE as error:
            raise self._failed(url, error) from error
        return answer.content

    def _decoded(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.convert(json.loads(body), kind)
        except NONSENSE as error:
            raise self._failed("answer", error) from error

    def _client(self, metadata: Metadata) -> AsyncOAuth2Client:
        """Make a client for one sign-in: it keeps tokens and cookies to itself."""
        offered = metadata.token_endpoint_auth_methods_supported
        is_basic = "client_secret_basic" in offered or "client_secret_post" not in offered
        return AsyncOAuth2Client(
            self.config.client_id,
            self.config.client_secret.get_secret_value(),
            token_endpoint_auth_method="client_secret_basic" if is_basic else "client_secret_post",
            scope=" ".join(self.config.scopes),
            redirect_uri=self.config.redirect_url,
            code_challenge_method="S256",
            transport=self._transport,
            timeout=STEP_TIMEOUT_S,
        )

    def _refused(self, code: str) -> JanError:
        log.warning("a provider refused a code", provider=self.name, error=code)
        if code == CODE_IS_BAD:
            return SignInFailed(CODE_REFUSED)
        if code in OURS_TO_MEND:
            return Misconfigured(MISCONFIGURED.format(self.name))
        return Unavailable(SILENT.format(self.name))

    def _failed(self, what: str, error: Exception) -> Unavailable:
        reason = str(error) or type(error).__name__
        log.warning("a provider failed", provider=self.name, what=what, reason=reason)
        return Unavailable(SILENT.format(self.name))


def _key(value: object) -> list[Key]:
    """Read a public key that can be used here; the others of a set are no trouble."""
    if not isinstance(value, dict) or value.get("use", "sig") != "sig":
        return []
    try:
        if value.get("kty") == "EC":
            return [ECKey.import_key(value)]
        # Short keys are refused, and joserfc would only warn of them.
        if value.get("kty") == "RSA" and len(str(value.get("n"))) * 6 >= MIN_RSA_BITS:
            return [RSAKey.import_key(value)]
    except (JoseError, *NONSENSE):
        pass
    return []
