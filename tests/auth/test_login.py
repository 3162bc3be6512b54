"""Signing in by password: who gets in, who does not, and that nobody learns why."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from jan.auth import cookies, sign_in
from jan.db.engine import Database
from tests.conftest import fetch
from tests.doors import (
    EMAIL,
    PASSWORD,
    Door,
    acts,
    bearer,
    disable,
    door,
    login,
    new_person,
    refresh_token,
)
from tests.gateways import DEADLINE_S

WRONG = "not the password"


@pytest.fixture
async def house(database: Database) -> AsyncIterator[Door]:
    async with door(database) as opened:
        yield opened


@pytest.fixture
async def ada(house: Door) -> str:
    return await new_person(house.means.passwords)


async def until_refused(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    """Ask until the token no longer works: a notification is on its way."""
    with anyio.fail_after(DEADLINE_S):
        while (answer := await client.get("/v1/auth/me", headers=headers)).status_code != 401:
            await asyncio.sleep(0.005)
    return answer


async def test_a_password_opens_a_session(house: Door, ada: str) -> None:
    async with house.visitor(user_agent="Test/1.0") as browser:
        answer = await login(browser, "  Ada@Example.com ")
        me = await browser.get("/v1/auth/me", headers=bearer(answer))

    assert answer.status_code == 200
    assert set(answer.json()) == {"object", "access_token", "expires_in"}
    assert answer.json()["object"] == "access.token"
    assert answer.json()["expires_in"] == 900
    assert me.json()["object"] == "me"
    assert (me.json()["id"], me.json()["email"], me.json()["name"]) == (ada, EMAIL, "Ada")
    ((last_login_at,),) = await fetch("SELECT last_login_at FROM users")
    assert last_login_at is not None
    ((address, agent),) = await fetch("SELECT address, user_agent FROM session")
    assert (address, agent) == ("127.0.0.1", "Test/1.0")
    assert await acts() == ["login.succeeded"]


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(house: Door, ada: str) -> None:
    async with house.visitor() as here, house.visitor(x_forwarded_for="9.9.9.9") as away:
        near = (await login(here)).headers["set-cookie"]
        far = (await login(away)).headers["set-cookie"]

    for cookie in (near, far):
        name, *attributes = cookie.split("; ")
        assert name.startswith(f"{cookies.REFRESH}=jrt_")
        assert {"HttpOnly", "SameSite=lax", "Path=/v1/auth"} <= set(attributes)
    assert "Secure" not in near
    assert "; Secure" in far
    assert "Max-Age=604" in far


async def test_what_is_stored_opens_nothing(house: Door, ada: str) -> None:
    async with house.visitor() as browser:
        await login(browser)
        token = refresh_token(browser)

    ((digest,),) = await fetch("SELECT digest FROM refresh_token")
    assert len(digest) == 64
    assert token not in str([tuple(row) for row in await fetch("SELECT * FROM session")])


async def test_a_wrong_password_and_an_unknown_address_are_one_answer(
    house: Door, ada: str
) -> None:
    async with house.visitor() as visitor:
        wrong = await login(visitor, EMAIL, WRONG)
        unknown = await login(visitor, "nobody@example.com", WRONG)
        unusual = await login(visitor, "nobody@example.com", "x" * 10_000)

    assert wrong.status_code == unknown.status_code == unusual.status_code == 401
    assert wrong.json() == unknown.json() == unusual.json()
    assert wrong.json()["error"]["code"] == "invalid_credentials"
    assert "set-cookie" not in wrong.headers
    assert await acts() == ["login.failed"] * 3
    said = [row["details"] for row in await fetch("SELECT details FROM audit_log")]
    assert not any(WRONG in details for details in said)


async def test_a_person_without_a_password_has_none_that_is_right(house: Door) -> None:
    await new_person(house.means.passwords, password=None)

    async with house.visitor() as visitor:
        answers = [await login(visitor, EMAIL, word) for word in ("", "None", PASSWORD)]

    assert [answer.status_code for answer in answers] == [401, 401, 401]


async def test_a_disabled_person_gets_in_nowhere_and_is_told_only_with_the_right_password(
    house: Door, ada: str
) -> None:
    await disable(ada)

    async with house.visitor() as visitor:
        right = await login(visitor)
        wrong = await login(visitor, EMAIL, WRONG)

    assert (right.status_code, wrong.status_code) == (403, 401)
    assert not await fetch("SELECT 1 FROM session")


async def test_disabling_somebody_ends_what_is_going_on_at_once(house: Door, ada: str) -> None:
    async with house.visitor() as browser:
        token = bearer(await login(browser))
        assert (await browser.get("/v1/auth/me", headers=token)).status_code == 200

        await disable(ada)

        await until_refused(browser, **token)
        refreshed = await browser.post("/v1/auth/refresh-token")
    assert refreshed.status_code == 401
    assert refreshed.json()["error"]["code"] == "session_ended"


async def test_who_guesses_at_one_account_is_held_up_and_told_for_how_long(
    house: Door, ada: str
) -> None:
    most = sign_in.FAILURES_ON_ACCOUNT_OF_CLIENT.most
    async with house.visitor() as guesser, house.visitor(x_forwarded_for="9.9.9.9") as elsewhere:
        wrong = [await login(guesser, EMAIL, WRONG) for _ in range(most)]
        held_up = await login(guesser)
        in_other_letters = await login(guesser, EMAIL.upper())
        other = await login(guesser, "bob@example.com", WRONG)
        right = await login(elsewhere)

    assert {answer.status_code for answer in wrong} == {401}
    assert held_up.status_code == in_other_letters.status_code == 429
    assert held_up.json()["error"]["code"] == "rate_limit_exceeded"
    assert 0 < int(held_up.headers["retry-after"]) <= 900
    assert other.status_code == 401
    assert right.status_code == 200  # nobody is locked out by a stranger's guesses
    assert (await acts()).count("login.failed") == most + 1


async def test_an_unknown_account_is_held_up_alike(house: Door) -> None:
    most = sign_in.FAILURES_ON_ACCOUNT_OF_CLIENT.most
    async with house.visitor() as guesser:
        answers = [await login(guesser, "nobody@example.com", WRONG) for _ in range(most + 1)]

    assert [answer.status_code for answer in answers] == [401] * most + [429]


async def test_guesses_at_once_are_no_more_than_one_after_another(house: Door, ada: str) -> None:
    most = sign_in.FAILURES_ON_ACCOUNT_OF_CLIENT.most
    async with house.visitor() as guesser:
        answers = await asyncio.gather(
            *(login(guesser, EMAIL, f"{WRONG} {number}") for number in range(25))
        )

    assert [answer.status_code for answer in answers].count(401) == most


async def test_who_guesses_at_many_accounts_is_held_up_whatever_the_address_of_the_network(
    house: Door,
) -> None:
    most = sign_in.FAILURES_OF_CLIENT.most
    statuses: list[int] = []
    for number in range(most + 1):
        async with house.visitor(x_forwarded_for=f"2001:db8:0:1::{number:x}") as guesser:
            answer = await login(guesser, f"user{number}@example.com", WRONG)
            statuses.append(answer.status_code)

    assert statuses == [401] * most + [429]


async def test_a_success_neither_uses_a_limit_up_nor_opens_it_for_others(
    house: Door, ada: str
) -> None:
    most = sign_in.FAILURES_ON_ACCOUNT_OF_CLIENT.most
    async with house.visitor() as browser:
        wrong = [await login(browser, EMAIL, WRONG) for _ in range(most - 1)]
        right = [await login(browser) for _ in range(5)]
        wrong += [await login(browser, EMAIL, WRONG)]
        held_up = await login(browser)

    assert {answer.status_code for answer in wrong} == {401}
    assert {answer.status_code for answer in right} == {200}
    assert held_up.status_code == 429


async def test_a_hash_of_older_parameters_is_made_anew(house: Door, ada: str) -> None:
    stronger = "$argon2id$v=19$m=64,t=1,p=1$"
    ((made,),) = await fetch("SELECT password_hash FROM users")
    async with house.visitor() as browser:
        assert (await login(browser)).status_code == 200

    ((kept,),) = await fetch("SELECT password_hash FROM users")
    assert kept == made
    assert not kept.startswith(stronger)


async def test_what_is_no_login_is_refused(house: Door) -> None:
    bodies: list[object] = [
        {"email": EMAIL},
        {"email": EMAIL, "password": 7},
        {"email": "no address", "password": "x"},
        {"email": "a\0b@example.com", "password": "x"},
        [],
    ]
    async with house.visitor() as visitor:
        answers = [await visitor.post("/v1/auth/login", json=body) for body in bodies]

    assert {answer.status_code for answer in answers} == {400}


async def test_a_body_that_is_longer_than_any_login_is_refused(house: Door) -> None:
    async with house.visitor() as visitor:
        answer = await visitor.post("/v1/auth/login", content=b" " * 100_000)

    assert answer.status_code in {400, 413}
