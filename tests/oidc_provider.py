"""An OpenID provider on a real socket. It is strict, and says what a test wants it to say."""

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter
from pydantic import SecretStr

from jan.auth.oidc import Answer
from jan.issuers import OidcProvider
from tests.fakes import FakeUpstream, Reply, Seen

CLIENT_ID = "jan-at-the-fake"
CLIENT_SECRET = "s3cret/with+signs="
REDIRECT_URL = "http://127.0.0.1:8080/v1/auth/fake/callback"

Claims = dict[str, Any]
SigningKey = ECKey | RSAKey


@cache
def ec_key(number: int = 0) -> ECKey:
    """Make a key for ES256; the same for the same number."""
    return ECKey.generate_key("P-256", {"kid": f"ec-{number}", "use": "sig"})


@cache
def rsa_key() -> RSAKey:
    """Make a key for RS256."""
    return RSAKey.generate_key(2048, {"kid": "rsa-0"})


def sign(claims: Claims, key: SigningKey | None = None, **header: Any) -> str:
    """Write an ID token as a provider does."""
    key = key or ec_key()
    algorithm = "ES256" if isinstance(key, ECKey) else "RS256"
    anything = {name: HeaderParameter("", lambda _: None) for name in header}
    registry = JWSRegistry(anything, algorithms=[algorithm])
    return jwt.encode({"alg": algorithm, "kid": key.kid, **header}, claims, key, registry=registry)


@dataclass
class Code:
    """A code that was given out and not used yet."""

    challenge: str
    nonce: str


@dataclass
class FakeProvider:
    """The provider, what it says, and what was asked of it."""

    server: FakeUpstream
    person: Claims = field(
        default_factory=lambda: {
            "sub": "248289761001",
            "email": "jane@example.com",
            "email_verified": True,
            "name": "Jane Doe",
        }
    )
    """What it tells of whoever signs in."""
    changes: Claims = field(default_factory=dict[str, Any])
    """Claims that it adds to the token, or leaves out where they are None."""
    write: Callable[[Claims], str] = sign
    """Turns claims into an ID token."""
    keys: list[SigningKey] = field(default_factory=lambda: [ec_key()])
    """What it publishes."""
    listed: list[Any] = field(default_factory=list[Any])
    """What it publishes besides."""
    discovery: Claims = field(default_factory=dict[str, Any])
    """What its discovery document says besides, or instead."""
    userinfo: Claims | None = None
    """What it tells who comes with the access token."""
    takes_basic: bool = True
    """Whether the client's secret belongs into a header; else into the form."""
    denies: str | None = None
    """The error that people come back with."""
    codes: dict[str, Code] = field(default_factory=dict[str, Code])

    @property
    def config(self) -> OidcProvider:
        """What Jan has to be told."""
        return OidcProvider(
            issuer=self.server.url,
            client_id=CLIENT_ID,
            client_secret=SecretStr(CLIENT_SECRET),
            redirect_url=REDIRECT_URL,
        )

    def asked(self, path: str) -> int:
        """How many requests came to this path."""
        return sum(urlsplit(seen.target).path == path for seen in self.server.requests)

    async def visit(self, url: str) -> Answer:
        """Sign in as a person in a browser does; what comes back is what the browser is sent to."""
        async with httpx.AsyncClient() as browser:
            page = await browser.get(url)
        assert page.status_code == 302, page.text
        location = page.headers["location"]
        assert location.startswith(REDIRECT_URL + "?")
        return Answer(**dict(parse_qsl(urlsplit(location).query)))

    async def _describe(self, _: Seen, reply: Reply) -> None:
        at = self.server.url
        method = "client_secret_basic" if self.takes_basic else "client_secret_post"
        endpoints = {
            "issuer": at,
            "authorization_endpoint": f"{at}/authorize?ui=full",
            "token_endpoint": f"{at}/token",
            "jwks_uri": f"{at}/keys",
            "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported": [method],
        }
        if self.userinfo is not None:
            endpoints["userinfo_endpoint"] = f"{at}/userinfo"
        await reply.json(endpoints | self.discovery)

    async def _publish(self, _: Seen, reply: Reply) -> None:
        listed = KeySet(list(self.keys)).as_dict(private=False)["keys"]
        await reply.json({"keys": [*self.listed, *listed]})

    async def _authorize(self, seen: Seen, reply: Reply) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(seen.target).query).items()}
        expected = {
            "ui": "full",
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": REDIRECT_URL,
            "code_challenge_method": "S256",
        }
        wrong = {name for name, value in expected.items() if asked.get(name) != value}
        if wrong or "openid" not in asked["scope"].split() or len(asked["code_challenge"]) != 43:
            await reply.json({"error": "invalid_request", "wrong": sorted(wrong)}, 400)
            return
        if self.denies:
            back = {"error": self.denies, "state": asked["state"]}
        else:
            code = "4/" + secrets.token_urlsafe(16)
            self.codes[code] = Code(asked["code_challenge"], asked["nonce"])
            back = {"code": code, "state": asked["state"]}
        await reply.whole(b"", 302, location=f"{REDIRECT_URL}?{urlencode(back)}")

    async def _exchange(self, seen: Seen, reply: Reply) -> None:
        form = dict(parse_qsl(seen.body.decode()))
        if not self._is_known(seen, form):
            await reply.json({"error": "invalid_client"}, 401)
            return
        code = self.codes.pop(form.get("code", ""), None)
        proof = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(proof).rstrip(b"=").decode()
        is_good = (
            code is not None
            and code.challenge == challenge
            and form.get("redirect_uri") == REDIRECT_URL
            and form.get("grant_type") == "authorization_code"
        )
        if code is None or not is_good:
            await reply.json({"error": "invalid_grant", "error_description": "no"}, 400)
            return
        now = int(time.time())
        claims: Claims = {"iss": self.server.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300}
        claims |= {"nonce": code.nonce} | self.person | self.changes
        id_token = self.write({name: value for name, value in claims.items() if value is not None})
        answer = {"access_token": "for-userinfo", "token_type": "Bearer", "expires_in": 300}
        await reply.json(answer | {"id_token": id_token}, set_cookie="session=1")

    def _is_known(self, seen: Seen, form: dict[str, str]) -> bool:
        if not self.takes_basic:
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        scheme, _, encoded = seen.headers.get("authorization", "").partition(" ")
        said = base64.b64decode(encoded).decode()
        return scheme == "Basic" and unquote(said) == f"{CLIENT_ID}:{CLIENT_SECRET}"

    async def _tell(self, seen: Seen, reply: Reply) -> None:
        if seen.headers.get("authorization") != "Bearer for-userinfo":
            await reply.json({"error": "invalid_token"}, 401)
            return
        await reply.json(self.userinfo)


@asynccontextmanager
async def fake_provider() -> AsyncGenerator[FakeProvider]:
    """Run one that behaves until its fields or `server.script(path, ...)` say otherwise."""
    server = FakeUpstream()
    provider = FakeProvider(server)
    server.scripts = {
        "/.well-known/openid-configuration": provider._describe,
        "/keys": provider._publish,
        "/authorize": provider._authorize,
        "/token": provider._exchange,
        "/userinfo": provider._tell,
    }
    await server.start()
    try:
        yield provider
    finally:
        await server.kill()
