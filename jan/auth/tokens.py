"""Access tokens, which say who is calling for 15 minutes, and refresh tokens, which get new ones.

An access token is a JWT that this Jan signed (HS256), for itself. Of several secrets the first
signs; `kid` names the one, so that tokens signed before a change of secrets are read until they
expire. A refresh token says nothing: it is random, and only its digest is stored.
Source: RFC 7519; RFC 8725, sections 3.1 (algorithms), 3.8 and 3.9 (iss, aud), 3.11 (typ).
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt

from jan import clock, ids
from jan.errors import TokenExpired, Unauthorized

ALGORITHM = "HS256"
TYPE = "access"
"""Claim `typ`. Whatever else is ever signed with the same secret must have another."""
ISSUER = "jan"
AUDIENCE = "jan"
LIFETIME_S = 15 * 60
LEEWAY_S = 10
"""By how much the clocks of two machines may differ."""
MAX_LENGTH = 1024
"""Ours have some 400 characters. Longer ones are not even looked at."""

EXPIRED = "The access token has expired."
INCORRECT = "The access token is incorrect."

REFRESH_PREFIX = "jrt_"
REFRESH_BYTES = 32
_REFRESH = re.compile(REFRESH_PREFIX + "[A-Za-z0-9_-]{43}")
_REQUIRED = ["typ", "iss", "aud", "sub", "sid", "jti", "iat", "exp"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What an access token says. That it is true still: ask the session."""

    user_id: str
    session_id: str
    token_id: str
    expires_at: int
    """Unix seconds."""


class AccessTokens:
    """Issues access tokens under `secret` and reads those under it or a previous one."""

    def __init__(self, secret: str, previous_secrets: Iterable[str] = ()) -> None:
        self._secret = secret.encode()
        self._kid = _kid(secret)
        self._secrets = {_kid(each): each.encode() for each in (*previous_secrets, secret)}

    def issue(self, *, user_id: str, session_id: str) -> str:
        """Make a token for a person who is signed in."""
        now = clock.now()
        claims = {
            "typ": TYPE,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user_id,
            "sid": session_id,
            "jti": ids.new("jti"),
            "iat": now,
            "exp": now + timedelta(seconds=LIFETIME_S),
        }
        return jwt.encode(claims, self._secret, ALGORITHM, headers={"kid": self._kid})

    def read(self, token: str) -> Claims:
        """Say what a token says.

        Raises:
            TokenExpired: it was good.
            Unauthorized: it is none of ours, or not for this use.
        """
        if len(token) > MAX_LENGTH or not token.isascii():
            raise Unauthorized(INCORRECT)
        try:
            claims = self._decoded(token)
        except jwt.ExpiredSignatureError:
            raise TokenExpired(EXPIRED) from None
        except jwt.InvalidTokenError:
            raise Unauthorized(INCORRECT) from None
        session_id = claims["sid"]
        if claims["typ"] != TYPE or not isinstance(session_id, str):
            raise Unauthorized(INCORRECT)
        return Claims(claims["sub"], session_id, claims["jti"], int(claims["exp"]))

    def _decoded(self, token: str) -> dict[str, Any]:
        secret = self._secrets.get(jwt.get_unverified_header(token).get("kid", ""))
        if secret is None:
            raise jwt.InvalidTokenError
        return jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=LEEWAY_S,
            options={"require": _REQUIRED, "strict_aud": True},
        )


def new_refresh_token() -> str:
    """Make one that nobody can guess (256 bits)."""
    return REFRESH_PREFIX + secrets.token_urlsafe(REFRESH_BYTES)


def is_refresh_token(text: str) -> bool:
    """Whether this was ever one: its beginning, its length, its characters."""
    return _REFRESH.fullmatch(text) is not None


def refresh_digest(token: str) -> str:
    """What is stored in a refresh token's place: its SHA-256, 64 hexadecimal digits.

    No secret is needed: there is nothing to guess, and sessions outlive a change of secrets.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def is_digest_of(token: str, digest: str) -> bool:
    """Whether `digest` is this token's. How long it takes says nothing about either."""
    return hmac.compare_digest(refresh_digest(token).encode(), digest.encode())


def _kid(secret: str) -> str:
    """Name a secret without telling it."""
    return hashlib.sha256(b"jan/jwt-kid/" + secret.encode()).hexdigest()[:8]
