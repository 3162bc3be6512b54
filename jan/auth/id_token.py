"""ID tokens: what a provider says of a person, believed only if all of it is in order.

Source: OpenID Connect Core 1.0, sections 3.1.3.7 (validation) and 5.1 (claims).
"""

from dataclasses import dataclass
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from jan import clock
from jan.errors import Forbidden, SignInFailed
from jan.issuers import GOOGLE_ISSUER, OidcProvider

ALGORITHMS = ("RS256", "ES256")
"""The two that providers use. A list of ours, so that no token chooses its own: not `none`, and not
HS256 with a public key for its secret."""
LEEWAY_S = 30
"""By how much the provider's clock and ours may differ."""
MAX_SUBJECT_LENGTH = 255
"""Section 2: no longer than 255 ASCII characters."""
MAX_EMAIL_LENGTH = 254
"""RFC 5321, section 4.5.3.1.3, as corrected."""
MAX_NAME_LENGTH = 200

GOOGLE_ISSUERS = (GOOGLE_ISSUER, "accounts.google.com")
"""Google writes either. Source: https://developers.google.com/identity/openid-connect/reference"""

OTHER_SIGN_IN = "The provider's answer belongs to another sign-in. Begin again."
NO_EMAIL = "The provider tells no e-mail address, and Jan needs one."
UNVERIFIED = "The provider has not verified that the e-mail address is yours."
OTHER_DOMAIN = "People of this organization may not sign in here."
INCORRECT = "What the provider says of you is not in order, so Jan does not believe it."


class UnknownKey(Exception):
    """The token names a key that is not among those that we have."""


class Untrue(Exception):
    """The token is not in order; says why, for the log."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed in, as a provider says. `provider` and `subject` together are the person."""

    provider: str
    subject: str
    email: str
    """Verified, as the provider writes it."""
    name: str | None


def read(
    token: str, keys: KeySet, config: OidcProvider, *, nonce: str, access_token: str | None
) -> dict[str, Any]:
    """Return the claims of a token that `keys` signed for us, now, and for this sign-in.

    Raises:
        UnknownKey: fetch the keys anew.
        SignInFailed: it was made for another sign-in.
        Untrue: something else is wrong with it.
    """
    issuers = GOOGLE_ISSUERS if config.issuer == GOOGLE_ISSUER else (config.issuer,)
    try:
        # Not strict: some providers put fields of their own into the header.
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        decoded = jwt.decode(token, keys, algorithms=ALGORITHMS, registry=registry)
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {
                "iss": {"essential": True, "values": list(issuers)},
                "aud": {"essential": True, "value": config.client_id},
                "sub": {"essential": True},
            },
            {"nonce": nonce, "client_id": config.client_id, "access_token": access_token},
        )
        claims.validate(now=int(clock.now().timestamp()), leeway=LEEWAY_S)
    except InvalidKeyIdError as error:
        raise UnknownKey from error
    except ClaimError as error:
        if error.claim == "nonce":
            raise SignInFailed(OTHER_SIGN_IN) from error
        raise Untrue(str(error)) from error
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise Untrue(str(error)) from error
    return dict(claims)


def identity(provider: str, config: OidcProvider, claims: dict[str, Any]) -> Identity:
    """Say who it is, if it is somebody whom Jan lets in.

    Raises:
        SignInFailed: the provider does not say who it is.
        Forbidden: the e-mail address is not verified, or the domain not among the allowed.
    """
    subject, email = claims.get("sub"), claims.get("email")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_LENGTH:
        raise SignInFailed(INCORRECT)
    if not isinstance(email, str) or not email:
        raise SignInFailed(NO_EMAIL)
    local, _, domain = email.rpartition("@")
    is_address = local and domain and len(email) <= MAX_EMAIL_LENGTH
    if not is_address or not email.isprintable() or not subject.isprintable() or " " in email:
        raise SignInFailed(INCORRECT)
    if claims.get("email_verified") is not True:  # "false" is true to Python
        raise Forbidden(UNVERIFIED)
    # Google: an account with an address of example.com need not be one of that organization's;
    # `hd` says whose it is. Elsewhere there is no such claim.
    home = claims.get("hd") if config.issuer == GOOGLE_ISSUER else domain
    allowed = config.allowed_domains
    if allowed and not (isinstance(home, str) and home.lower() in allowed):
        raise Forbidden(OTHER_DOMAIN)
    return Identity(provider, subject, email, _name(claims.get("name")))


def _name(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return "".join(filter(str.isprintable, value)).strip()[:MAX_NAME_LENGTH] or None
