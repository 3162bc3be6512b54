"""ID tokens: one that is in order is believed, and none that is not."""

import base64
import hmac
import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import KeySet
from pydantic import SecretStr

from jan.auth import id_token
from jan.auth.id_token import UnknownKey, Untrue
from jan.errors import Forbidden, SignInFailed
from jan.issuers import GOOGLE_ISSUER, OidcProvider
from tests.oidc_provider import CLIENT_ID, Claims, ec_key, rsa_key, sign

ISSUER = "https://login.example.com"
NONCE = "n-0S6_WzA2Mj"
CONFIG = OidcProvider(
    issuer=ISSUER,
    client_id=CLIENT_ID,
    client_secret=SecretStr("secret"),
    redirect_url="https://jan.example.com/back",
)
PERSON: Claims = {
    "sub": "248289761001",
    "email": "jane@example.com",
    "email_verified": True,
    "name": "Jane Doe",
}


def claims(**changes: Any) -> Claims:
    now = int(time.time())
    all_of_them = {"iss": ISSUER, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": NONCE}
    return all_of_them | PERSON | changes


def without(name: str) -> Claims:
    return {key: value for key, value in claims().items() if key != name}


def read(token: str, config: OidcProvider = CONFIG) -> Claims:
    keys = KeySet([ec_key(), rsa_key()])
    return id_token.read(token, keys, config, nonce=NONCE, access_token="for-userinfo")


def of_parts(header: object, payload: object, signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def confused() -> str:
    """Signed with HS256, under what everybody knows: the public key."""
    unsigned = of_parts({"alg": "HS256", "kid": "rsa-0"}, claims()).removesuffix(".")
    signature = hmac.digest(rsa_key().as_pem(private=False), unsigned.encode(), "sha256")
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def altered(token: str) -> str:
    header, payload, signature = token.split(".")
    middle = len(payload) // 2
    other = "A" if payload[middle] != "A" else "B"
    return f"{header}.{payload[:middle]}{other}{payload[middle + 1 :]}.{signature}"


@pytest.mark.parametrize("key", [ec_key, rsa_key])
def test_a_token_that_is_in_order_is_believed(key: Callable[[], Any]) -> None:
    assert read(sign(claims(), key()))["sub"] == "248289761001"


@pytest.mark.parametrize(
    "token",
    [
        lambda: sign(claims(aud=[CLIENT_ID])),
        lambda: sign(claims(aud=[CLIENT_ID, "another"], azp=CLIENT_ID)),
        lambda: sign(claims(azp=CLIENT_ID)),
        lambda: sign(claims(exp=time.time() - id_token.LEEWAY_S / 2)),
        lambda: sign(claims(iat=time.time() + id_token.LEEWAY_S / 2)),
    ],
)
def test_what_the_specification_allows_is_allowed(token: Callable[[], str]) -> None:
    assert read(token())["sub"] == "248289761001"


def test_google_may_write_its_name_in_either_way() -> None:
    google = CONFIG.model_copy(update={"issuer": GOOGLE_ISSUER})

    for issuer in (GOOGLE_ISSUER, "accounts.google.com"):
        assert read(sign(claims(iss=issuer)), google)["iss"] == issuer
    with pytest.raises(Untrue):
        read(sign(claims(iss="login.example.com")))


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(lambda: sign(claims(iss="https://evil.example.com")), id="issuer"),
        pytest.param(lambda: sign(claims(iss=ISSUER + "/")), id="almost the issuer"),
        pytest.param(lambda: sign(claims(iss=[ISSUER])), id="issuer in a list"),
        pytest.param(lambda: sign(without("iss")), id="no issuer"),
        pytest.param(lambda: sign(claims(aud="another")), id="audience"),
        pytest.param(lambda: sign(claims(aud="another", azp=CLIENT_ID)), id="audience, but for us"),
        pytest.param(lambda: sign(claims(aud=[])), id="empty audience"),
        pytest.param(lambda: sign(without("aud")), id="no audience"),
        pytest.param(lambda: sign(claims(aud=[CLIENT_ID, "another"])), id="no azp"),
        pytest.param(lambda: sign(claims(azp="another")), id="azp"),
        pytest.param(lambda: sign(claims(exp=time.time() - 60)), id="expired"),
        pytest.param(lambda: sign(claims(exp=math.nan)), id="never expires"),
        pytest.param(lambda: sign(claims(exp=str(time.time() + 60))), id="expiry in words"),
        pytest.param(lambda: sign(without("exp")), id="no expiry"),
        pytest.param(lambda: sign(claims(iat=time.time() + 60)), id="from the future"),
        pytest.param(lambda: sign(claims(nbf=time.time() + 60)), id="not yet"),
        pytest.param(lambda: sign(without("sub")), id="no subject"),
        pytest.param(lambda: sign(claims(sub=5)), id="subject is a number"),
        pytest.param(lambda: sign(claims(at_hash="AAAA")), id="access token of another"),
        pytest.param(lambda: sign(claims(at_hash=[5])), id="odd at_hash"),
        pytest.param(lambda: of_parts({"alg": "none"}, claims()), id="none"),
        pytest.param(
            lambda: of_parts({"alg": "none", "kid": "ec-0"}, claims()), id="none with a key"
        ),
        pytest.param(lambda: of_parts({"alg": "nOnE", "kid": "ec-0"}, claims()), id="nOnE"),
        pytest.param(lambda: of_parts({"kid": "ec-0"}, claims(), b"x"), id="no algorithm"),
        pytest.param(
            lambda: of_parts({"alg": ["ES256"]}, claims(), b"x"), id="algorithm in a list"
        ),
        pytest.param(
            lambda: of_parts({"alg": "ES256", "kid": ["ec-0"]}, claims()), id="key in a list"
        ),
        pytest.param(lambda: of_parts(["ES256"], claims()), id="header is a list"),
        pytest.param(confused, id="HS256 with the public key"),
        pytest.param(
            lambda: sign(claims(), alg="ES256", kid="rsa-0"), id="key of the other algorithm"
        ),
        pytest.param(lambda: sign(claims(), ec_key(1), kid="ec-0"), id="key of another"),
        pytest.param(lambda: sign(claims(), crit=["mine"], mine=1), id="critical"),
        pytest.param(lambda: altered(sign(claims())), id="altered"),
        pytest.param(lambda: sign(claims())[:-4], id="cut off"),
        pytest.param(lambda: sign(claims()).rpartition(".")[0] + ".", id="not signed"),
        pytest.param(lambda: "", id="nothing"),
        pytest.param(lambda: "x", id="garbage"),
        pytest.param(lambda: "ä.ö.ü", id="umlauts"),
        pytest.param(lambda: "\udc80.a.b", id="half a character"),
        pytest.param(lambda: "..", id="dots"),
        pytest.param(lambda: "a.b.c.d.e", id="encrypted"),
        pytest.param(lambda: "." * 100_000, id="many dots"),
        pytest.param(lambda: "x" * 200_000, id="long"),
    ],
)
def test_a_token_that_is_not_in_order_is_not_believed(token: Callable[[], str]) -> None:
    with pytest.raises((Untrue, UnknownKey)):
        read(token())


def test_a_token_of_another_sign_in_is_told_apart() -> None:
    for other in (claims(nonce="other"), without("nonce")):
        with pytest.raises(SignInFailed, match="another sign-in"):
            read(sign(other))


@pytest.mark.parametrize(
    ("hd", "is_let_in"),
    [("example.com", True), ("Example.COM", True), ("evil.example", False), (None, False)],
)
def test_at_google_the_organization_counts_and_not_the_address(
    hd: str | None, is_let_in: bool
) -> None:
    """A private account may have an address of example.com, and `hd` only if that is its owner."""
    google = CONFIG.model_copy(
        update={"issuer": GOOGLE_ISSUER, "allowed_domains": ("example.com",)}
    )
    said = {**PERSON, "email": "jane@other.example.com", "hd": hd}

    if is_let_in:
        assert id_token.identity("google", google, said).email == "jane@other.example.com"
    else:
        with pytest.raises(Forbidden, match="organization"):
            id_token.identity("google", google, said)
        with pytest.raises(Forbidden, match="organization"):
            id_token.identity("google", google, {**said, "email": "jane@example.com"})


@pytest.mark.parametrize(
    "changes",
    [
        *({"sub": ""}, {"sub": "x" * 256}, {"sub": "a\x00b"}, {"sub": 5}),
        *({"email": "jane"}, {"email": "@example.com"}, {"email": "jane@"}, {"email": 5}),
        *(
            {"email": "j\x00@example.com"},
            {"email": "a b@example.com"},
            {"email": "x" * 300 + "@b"},
        ),
    ],
)
def test_what_cannot_be_a_person_is_refused(changes: Claims) -> None:
    with pytest.raises(SignInFailed):
        id_token.identity("corp", CONFIG, PERSON | changes)


@pytest.mark.parametrize(
    ("said", "name"),
    [(" Jane\x00\n Doe ", "Jane Doe"), ("", None), (5, None), ("x" * 999, "x" * 200)],
)
def test_a_name_is_taken_as_far_as_it_is_one(said: object, name: str | None) -> None:
    assert id_token.identity("corp", CONFIG, PERSON | {"name": said}).name == name
