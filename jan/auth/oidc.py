"""Signing in at an OpenID provider: authorization code flow with PKCE, state and nonce.

`begin` sends a person to the provider and leaves a sealed cookie; `finish` takes both back. Neither
knows HTTP: routes set and delete the cookie, and decide who the person is here.
Source: OpenID Connect Core 1.0, section 3.1; RFC 7636 (PKCE); RFC 9700 (best practice).
"""

import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import structlog
from joserfc.jwk import KeySet

from jan import clock
from jan.auth import id_token
from jan.auth.id_token import Identity, UnknownKey, Untrue
from jan.auth.pending import LIFETIME_S, Pending, Sealer
from jan.auth.provider import Bounded, Grant, Provider
from jan.errors import InvalidRequest, NotFound, SignInFailed
from jan.issuers import GOOGLE_ISSUER, OidcProvider

RANDOM_BYTES = 32
"""43 characters: the shortest that PKCE allows a verifier to be (RFC 7636, section 4.1)."""

OTHER_STATE = "The provider's answer does not belong to the sign-in of this browser. Begin again."
OTHER_PROVIDER = "The sign-in was begun with another provider. Begin again."
DENIED = "The sign-in was cancelled, or the provider did not allow it."
ENDED = "The provider ended the sign-in with an error. Begin again."
NO_CODE = "The provider's answer has no code. Begin again."

_CODE = re.compile(r"[\x20-\x7e]{1,4096}")
"""RFC 6749, appendix A.11, and a length that no provider comes near."""
_LOCAL_PATH = re.compile(r"/(?![/\\])[^\x00-\x20\\\x7f]{0,1023}")

log = structlog.get_logger("jan.auth")


@dataclass(frozen=True, slots=True)
class Begun:
    """Where to send the person, and what to leave in the browser for `LIFETIME_S`."""

    url: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Who came back, and where that person wanted to go."""

    identity: Identity
    redirect: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider sent back with the person, as it came: nothing of it is believed yet."""

    code: str | None = None
    state: str | None = None
    error: str | None = None


def is_local_path(url: str) -> bool:
    """Whether a browser that is sent there stays on this site, whatever it makes of the text."""
    return _LOCAL_PATH.fullmatch(url) is not None


class Oidc:
    """The configured providers. One per process, closed at its end."""

    def __init__(
        self,
        providers: Mapping[str, OidcProvider],
        *,
        secret: str,
        previous_secrets: Iterable[str] = (),
    ) -> None:
        self._transport = Bounded()
        self._sealer = Sealer(secret, previous_secrets)
        self._providers = {
            name: Provider(name, config, self._transport) for name, config in providers.items()
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        await self._transport.aclose()

    @property
    def names(self) -> tuple[str, ...]:
        """The providers that a person can choose from."""
        return tuple(self._providers)

    async def begin(self, provider_name: str, *, redirect: str | None = None) -> Begun:
        """Begin a sign-in. `redirect` is a path of this site.

        Raises:
            NotFound: no such provider is configured.
            InvalidRequest: `redirect` leads elsewhere.
            Unavailable: the provider does not answer.
        """
        provider = self._provider(provider_name)
        if redirect is not None and not is_local_path(redirect):
            raise InvalidRequest("The redirect must be a path of this site.", param="redirect")
        state, nonce, verifier = (secrets.token_urlsafe(RANDOM_BYTES) for _ in range(3))
        url = await provider.authorization_url(
            state=state, nonce=nonce, verifier=verifier, **_hint(provider.config)
        )
        expires_at = int(clock.now().timestamp()) + LIFETIME_S
        pending = Pending(provider_name, state, nonce, verifier, redirect, expires_at)
        return Begun(url, self._sealer.seal(pending))

    async def finish(self, provider_name: str, answer: Answer, *, cookie: str | None) -> Finished:
        """Say who came back. Delete the cookie, whatever comes of it: it serves once.

        Raises:
            NotFound: no such provider is configured.
            SignInFailed: the answer is not for this browser's sign-in, came too late, or says that
                there was none; or what the provider tells is not in order.
            Forbidden: the e-mail address is not verified, or the domain not among the allowed.
            Unavailable: the provider does not answer.
            Misconfigured: the provider does not accept this Jan.
        """
        provider = self._provider(provider_name)
        pending = self._sealer.open(cookie)
        if pending.provider != provider_name:
            raise SignInFailed(OTHER_PROVIDER)
        if not hmac.compare_digest(pending.state.encode(), _bytes(answer.state)):
            raise SignInFailed(OTHER_STATE)
        if answer.error is not None:
            # Looked at before the exchange, where it would come out as a missing code.
            log.info("a sign-in was denied", provider=provider_name, error=answer.error[:100])
            raise SignInFailed(DENIED if answer.error == "access_denied" else ENDED)
        if answer.code is None or not _CODE.fullmatch(answer.code):
            raise SignInFailed(NO_CODE)
        grant = await provider.exchange(answer.code, pending.verifier)
        try:
            claims = await _claims(provider, grant, pending.nonce)
        except Untrue as untrue:
            log.warning("an ID token is not in order", provider=provider_name, reason=str(untrue))
            raise SignInFailed(id_token.INCORRECT) from untrue
        identity = id_token.identity(provider_name, provider.config, claims)
        return Finished(identity, pending.redirect)

    def _provider(self, name: str) -> Provider:
        provider = self._providers.get(name)
        if provider is None:
            raise NotFound(f"There is no sign-in provider `{name}`.")
        return provider


async def _claims(provider: Provider, grant: Grant, nonce: str) -> dict[str, Any]:
    """Read the ID token, and ask for the e-mail address where the token has none."""
    claims = await _token_claims(provider, grant, nonce)
    if claims.get("email") is not None or grant.access_token is None:
        return claims
    told = await provider.userinfo(grant.access_token)
    if not told:
        return claims
    if told.get("sub") != claims["sub"]:  # section 5.3.2: it could be of somebody else
        raise Untrue("userinfo is of somebody else")
    # Whether an address is verified is for the one to say who tells the address.
    return claims | {name: told.get(name) for name in ("email", "email_verified", "name")}


async def _token_claims(provider: Provider, grant: Grant, nonce: str) -> dict[str, Any]:
    def read(keys: KeySet) -> dict[str, Any]:
        access_token = grant.access_token
        return id_token.read(
            grant.id_token, keys, provider.config, nonce=nonce, access_token=access_token
        )

    keys = await provider.keys()
    try:
        return read(keys)
    except UnknownKey:
        keys = await provider.keys(other_than=keys)
    try:
        return read(keys)
    except UnknownKey as unknown:
        raise Untrue("it names a key that the provider does not publish") from unknown


def _hint(config: OidcProvider) -> dict[str, str]:
    """Let Google offer only the accounts that would be let in. Only a hint: `hd` is checked."""
    if config.issuer == GOOGLE_ISSUER and len(config.allowed_domains) == 1:
        return {"hd": config.allowed_domains[0]}
    return {}


def _bytes(text: str | None) -> bytes:
    return (text or "").encode("utf-8", "surrogatepass")
