"""Signing in at a provider, over HTTP: who is let in, who one is then, what comes to nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from jan.auth import cookies
from jan.auth.oidc import Answer
from jan.db.engine import Database
from tests.conftest import execute, fetch
from tests.doors import (
    Door,
    acts,
    bearer,
    disable,
    door,
    login,
    new_person,
    refresh_token,
    with_cookie,
)
from tests.oidc_provider import FakeProvider, fake_provider

JANE = "jane@example.com"
LOGIN = "/v1/auth/google/login"
CALLBACK = "/v1/auth/google/callback"
VISIT = {"accept": "text/html", "sec-fetch-site": "cross-site"}
"""How a browser comes back from a provider."""


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with fake_provider() as provider:
        yield provider


@pytest.fixture
async def house(database: Database, fake: FakeProvider) -> AsyncIterator[Door]:
    """Strangers may come in."""
    providers = {"google": fake.config, "corp": fake.config}
    async with door(database, providers=providers, registration="open", guest_login=True) as opened:
        yield opened


async def answer_of(browser: httpx.AsyncClient, fake: FakeProvider, path: str = LOGIN) -> Answer:
    """Go to the provider and sign in. The value is what it sends back."""
    begun = await browser.get(path)
    assert begun.status_code == 200, begun.text
    return await fake.visit(begun.json()["url"])


async def finish(browser: httpx.AsyncClient, answer: Answer, path: str = CALLBACK) -> Any:
    """Hand the answer over, as a page does."""
    return await browser.post(path, json={"code": answer.code, "state": answer.state})


async def sign_in(browser: httpx.AsyncClient, fake: FakeProvider) -> httpx.Response:
    return await finish(browser, await answer_of(browser, fake))


async def me(browser: httpx.AsyncClient, answer: httpx.Response) -> dict[str, Any]:
    return (await browser.get("/v1/auth/me", headers=bearer(answer))).json()


async def test_a_page_asks_where_to_go_and_hands_the_answer_over(
    house: Door, fake: FakeProvider
) -> None:
    async with house.visitor() as browser:
        begun = await browser.get(LOGIN)
        back = await fake.visit(begun.json()["url"])
        answer = await finish(browser, back)
        person = await me(browser, answer)
        left = dict(browser.cookies)

    assert begun.json()["object"] == "google.login.url"
    assert {"HttpOnly", "SameSite=lax", "Path=/v1/auth", "Max-Age=600"} <= set(
        begun.headers["set-cookie"].split("; ")
    )
    assert answer.json()["object"] == "access.token"
    assert (person["email"], person["name"], person["is_guest"]) == (JANE, "Jane Doe", False)
    assert set(left) == {cookies.REFRESH}
    assert await acts() == ["user.added", "login.succeeded"]


async def test_any_provider_that_is_configured_works_alike(house: Door, fake: FakeProvider) -> None:
    async with house.visitor() as browser:
        listed = (await browser.get("/v1/auth/providers")).json()
        back = await answer_of(browser, fake, "/v1/auth/oidc/corp/login")
        answer = await finish(browser, back, "/v1/auth/oidc/corp/callback")
        missing = await browser.get("/v1/auth/oidc/nobody/login")

    assert [each["login_path"] for each in listed["data"]] == [
        "/v1/auth/google/login",
        "/v1/auth/oidc/corp/login",
    ]
    assert answer.status_code == 200
    assert missing.status_code == 404


async def test_without_google_there_is_no_google(database: Database) -> None:
    async with door(database) as house, house.visitor() as browser:
        assert (await browser.get(LOGIN)).status_code == 404
        assert (await finish(browser, Answer("x", "y"))).status_code == 404


async def test_who_comes_with_a_browser_is_sent_there_and_back(
    house: Door, fake: FakeProvider
) -> None:
    async with house.visitor() as browser:
        begun = await browser.get(LOGIN, params={"redirect": "/app?x=1"}, headers=VISIT)
        back = await fake.visit(begun.headers["location"])
        said = {"code": str(back.code), "state": str(back.state)}
        done = await browser.get(CALLBACK, params=said, headers=VISIT)
        refreshed = await browser.post("/v1/auth/refresh-token")

        again = await browser.get(LOGIN, headers=VISIT)
        back = await fake.visit(again.headers["location"])
        said = {"code": str(back.code), "state": str(back.state)}
        page = await browser.get(CALLBACK, params=said, headers=VISIT)

    assert begun.status_code == done.status_code == 303
    assert done.headers["location"] == "/app?x=1"
    assert refreshed.status_code == 200
    assert "You are signed in" in page.text
    assert "access_token" not in page.text


async def test_nobody_is_sent_to_another_site(house: Door) -> None:
    async with house.visitor() as browser:
        for elsewhere in ("https://evil.example.com", "//evil.example.com", "/\\evil.example.com"):
            answer = await browser.get(LOGIN, params={"redirect": elsewhere})

            assert answer.status_code == 400


async def test_a_browser_that_comes_back_in_vain_is_told_in_words(
    house: Door, fake: FakeProvider
) -> None:
    fake.denies = "access_denied"
    async with house.visitor() as browser:
        begun = await browser.get(LOGIN, headers=VISIT)
        back = await fake.visit(begun.headers["location"])
        said = {"error": str(back.error), "state": str(back.state)}
        page = await browser.get(CALLBACK, params=said, headers=VISIT)

        assert page.status_code == 401
        assert "cancelled" in page.text
        assert cookies.STATE not in browser.cookies
        assert cookies.REFRESH not in browser.cookies
    assert await acts() == ["login.failed"]


async def test_a_forged_or_replayed_state_signs_nobody_in(house: Door, fake: FakeProvider) -> None:
    async with house.visitor() as victim, house.visitor() as attacker:
        theirs = await answer_of(attacker, fake)
        own = await answer_of(victim, fake)
        cookie = victim.cookies[cookies.STATE]

        forged = [
            await finish(victim, Answer(theirs.code, theirs.state)),
            await finish(victim, Answer(own.code, "made up")),
            await finish(victim, Answer(own.code, "")),
        ]
        async with house.visitor() as nobody:
            forged.append(await finish(nobody, own))
            forged.append(
                await nobody.post(
                    CALLBACK,
                    json={"code": own.code, "state": own.state},
                    headers={"cookie": f"{cookies.STATE}={cookie[:-4]}AAAA"},
                )
            )
        good = await finish(victim, own)
        async with house.visitor() as thief:  # who has seen all of it
            replayed = await thief.post(
                CALLBACK,
                json={"code": own.code, "state": own.state},
                headers={"cookie": f"{cookies.STATE}={cookie}"},
            )

    assert [answer.status_code for answer in (*forged, replayed)] == [401] * 6
    assert {answer.json()["error"]["code"] for answer in (*forged, replayed)} == {"sign_in_failed"}
    assert good.status_code == 200


async def test_a_token_for_another_sign_in_signs_nobody_in(house: Door, fake: FakeProvider) -> None:
    fake.changes = {"nonce": "of another sign-in"}
    async with house.visitor() as browser:
        answer = await sign_in(browser, fake)

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "sign_in_failed")
    assert not await fetch("SELECT 1 FROM users")


async def test_an_unverified_address_signs_nobody_in(house: Door, fake: FakeProvider) -> None:
    await new_person(house.means.passwords, JANE)
    fake.person |= {"email_verified": False}
    async with house.visitor() as browser:
        answer = await sign_in(browser, fake)

    assert answer.status_code == 403
    assert not await fetch("SELECT 1 FROM identity")


async def test_strangers_stay_out_until_somebody_knows_them(
    database: Database, fake: FakeProvider
) -> None:
    async with (
        door(database, providers={"google": fake.config}) as house,
        house.visitor() as browser,
    ):
        stranger = await sign_in(browser, fake)
        assert stranger.status_code == 403
        assert "invited" in stranger.json()["error"]["message"]
        assert not await fetch("SELECT 1 FROM users")

        await execute(
            "INSERT INTO invite"
            " (id, organization_id, email, role, digest, was_mailed, expires_at)"
            " SELECT 'invite_1', id, $1, 'member', repeat('0', 64), true, now() + interval '1 day'"
            " FROM organization",
            JANE,
        )
        assert (await sign_in(browser, fake)).status_code == 200


async def test_an_invite_that_is_over_opens_nothing(database: Database, fake: FakeProvider) -> None:
    async with (
        door(database, providers={"google": fake.config}) as house,
        house.visitor() as browser,
    ):
        await execute(
            "INSERT INTO invite"
            " (id, organization_id, email, role, digest, was_mailed, expires_at)"
            " SELECT 'invite_1', id, $1, 'member', repeat('0', 64), true, now() FROM organization",
            JANE,
        )
        assert (await sign_in(browser, fake)).status_code == 403


async def test_people_of_a_configured_domain_come_in(
    database: Database, fake: FakeProvider
) -> None:
    config = fake.config.model_copy(update={"allowed_domains": ("example.com",)})
    async with (
        door(database, providers={"google": config}) as house,
        house.visitor() as browser,
    ):
        assert (await sign_in(browser, fake)).status_code == 200
        fake.person |= {"email": "jane@elsewhere.org", "sub": "2"}
        assert (await sign_in(browser, fake)).status_code == 403


async def test_a_known_address_is_the_person_who_has_it(
    database: Database, fake: FakeProvider
) -> None:
    async with (
        door(database, providers={"google": fake.config}) as house,
        house.visitor() as browser,
    ):
        jane = await new_person(house.means.passwords, JANE)
        fake.person |= {"email": JANE.upper()}
        first = await me(browser, await sign_in(browser, fake))
        # From now on it is the identity that counts: at the provider, addresses may change.
        fake.person |= {"email": "jane.doe@example.com"}
        second = await me(browser, await sign_in(browser, fake))

    assert first["id"] == second["id"] == jane
    assert second["email"] == JANE
    assert [tuple(row) for row in await fetch("SELECT user_id FROM identity")] == [(jane,)]


async def test_an_address_that_went_to_somebody_else_does_not_open_the_account(
    house: Door, fake: FakeProvider
) -> None:
    async with house.visitor() as browser:
        await sign_in(browser, fake)
        fake.person |= {"sub": "somebody else"}
        answer = await sign_in(browser, fake)

    assert answer.status_code == 409
    assert len(await fetch("SELECT 1 FROM identity")) == 1


async def test_an_account_that_only_claims_an_address_is_not_handed_over(
    house: Door, fake: FakeProvider
) -> None:
    await new_person(house.means.passwords, JANE)
    await execute("UPDATE users SET is_email_proven = false")
    async with house.visitor() as browser:
        answer = await sign_in(browser, fake)

    assert answer.status_code == 409
    assert not await fetch("SELECT 1 FROM identity")


async def test_a_disabled_person_does_not_come_in_by_a_provider(
    house: Door, fake: FakeProvider
) -> None:
    async with house.visitor() as browser:
        await sign_in(browser, fake)
        ((jane,),) = await fetch("SELECT id FROM users")
        await disable(jane)
        answer = await sign_in(browser, fake)

    assert answer.status_code == 403
    assert len(await fetch("SELECT 1 FROM session")) == 1


async def test_a_guest_who_signs_in_becomes_that_person_in_place(
    house: Door, fake: FakeProvider
) -> None:
    async with house.visitor() as browser:
        guest = await me(browser, await browser.post("/v1/auth/guest-login"))
        token = refresh_token(browser)
        answer = await sign_in(browser, fake)
        person = await me(browser, answer)
        async with house.visitor() as thief:
            stale = await thief.post("/v1/auth/refresh-token", headers=with_cookie(token))

    assert (person["id"], person["projects"]) == (guest["id"], guest["projects"])
    assert (person["email"], person["name"], person["is_guest"]) == (JANE, "Jane Doe", False)
    assert stale.status_code == 401
    assert await acts() == ["login.succeeded", "user.updated", "login.succeeded"]


async def test_a_guest_who_is_known_already_leaves_the_guest_behind(
    house: Door, fake: FakeProvider
) -> None:
    async with house.visitor() as elsewhere:
        known = await me(elsewhere, await sign_in(elsewhere, fake))
    async with house.visitor() as browser:
        guest = await me(browser, await browser.post("/v1/auth/guest-login"))
        person = await me(browser, await sign_in(browser, fake))

    assert person["id"] == known["id"] != guest["id"]
    assert len(await fetch("SELECT 1 FROM users WHERE is_guest")) == 1


async def test_a_registered_person_is_never_made_another(house: Door, fake: FakeProvider) -> None:
    """Whoever is signed in as Ada and signs in as Jane is Jane: Ada's account stays Ada's."""
    ada = await new_person(house.means.passwords)
    async with house.visitor() as browser:
        await login(browser)
        person = await me(browser, await sign_in(browser, fake))

    assert person["id"] != ada
    assert sorted(row["email"] for row in await fetch("SELECT email FROM users")) == [
        "ada@example.com",
        JANE,
    ]


async def test_tabs_that_come_back_at_once_are_one_new_person(
    house: Door, fake: FakeProvider
) -> None:
    async with house.visitor() as one, house.visitor() as two:
        answers = [await answer_of(browser, fake) for browser in (one, two)]
        done = await asyncio.gather(finish(one, answers[0]), finish(two, answers[1]))

    assert [answer.status_code for answer in done] == [200, 200]
    assert len(await fetch("SELECT 1 FROM users")) == 1


async def test_a_provider_that_does_not_answer_is_no_failed_sign_in(
    house: Door, fake: FakeProvider
) -> None:
    async with house.visitor() as browser:
        back = await answer_of(browser, fake)
        await fake.server.kill()
        answer = await finish(browser, back)

    assert answer.status_code == 503
    assert await acts() == []
