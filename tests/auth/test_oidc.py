"""Signing in at a provider: who is let in, and every way in which it must come to nothing."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
import structlog

from jan import clock
from jan.auth import id_token, oidc, pending
from jan.auth import provider as provider_module
from jan.auth.oidc import Answer, Begun, Finished, Oidc, is_local_path
from jan.errors import (
    Forbidden,
    InvalidRequest,
    JanError,
    Misconfigured,
    NotFound,
    SignInFailed,
    Unavailable,
)
from tests.fakes import Reply, Script, Seen
from tests.oidc_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    FakeProvider,
    ec_key,
    fake_provider,
    rsa_key,
    sign,
)

SECRET = "j" * 32
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with fake_provider() as provider:
        yield provider


@pytest.fixture
async def client(fake: FakeProvider) -> AsyncIterator[Oidc]:
    async with Oidc({"fake": fake.config, "other": fake.config}, secret=SECRET) as client:
        yield client


async def sign_in(client: Oidc, fake: FakeProvider, **begin: Any) -> Finished:
    begun = await client.begin("fake", **begin)
    return await client.finish("fake", await fake.visit(begun.url), cookie=begun.cookie)


async def refused(client: Oidc, fake: FakeProvider, kind: type[JanError]) -> str:
    """The sentence with which a sign-in is refused."""
    with anyio.fail_after(5), pytest.raises(kind) as refusal:
        await sign_in(client, fake)
    assert type(refusal.value) is kind
    return refusal.value.message


def saying(body: bytes, status: int = 200, **headers: str) -> Script:
    async def say(_: Seen, reply: Reply) -> None:
        await reply.whole(body, status, **headers)

    return say


async def stall(_: Seen, reply: Reply) -> None:
    await reply.stall()


async def drip(_: Seen, reply: Reply) -> None:
    await reply.head()
    while True:
        await reply.chunk(b" ")
        await asyncio.sleep(0.01)


async def pour(_: Seen, reply: Reply) -> None:
    await reply.head(content_type="application/json")
    while True:
        await reply.chunk(b" " * 65536)


async def die(_: Seen, reply: Reply) -> None:
    reply.die()
    await reply.stall()


async def test_a_person_signs_in(client: Oidc, fake: FakeProvider) -> None:
    finished = await sign_in(client, fake, redirect="/chat?id=1")

    assert finished.redirect == "/chat?id=1"
    assert finished.identity == id_token.Identity(
        provider="fake", subject="248289761001", email="jane@example.com", name="Jane Doe"
    )


async def test_a_provider_may_sign_with_rsa_and_publish_keys_that_we_cannot_use(
    client: Oidc, fake: FakeProvider
) -> None:
    fake.keys = [rsa_key()]
    fake.listed = [
        *(
            {"kty": "oct", "k": "AAAA"},
            {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
            "?",
            None,
        ),
        *({"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": "!", "y": "?"}, {"kty": ["RSA"]}),
        {"kty": "RSA", "n": "_" * 170 + "8", "e": "AQAB", "kid": "1024 bits"},
    ]
    fake.write = lambda claims: sign(claims, rsa_key(), pi_field="a field of its own")

    assert (await sign_in(client, fake)).identity.subject == "248289761001"


async def test_the_secret_goes_where_the_provider_wants_it(
    client: Oidc, fake: FakeProvider
) -> None:
    fake.takes_basic = False

    assert (await sign_in(client, fake)).identity.subject == "248289761001"


async def test_the_address_tells_no_secret_and_no_two_are_alike(
    client: Oidc, fake: FakeProvider
) -> None:
    first, second = await client.begin("fake"), await client.begin("fake")

    asked = [parse_qs(urlsplit(begun.url).query) for begun in (first, second)]
    sealed = pending.Sealer(SECRET).open(first.cookie)
    assert asked[0]["scope"] == ["openid email profile"]
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name]
    assert sealed.verifier not in first.url
    assert CLIENT_SECRET not in first.url
    assert first.cookie != second.cookie


async def test_nothing_is_fetched_before_it_is_needed_and_then_once(
    client: Oidc, fake: FakeProvider
) -> None:
    assert fake.server.requests == []

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(sign_in(client, fake))

    assert fake.asked(DISCOVERY) == 1
    assert fake.asked("/keys") == 1
    assert fake.asked("/token") == 5


async def test_what_was_fetched_is_fetched_anew_when_it_is_old(
    client: Oidc, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sign_in(client, fake)
    later_s = clock.monotonic_s() + provider_module.LIFETIME_S
    monkeypatch.setattr(clock, "monotonic_s", lambda: later_s)

    await sign_in(client, fake)

    assert (fake.asked(DISCOVERY), fake.asked("/keys")) == (2, 2)


# --- The answer and the cookie ------------------------------------------------------------------


async def test_a_code_is_worth_nothing_in_another_browser(client: Oidc, fake: FakeProvider) -> None:
    """PKCE: who injects a stolen code has not the verifier that belongs to it."""
    victim, thief = await client.begin("fake"), await client.begin("fake")
    stolen, own = await fake.visit(victim.url), await fake.visit(thief.url)

    with pytest.raises(SignInFailed) as refusal:
        await client.finish("fake", Answer(stolen.code, own.state), cookie=thief.cookie)

    assert refusal.value.message == provider_module.CODE_REFUSED


async def test_an_answer_works_once(client: Oidc, fake: FakeProvider) -> None:
    begun = await client.begin("fake")
    answer = await fake.visit(begun.url)
    await client.finish("fake", answer, cookie=begun.cookie)

    with pytest.raises(SignInFailed) as refusal:
        await client.finish("fake", answer, cookie=begun.cookie)

    assert refusal.value.message == provider_module.CODE_REFUSED


@pytest.mark.parametrize("state", [None, "", "forged", "f\udc80", "x" * 100_000])
async def test_a_forged_state_is_refused(
    client: Oidc, fake: FakeProvider, state: str | None
) -> None:
    begun = await client.begin("fake")
    answer = await fake.visit(begun.url)

    with pytest.raises(SignInFailed) as refusal:
        await client.finish("fake", Answer(answer.code, state), cookie=begun.cookie)

    assert refusal.value.message == oidc.OTHER_STATE
    assert fake.asked("/token") == 0


async def test_the_state_of_another_browser_is_refused(client: Oidc, fake: FakeProvider) -> None:
    """Otherwise somebody could make others sign in as himself."""
    mine, yours = await client.begin("fake"), await client.begin("fake")
    answer = await fake.visit(mine.url)

    with pytest.raises(SignInFailed) as refusal:
        await client.finish("fake", answer, cookie=yours.cookie)

    assert refusal.value.message == oidc.OTHER_STATE


async def test_a_cookie_is_needed_ours_and_fresh(
    client: Oidc, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await client.begin("fake")
    answer = await fake.visit(begun.url)
    strange = pending.Sealer("x" * 32).seal(pending.Sealer(SECRET).open(begun.cookie))

    said = [await _refusal(client, answer, cookie) for cookie in (None, "", strange)]
    later = clock.now() + timedelta(seconds=pending.LIFETIME_S)
    monkeypatch.setattr(clock, "now", lambda: later)
    said.append(await _refusal(client, answer, begun.cookie))

    expected = [pending.MISSING, pending.MISSING, pending.INCORRECT, pending.EXPIRED]
    assert said == expected


async def _refusal(client: Oidc, answer: Answer, cookie: str | None) -> str:
    with pytest.raises(SignInFailed) as refusal:
        await client.finish("fake", answer, cookie=cookie)
    return refusal.value.message


async def test_a_cookie_is_good_for_its_own_provider(client: Oidc, fake: FakeProvider) -> None:
    begun = await client.begin("fake")
    answer = await fake.visit(begun.url)

    with pytest.raises(SignInFailed) as refusal:
        await client.finish("other", answer, cookie=begun.cookie)

    assert refusal.value.message == oidc.OTHER_PROVIDER


@pytest.mark.parametrize(
    ("error", "sentence"), [("access_denied", oidc.DENIED), ("server_error", oidc.ENDED)]
)
async def test_who_is_denied_hears_so(
    client: Oidc, fake: FakeProvider, error: str, sentence: str
) -> None:
    fake.denies = error

    assert await refused(client, fake, SignInFailed) == sentence
    assert fake.asked("/token") == 0


@pytest.mark.parametrize("code", [None, "", "a\nb", "ä", "x" * 5000])
async def test_what_cannot_be_a_code_is_not_sent(
    client: Oidc, fake: FakeProvider, code: str | None
) -> None:
    begun: Begun = await client.begin("fake")
    answer = await fake.visit(begun.url)

    with pytest.raises(SignInFailed) as refusal:
        await client.finish("fake", Answer(code, answer.state), cookie=begun.cookie)

    assert refusal.value.message == oidc.NO_CODE
    assert fake.asked("/token") == 0


async def test_an_unknown_provider_is_not_found(client: Oidc) -> None:
    assert client.names == ("fake", "other")
    with pytest.raises(NotFound, match="`nobody`"):
        await client.begin("nobody")
    with pytest.raises(NotFound, match="`nobody`"):
        await client.finish("nobody", Answer(), cookie=None)


@pytest.mark.parametrize(
    "redirect",
    [
        *("", "chat", "https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil"),
        *("/\n/evil.example", "\\/evil.example", "javascript:alert(1)", " /chat", "/" + "x" * 2000),
    ],
)
async def test_a_redirect_never_leaves_this_site(client: Oidc, redirect: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await client.begin("fake", redirect=redirect)

    assert refusal.value.param == "redirect"


@pytest.mark.parametrize("path", ["/", "/chat", "/chat?to=https://a.example/#b", "/ä"])
def test_a_path_of_this_site_is_local(path: str) -> None:
    assert is_local_path(path)


# --- What the provider says of the person ---------------------------------------------------------


@pytest.mark.parametrize("nonce", ["other", None, 5])
async def test_a_nonce_of_another_sign_in_is_refused(
    client: Oidc, fake: FakeProvider, nonce: object
) -> None:
    fake.changes["nonce"] = nonce

    assert await refused(client, fake, SignInFailed) == id_token.OTHER_SIGN_IN


@pytest.mark.parametrize("verified", [False, None, "true", "false", 1])
async def test_an_address_that_is_not_verified_is_not_enough(
    client: Oidc, fake: FakeProvider, verified: object
) -> None:
    fake.changes["email_verified"] = verified

    assert await refused(client, fake, Forbidden) == id_token.UNVERIFIED


async def test_an_address_that_the_token_lacks_is_asked_for(
    client: Oidc, fake: FakeProvider
) -> None:
    fake.userinfo, fake.person = fake.person, {"sub": "248289761001"}

    identity = (await sign_in(client, fake)).identity

    assert (identity.email, identity.name) == ("jane@example.com", "Jane Doe")


async def test_what_is_told_of_somebody_else_is_not_believed(
    client: Oidc, fake: FakeProvider
) -> None:
    fake.userinfo, fake.person = {**fake.person, "sub": "666"}, {"sub": "248289761001"}

    assert await refused(client, fake, SignInFailed) == id_token.INCORRECT


async def test_the_one_who_tells_the_address_says_whether_it_is_verified(
    client: Oidc, fake: FakeProvider
) -> None:
    fake.userinfo = {**fake.person, "email_verified": False}
    fake.person = {"sub": "248289761001", "email_verified": True}

    assert await refused(client, fake, Forbidden) == id_token.UNVERIFIED


async def test_no_address_is_no_sign_in(client: Oidc, fake: FakeProvider) -> None:
    fake.changes["email"] = None

    assert await refused(client, fake, SignInFailed) == id_token.NO_EMAIL


async def test_only_allowed_domains_get_in(fake: FakeProvider) -> None:
    config = fake.config.model_copy(update={"allowed_domains": ("example.com",)})
    async with Oidc({"fake": config}, secret=SECRET) as client:
        assert (await sign_in(client, fake)).identity.email == "jane@example.com"
        for address in (
            "jane@example.com.evil.example",
            "jane@evil.example",
            "a@b@sub.example.com",
        ):
            fake.person["email"] = address
            assert await refused(client, fake, Forbidden) == id_token.OTHER_DOMAIN


# --- Keys -----------------------------------------------------------------------------------------


async def test_new_keys_are_fetched_when_a_token_names_one(
    client: Oidc, fake: FakeProvider
) -> None:
    await sign_in(client, fake)
    fake.keys = [ec_key(1)]
    fake.write = lambda claims: sign(claims, ec_key(1))

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(sign_in(client, fake))

    assert fake.asked("/keys") == 2


async def test_a_key_that_is_not_published_is_looked_for_once(
    client: Oidc, fake: FakeProvider
) -> None:
    fake.write = lambda claims: sign(claims, ec_key(2))

    assert await refused(client, fake, SignInFailed) == id_token.INCORRECT
    assert fake.asked("/keys") == 2


async def test_a_key_that_is_for_encryption_signs_nothing(client: Oidc, fake: FakeProvider) -> None:
    fake.listed = [{**ec_key(3).as_dict(private=False), "use": "enc"}]
    fake.write = lambda claims: sign(claims, ec_key(3))

    assert await refused(client, fake, SignInFailed) == id_token.INCORRECT


# --- Trouble with the provider --------------------------------------------------------------------


@pytest.mark.parametrize("path", [DISCOVERY, "/keys", "/token", "/userinfo"])
@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(stall, id="hangs"),
        pytest.param(drip, id="drips"),
        pytest.param(pour, id="has no end"),
        pytest.param(die, id="dies"),
        pytest.param(saying(b"{}", 500), id="500"),
        pytest.param(saying(b"<html>", 429), id="429"),
        pytest.param(saying(b"<html>"), id="HTML"),
        pytest.param(saying(b"[]"), id="a list"),
        pytest.param(saying(b"{}"), id="an empty object"),
        pytest.param(saying(b'{"issuer": 5, "keys": 5, "id_token": 5, "sub": 5}'), id="types"),
        pytest.param(saying(b'{"expires_in": 1e999, "id_token": "x"}'), id="endless"),
        pytest.param(saying(b"[" * 200_000), id="deep"),
        pytest.param(saying(b"\xff\xfe"), id="bytes"),
        pytest.param(saying(b" " * 300_000), id="huge"),
        pytest.param(saying(b"\x1f\x8b", content_encoding="gzip"), id="compressed"),
        pytest.param(saying(b"", 302, location="http://127.0.0.1:1/"), id="redirect"),
        pytest.param(saying(b"", 302, location=DISCOVERY), id="redirect to itself"),
    ],
)
async def test_trouble_with_the_provider_is_told_as_that(
    client: Oidc,
    fake: FakeProvider,
    path: str,
    trouble: Script,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provider_module, "TIMEOUT_S", 0.3)
    fake.userinfo, fake.person = fake.person, {"sub": "248289761001"}
    mended = fake.server.scripts[path]
    fake.server.script(path, trouble)

    with anyio.fail_after(5), pytest.raises((Unavailable, SignInFailed)) as refusal:
        await sign_in(client, fake)
    fake.server.script(path, mended)
    monkeypatch.undo()

    if path != "/userinfo":  # what it does not tell is not in order, or no address
        assert refusal.value.message == provider_module.SILENT.format("fake")
    assert (await sign_in(client, fake)).identity.email == "jane@example.com"


async def test_a_good_answer_is_refused_where_it_is_too_long_or_packed_or_an_error(
    client: Oidc, fake: FakeProvider
) -> None:
    """The three of which the bodies above would be refused anyway."""
    at = fake.server.url
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    good = json.dumps({"issuer": at} | dict.fromkeys(names, f"{at}/x")).encode()
    scripts = (
        saying(good + b" " * provider_module.MAX_ANSWER_BYTES),
        saying(gzip.compress(good), content_encoding="gzip"),
        saying(good, 503),
    )

    for script in scripts:
        fake.server.script(DISCOVERY, script)
        assert await refused(client, fake, Unavailable) == provider_module.SILENT.format("fake")
    fake.server.script(DISCOVERY, saying(good))
    assert (await client.begin("fake")).url.startswith(f"{at}/x?")


async def test_an_answer_without_end_is_left_long_before_its_time_is_up(
    client: Oidc, fake: FakeProvider
) -> None:
    fake.server.script(DISCOVERY, pour)

    with anyio.fail_after(provider_module.TIMEOUT_S / 2):
        assert await refused(client, fake, Unavailable) == provider_module.SILENT.format("fake")
        while fake.server.running:
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("path", [DISCOVERY, "/keys", "/token"])
async def test_no_redirect_is_followed(client: Oidc, fake: FakeProvider, path: str) -> None:
    fake.server.script("/elsewhere", fake.server.scripts[path])
    fake.server.script(path, saying(b"", 307, location=f"{fake.server.url}/elsewhere"))

    assert await refused(client, fake, Unavailable) == provider_module.SILENT.format("fake")
    assert fake.asked("/elsewhere") == 0


async def test_people_share_no_cookies_and_nothing_secret_is_logged(
    client: Oidc, fake: FakeProvider
) -> None:
    with structlog.testing.capture_logs() as lines:
        await sign_in(client, fake)
        await sign_in(client, fake)
        fake.server.script("/token", saying(b'{"error": "invalid_grant"}', 400))
        begun = await client.begin("fake")
        answer = await fake.visit(begun.url)
        with pytest.raises(SignInFailed):
            await client.finish("fake", answer, cookie=begun.cookie)

    under_way = pending.Sealer(SECRET).open(begun.cookie)
    secret = (CLIENT_SECRET, answer.code, under_way.verifier, under_way.state, under_way.nonce)
    assert not any("cookie" in seen.headers for seen in fake.server.requests)
    assert lines
    assert not any(str(each) in str(lines) for each in secret)


async def test_a_provider_that_is_gone_is_told_as_that(client: Oidc, fake: FakeProvider) -> None:
    await fake.server.kill()

    with pytest.raises(Unavailable) as refusal:
        await client.begin("fake")
    await fake.server.start()

    assert refusal.value.message == provider_module.SILENT.format("fake")
    assert (await sign_in(client, fake)).identity.subject == "248289761001"


async def test_nobody_waits_for_a_dead_provider_longer_than_the_first(
    client: Oidc, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_module, "TIMEOUT_S", 0.3)
    fake.server.script(DISCOVERY, stall)

    with anyio.fail_after(5):
        said = await asyncio.gather(
            *(client.begin("fake") for _ in range(20)), return_exceptions=True
        )

    assert all(isinstance(each, Unavailable) for each in said)
    assert fake.asked(DISCOVERY) == 1


async def test_who_leaves_takes_nobody_along(client: Oidc, fake: FakeProvider) -> None:
    mended = fake.server.scripts[DISCOVERY]
    fake.server.script(DISCOVERY, stall)
    leaving = asyncio.create_task(client.begin("fake"))
    with anyio.fail_after(5):
        while not fake.server.running:
            await asyncio.sleep(0.002)
        staying = asyncio.create_task(client.begin("fake"))
        await asyncio.sleep(0)
        fake.server.script(DISCOVERY, mended)
        leaving.cancel()
        begun = await staying

    assert begun.url.startswith(fake.server.url)


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://accounts.google.com"},
        {"token_endpoint": "http://192.0.2.1/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"userinfo_endpoint": "http://user:password@127.0.0.1/"},
        {"token_endpoint": "https://[::1"},
        {"jwks_uri": None},
    ],
)
async def test_a_discovery_document_that_leads_astray_is_refused(
    client: Oidc, fake: FakeProvider, discovery: dict[str, Any]
) -> None:
    fake.discovery = discovery

    assert await refused(client, fake, Unavailable) == provider_module.SILENT.format("fake")


async def test_a_provider_that_does_not_know_us_is_the_operators_to_mend(
    fake: FakeProvider,
) -> None:
    config = fake.config.model_copy(update={"client_id": CLIENT_ID})
    async with Oidc({"fake": config}, secret=SECRET) as client:
        fake.takes_basic = False
        fake.discovery["token_endpoint_auth_methods_supported"] = ["client_secret_basic"]

        said = await refused(client, fake, Misconfigured)

    assert said == provider_module.MISCONFIGURED.format("fake")


async def test_an_error_that_is_nobodys_fault_may_be_tried_again(
    client: Oidc, fake: FakeProvider
) -> None:
    fake.server.script("/token", saying(b'{"error": "temporarily_unavailable"}', 400))

    assert await refused(client, fake, Unavailable) == provider_module.SILENT.format("fake")
