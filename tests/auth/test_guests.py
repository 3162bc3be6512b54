"""Guests: let in only where they are wanted, capped, and made people in place."""

from collections.abc import AsyncIterator

import pytest

from jan.auth import cookies, sign_in
from jan.auth import jobs as auth_jobs
from jan.db.engine import Database
from tests.conftest import execute, fetch
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
    with_cookie,
)

GUEST = "/v1/auth/guest-login"
ME = "/v1/auth/me"


@pytest.fixture
async def house(database: Database) -> AsyncIterator[Door]:
    async with door(database, guest_login=True, registration="open") as opened:
        yield opened


async def test_guests_are_not_let_in_unless_the_operator_says_so(database: Database) -> None:
    async with door(database) as house, house.visitor() as visitor:
        answer = await visitor.post(GUEST, json={})

    assert answer.status_code == 403
    assert not await fetch("SELECT 1 FROM users")


async def test_a_guest_has_a_made_up_name_and_a_project_and_nothing_else(house: Door) -> None:
    async with house.visitor() as visitor:
        answer = await visitor.post(GUEST)
        me = (await visitor.get(ME, headers=bearer(answer))).json()
        refused = await visitor.get("/v1/auth/sessions", headers=bearer(answer))

    assert answer.status_code == 200
    assert answer.json()["object"] == "access.token"
    name = me["name"]
    assert name.startswith("jan_")
    assert len(name) == 16
    assert me["email"] == f"{name}@guest.jan.ai"
    assert me["is_guest"] is True
    assert me["organizations"] == []
    assert [project["role"] for project in me["projects"]] == ["owner"]
    assert refused.status_code == 200
    assert await acts() == ["login.succeeded"]


async def test_a_browser_that_is_a_guest_stays_the_same_one(house: Door) -> None:
    async with house.visitor() as browser, house.visitor() as other:
        first = await browser.post(GUEST)
        again = await browser.post(GUEST, json={"whatever": 1})
        stranger = await other.post(GUEST)
        ids = [
            (await browser.get(ME, headers=bearer(answer))).json()["id"]
            for answer in (first, again, stranger)
        ]

    assert ids[0] == ids[1] != ids[2]
    assert len(await fetch("SELECT 1 FROM users")) == 2


async def test_a_person_is_not_lost_by_becoming_a_guest(house: Door) -> None:
    await new_person(house.means.passwords)
    async with house.visitor() as browser:
        await login(browser)
        answer = await browser.post(GUEST)

        assert answer.status_code == 409
        assert "set-cookie" not in answer.headers
        assert (await browser.post("/v1/auth/refresh-token")).status_code == 200


async def test_whose_session_is_over_begins_as_a_new_guest(house: Door) -> None:
    async with house.visitor() as browser:
        await browser.post(GUEST)
        await execute("UPDATE session SET ended_at = now()")
        answer = await browser.post(GUEST)

    assert answer.status_code == 200
    assert len(await fetch("SELECT 1 FROM users")) == 2


async def test_a_disabled_guest_comes_back_as_nobody_but_a_new_guest(house: Door) -> None:
    async with house.visitor() as browser:
        await browser.post(GUEST)
        ((guest,),) = await fetch("SELECT id FROM users")
        await disable(guest)
        again = await browser.post(GUEST)
        me = await browser.get(ME, headers=bearer(again))

    assert me.json()["id"] != guest


async def test_no_client_makes_guests_without_end(house: Door) -> None:
    most = sign_in.GUESTS_OF_CLIENT.most
    statuses: list[int] = []
    for _ in range(most + 2):
        async with house.visitor() as visitor:
            statuses.append((await visitor.post(GUEST)).status_code)
    async with house.visitor(x_forwarded_for="9.9.9.9") as elsewhere:
        other = await elsewhere.post(GUEST)

    assert statuses == [200] * most + [429] * 2
    assert other.status_code == 200
    assert len(await fetch("SELECT 1 FROM users")) == most + 1


async def test_a_guest_becomes_a_person_in_place(house: Door) -> None:
    async with house.visitor() as browser:
        as_guest = bearer(await browser.post(GUEST))
        guest = (await browser.get(ME, headers=as_guest)).json()
        token = refresh_token(browser)
        said = {"email": EMAIL.upper(), "password": PASSWORD, "name": "Ada"}
        upgraded = await browser.post("/v1/auth/upgrade", json=said, headers=as_guest)
        me = (await browser.get(ME, headers=bearer(upgraded))).json()
        twice = await browser.post("/v1/auth/upgrade", json=said, headers=bearer(upgraded))
        old = await browser.post("/v1/auth/refresh-token", headers=with_cookie(token))
    async with house.visitor() as anywhere:
        again = await login(anywhere)

    assert upgraded.status_code == again.status_code == 200
    assert (me["id"], me["projects"]) == (guest["id"], guest["projects"])
    assert (me["email"], me["name"], me["is_guest"]) == (EMAIL, "Ada", False)
    assert twice.status_code == 409
    assert old.status_code == 401  # what a guest's token was worth does not grow
    assert await acts("user.updated") == ["user.updated"]


async def test_an_upgrade_takes_no_one_elses_address_and_no_easy_password(house: Door) -> None:
    tried = {
        ("bob@example.com", PASSWORD): (409, "email"),
        ("no address", PASSWORD): (400, "email"),
        (EMAIL, "short"): (400, "password"),
        (EMAIL, EMAIL): (400, "password"),
    }
    await new_person(house.means.passwords, "bob@example.com")
    async with house.visitor() as browser:
        guest = bearer(await browser.post(GUEST))
        for (email, password), expected in tried.items():
            said = {"email": email, "password": password}
            answer = await browser.post("/v1/auth/upgrade", json=said, headers=guest)

            assert (answer.status_code, answer.json()["error"]["param"]) == expected


async def test_nobody_registers_by_themselves_where_one_is_invited(database: Database) -> None:
    async with door(database, guest_login=True) as house, house.visitor() as browser:
        guest = bearer(await browser.post(GUEST))
        said = {"email": EMAIL, "password": PASSWORD}
        answer = await browser.post("/v1/auth/upgrade", json=said, headers=guest)

    assert answer.status_code == 403


async def test_lost_guests_and_dead_sessions_are_removed_and_nothing_else(house: Door) -> None:
    await new_person(house.means.passwords)
    async with house.visitor() as lost, house.visitor() as here, house.visitor() as ada:
        await lost.post(GUEST)
        await execute("UPDATE session SET ended_at = now() - interval '8 days'")
        await here.post(GUEST)
        await login(ada)
        await execute("UPDATE users SET created_at = now() - interval '8 days'")
        await execute("UPDATE attempt SET ends_at = now() - interval '1 minute'")

        await auth_jobs.job().handler(None)

        assert (await here.post("/v1/auth/refresh-token")).status_code == 200
        assert cookies.REFRESH in ada.cookies
    people = await fetch("SELECT email, is_guest FROM users")
    assert sorted(row["is_guest"] for row in people) == [False, True]
    assert len(await fetch("SELECT 1 FROM session")) == 2
    assert not await fetch("SELECT 1 FROM attempt")
