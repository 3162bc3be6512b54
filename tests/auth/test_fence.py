"""Pages of other sites: they may not act by a person's cookie, whatever the browser sends along."""

from collections.abc import AsyncIterator

import httpx
import pytest

from jan.auth import cookies
from jan.db.engine import Database
from tests.doors import Door, bearer, door, login, new_person

APP = "https://app.example.com"
EVIL = "https://evil.example.com"
VISIT = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
async def house(database: Database) -> AsyncIterator[Door]:
    async with door(database, allowed_origins=(APP,), guest_login=True) as opened:
        await new_person(opened.means.passwords)
        yield opened


FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "origin": EVIL},
    {"sec-fetch-site": "cross-site", "origin": "null"},
    {"origin": EVIL},
    {"origin": "null"},
    {"origin": "https://app.example.com.evil.com"},
    {"origin": "http://app.example.com"},
]


FENCED = [
    ("POST", "/v1/auth/refresh-token"),
    ("GET", "/v1/auth/refresh-token"),
    ("POST", "/v1/auth/logout"),
    ("GET", "/v1/auth/logout"),
    ("POST", "/v1/auth/guest-login"),
    ("POST", "/v1/auth/login"),
    ("POST", "/v1/auth/google/callback"),
    ("POST", "/v1/auth/oidc/corp/callback"),
    ("POST", "/v1/auth/password/reset-request"),
    ("POST", "/v1/auth/password/reset"),
    ("POST", "/v1/auth/setup"),
]


async def test_another_sites_page_can_do_nothing(house: Door) -> None:
    async with house.visitor() as browser:
        access = bearer(await login(browser))

        answers = [
            await browser.request(method, path, headers=headers)
            for method, path in FENCED
            for headers in FOREIGN
        ]

        assert {answer.status_code for answer in answers} == {403}
        assert not any("set-cookie" in answer.headers for answer in answers)
        # It is still signed in, with the cookie that it had.
        assert (await browser.get("/v1/auth/me", headers=access)).status_code == 200
        assert (await browser.post("/v1/auth/refresh-token")).status_code == 200


async def test_a_form_of_another_site_signs_nobody_in_as_somebody_else(house: Door) -> None:
    """A form may post text that happens to be JSON, without asking first."""
    async with house.visitor() as browser:
        answer = await browser.post(
            "/v1/auth/login",
            content=b'{"email": "ada@example.com", "password": "a difference engine", "x": "="}',
            headers={"content-type": "text/plain", "origin": EVIL, **VISIT},
        )

        assert answer.status_code == 403
        assert cookies.REFRESH not in browser.cookies


async def test_a_link_by_plain_http_signs_nobody_out(house: Door) -> None:
    """There, browsers do not say where it comes from."""
    async with house.visitor() as browser:
        access = bearer(await login(browser))
        answer = await browser.get("/v1/auth/logout", headers=VISIT)

        assert answer.status_code == 403
        assert (await browser.get("/v1/auth/me", headers=access)).status_code == 200


OURS = [
    {"sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none", **VISIT},
    {"sec-fetch-site": "cross-site", "origin": APP},
    {"origin": APP},
    {"origin": "HERE"},
    {"origin": "http://127.0.0.1:8080"},  # where people reach it, behind a proxy
    {},
]


async def test_our_own_pages_configured_ones_and_programs_may(house: Door) -> None:
    answers: list[httpx.Response] = []
    async with house.visitor() as browser:
        for method in ("GET", "POST"):
            for headers in OURS:
                said = {name: value.replace("HERE", house.url) for name, value in headers.items()}
                await login(browser)
                answers += [
                    await browser.request(method, path, headers=said)
                    for path in ("/v1/auth/refresh-token", "/v1/auth/logout")
                ]

    assert [answer.status_code for answer in answers] == [200] * len(answers)


async def test_where_any_origin_may_read_none_may_use_cookies(database: Database) -> None:
    async with door(database, allowed_origins=("*",)) as house, house.visitor() as browser:
        await new_person(house.means.passwords)
        answer = await login(browser, origin=EVIL)

    assert answer.status_code == 403
