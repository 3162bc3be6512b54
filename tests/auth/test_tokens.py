"""Access tokens: ours are read, and nothing else that looks like one."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jan import clock
from jan.auth import tokens
from jan.auth.tokens import AccessTokens
from jan.errors import TokenExpired, Unauthorized

SECRET = "a-secret-of-at-least-32-bytes-or-more"
OTHER = "another-secret-of-at-least-32-bytes-"
ACCESS = AccessTokens(SECRET)
TOKEN = ACCESS.issue(user_id="user_1", session_id="sess_1")
"""Good for 15 minutes, which a run of all tests may take: only to be damaged."""
KID = jwt.get_unverified_header(TOKEN)["kid"]


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says, with changes; None leaves a claim out."""
    now = int(clock.now().timestamp())
    good: dict[str, Any] = {
        "typ": "access",
        "iss": "jan",
        "aud": "jan",
        "sub": "user_1",
        "sid": "sess_1",
        "jti": "jti_1",
        "iat": now,
        "exp": now + 900,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def forge(
    payload: dict[str, Any],
    secret: str = SECRET,
    algorithm: str = "HS256",
    kid: str | None = KID,
) -> str:
    headers = {"kid": kid} if kid else {}
    return jwt.encode(payload, secret if algorithm != "none" else "", algorithm, headers=headers)


def of_header(header: str) -> str:
    """Put another header before a good token; in it, KID stands for the right one."""
    encoded = base64.urlsafe_b64encode(header.replace("KID", KID).encode()).rstrip(b"=").decode()
    return ".".join((encoded, *TOKEN.split(".")[1:]))


def refusal(token: str) -> Unauthorized:
    with pytest.raises(Unauthorized) as refused:
        ACCESS.read(token)
    return refused.value


def test_what_is_issued_is_read() -> None:
    token = ACCESS.issue(user_id="user_1", session_id="sess_1")

    said = ACCESS.read(token)

    assert (said.user_id, said.session_id) == ("user_1", "sess_1")
    assert 890 < said.expires_at - clock.now().timestamp() <= 900
    assert len(token) < tokens.MAX_LENGTH
    assert ACCESS.read(ACCESS.issue(user_id="user_1", session_id="s")).token_id != said.token_id


def test_a_forged_token_that_lacks_nothing_would_be_read() -> None:
    """Else the refusals below would prove nothing."""
    assert ACCESS.read(forge(claims())).user_id == "user_1"


def test_an_expired_token_is_told_apart() -> None:
    refused = refusal(forge(claims(exp=int(clock.now().timestamp()) - 60)))

    assert isinstance(refused, TokenExpired)
    assert refused.message == tokens.EXPIRED


@pytest.mark.parametrize(
    "changes",
    [
        *({"typ": "refresh"}, {"typ": "reset"}, {"typ": None}, {"typ": ["access"]}, {"typ": True}),
        *({"iss": "other"}, {"iss": None}, {"iss": "https://accounts.google.com"}),
        *({"aud": "other"}, {"aud": None}, {"aud": ["jan"]}, {"aud": ["jan", "other"]}),
        *({"sub": None}, {"sub": 5}, {"sub": ["user_1"]}, {"sub": {"id": "user_1"}}),
        *({"sid": None}, {"sid": 5}, {"jti": None}, {"jti": 5}),
        *({"exp": None}, {"exp": "soon"}, {"exp": 1e400}, {"exp": []}, {"iat": None}),
        *({"iat": 2**40}, {"iat": "now"}, {"nbf": 2**40}, {"nbf": {}}),
    ],
    ids=str,
)
def test_a_token_for_another_use_is_refused(changes: dict[str, Any]) -> None:
    refused = refusal(forge(claims(**changes)))

    assert type(refused) is Unauthorized
    assert refused.message == tokens.INCORRECT


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(lambda: forge(claims(), algorithm="none"), id="none"),
        pytest.param(lambda: forge(claims(), algorithm="none", kid=None), id="none without kid"),
        pytest.param(lambda: of_header('{"alg":"NONE","kid":"KID"}'), id="NONE"),
        pytest.param(lambda: forge(claims(), SECRET * 2, "HS512"), id="HS512 of another"),
        pytest.param(lambda: forge(claims(), kid=None), id="no kid"),
        pytest.param(lambda: forge(claims(), kid="00000000"), id="wrong kid"),
        pytest.param(lambda: forge(claims(), kid="../../dev/null"), id="kid is a path"),
        pytest.param(lambda: forge(claims(), OTHER), id="another secret"),
        pytest.param(lambda: forge(claims(), KID * 8), id="the kid for a secret"),
        pytest.param(lambda: of_header('{"alg":"HS256"}'), id="header changed"),
        pytest.param(lambda: of_header('{"alg":"HS256","kid":["KID"]}'), id="kid in a list"),
        pytest.param(lambda: of_header('{"alg":["HS256"],"kid":"KID"}'), id="algorithm in a list"),
        pytest.param(lambda: of_header('{"kid":"KID"}'), id="no algorithm"),
        pytest.param(lambda: of_header("[]"), id="header is a list"),
        pytest.param(lambda: of_header("["), id="header is not JSON"),
        pytest.param(lambda: of_header("[" * 400), id="deep header"),
        pytest.param(lambda: of_header('{"alg":"HS256","kid":"KID","b64":false}'), id="b64"),
        pytest.param(lambda: of_header('{"alg":"HS256","kid":"KID","crit":["x"]}'), id="crit"),
        pytest.param(lambda: TOKEN.rpartition(".")[0] + ".", id="signature cut off"),
        pytest.param(lambda: TOKEN[:-1], id="cut off"),
        pytest.param(lambda: TOKEN + "." + TOKEN, id="twice"),
        pytest.param(lambda: "", id="nothing"),
        pytest.param(lambda: "..", id="dots"),
        pytest.param(lambda: "Bearer " + TOKEN, id="with its scheme"),
        pytest.param(lambda: TOKEN + "\n", id="line"),
        pytest.param(lambda: TOKEN + "\udc80", id="half a character"),
        pytest.param(lambda: "ä" * 100, id="umlauts"),
        pytest.param(lambda: "\x00" * 100, id="zeros"),
        pytest.param(lambda: "x" * 5_000_000, id="huge"),
        pytest.param(lambda: forge(claims(more="x" * 2000)), id="good, but too long"),
        pytest.param(tokens.new_refresh_token, id="a refresh token"),
        pytest.param(lambda: "sk-jan-" + "x" * 38, id="a key"),
    ],
)
def test_what_is_not_ours_is_refused(token: Callable[[], str]) -> None:
    refused = refusal(token())

    assert type(refused) is Unauthorized
    assert refused.message == tokens.INCORRECT


def test_the_right_secret_with_another_algorithm_is_refused() -> None:
    """The key would fit: only the list of algorithms stands in the way."""
    long = AccessTokens("x" * 64)
    kid = jwt.get_unverified_header(long.issue(user_id="u", session_id="s"))["kid"]

    for algorithm in ("HS384", "HS512"):
        with pytest.raises(Unauthorized):
            long.read(forge(claims(), "x" * 64, algorithm, kid))
    assert long.read(forge(claims(), "x" * 64, "HS256", kid)).user_id == "user_1"


@settings(deadline=None)  # other tests run beside it
@given(place=st.integers(0, len(TOKEN) - 1), other=st.characters())
def test_a_character_that_is_changed_anywhere_is_noticed(place: int, other: str) -> None:
    changed = TOKEN[:place] + other + TOKEN[place + 1 :]

    if changed != TOKEN:
        assert refusal(changed).message == tokens.INCORRECT


@settings(deadline=None)  # other tests run beside it
@given(st.text(max_size=100) | st.lists(st.text(max_size=40), max_size=4).map(".".join))
def test_whatever_comes_is_refused_in_the_same_words(text: str) -> None:
    assert refusal(text).message == tokens.INCORRECT


@settings(deadline=None)  # other tests run beside it
@given(st.recursive(st.none() | st.text() | st.integers(), lambda x: st.dictionaries(st.text(), x)))
def test_whatever_a_header_says_is_refused_in_the_same_words(header: object) -> None:
    assert refusal(of_header(json.dumps(header))).message == tokens.INCORRECT


def test_a_change_of_secrets_leaves_tokens_good_until_the_old_one_is_dropped() -> None:
    changed, dropped = AccessTokens(OTHER, [SECRET]), AccessTokens(OTHER)
    old = ACCESS.issue(user_id="user_1", session_id="sess_1")
    new = changed.issue(user_id="user_2", session_id="sess_2")

    assert changed.read(old).user_id == "user_1"
    assert dropped.read(new).user_id == "user_2"
    for refuse in (lambda: dropped.read(old), lambda: ACCESS.read(new)):
        with pytest.raises(Unauthorized):
            refuse()


def test_clocks_may_differ_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(seconds=tokens.LEEWAY_S - 2))

    assert ACCESS.read(ACCESS.issue(user_id="ahead", session_id="s")).user_id == "ahead"


def test_a_secret_is_not_told_by_its_name() -> None:
    assert len(KID) == 8
    assert KID not in SECRET
    assert SECRET[:8] not in TOKEN


def test_a_refresh_token_is_like_no_other_and_known_by_its_looks() -> None:
    made = {tokens.new_refresh_token() for _ in range(1000)}

    assert len(made) == 1000
    assert all(token.startswith("jrt_") and tokens.is_refresh_token(token) for token in made)


@pytest.mark.parametrize(
    "damage",
    [
        lambda token: token[:-1],
        lambda token: token + "x",
        lambda token: token + "\n",
        lambda token: token.upper(),
        lambda token: token[4:],
        lambda token: token[:-1] + "ä",
        lambda token: token[:-1] + "\udc80",
        lambda _: "",
        lambda _: TOKEN,
    ],
)
def test_a_damaged_refresh_token_is_not(damage: Callable[[str], str]) -> None:
    assert not tokens.is_refresh_token(damage(tokens.new_refresh_token()))


def test_of_a_refresh_token_only_the_digest_need_be_kept() -> None:
    token, other = tokens.new_refresh_token(), tokens.new_refresh_token()
    digest = tokens.refresh_digest(token)

    assert len(digest) == 64
    assert token not in digest
    assert tokens.is_digest_of(token, digest)
    for stranger in (other, token[:-1], "", "ä\udc80"):
        assert not tokens.is_digest_of(stranger, digest)
    assert not tokens.is_digest_of(token, "ä")
