"""Whose this Jan is at first: one link works, once; named owners are there at each start."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from jan.auth import owners
from jan.auth.codes import GUESSES
from jan.caller import Caller
from jan.db.engine import Database
from jan.errors import Conflict
from tests.conftest import execute, fetch
from tests.doors import EMAIL, PASSWORD, Door, acts, bearer, door, login, new_person

URL = "https://jan.example.com"
SETUP = "/v1/auth/setup"


@pytest.fixture
async def house(database: Database) -> AsyncIterator[Door]:
    async with door(database) as opened:
        yield opened


async def new_code(house: Door) -> str:
    """Make a link as `jan serve` does. Returns the code in it."""
    link = await owners.link(codes=house.means.codes, url=URL)
    assert link.startswith(f"{URL}/setup?code=")
    return parse_qs(urlsplit(link).query)["code"][0]


async def set_up(house: Door, code: str, email: str = EMAIL, **more: str) -> httpx.Response:
    """Fill the form in."""
    said = {"code": code, "email": email, "name": "Ada", "password": PASSWORD, **more}
    async with house.visitor() as visitor:
        return await visitor.post(SETUP, json=said)


async def owner_emails() -> list[str]:
    """List who owns the default organization."""
    rows = await fetch(
        "SELECT u.email FROM organization_member AS m JOIN users AS u ON u.id = m.user_id"
        " JOIN organization AS o ON o.id = m.organization_id"
        " WHERE m.role = 'owner' AND o.is_default ORDER BY u.email"
    )
    return [row["email"] for row in rows]


async def test_the_link_makes_its_holder_the_owner_and_signs_them_in(house: Door) -> None:
    answer = await set_up(house, await new_code(house))

    assert answer.status_code == 200
    assert answer.json()["object"] == "access.token"
    async with house.visitor() as visitor:
        me = (await visitor.get("/v1/auth/me", headers=bearer(answer))).json()
        again = await login(visitor)
    assert [(each["role"], each["is_default"]) for each in me["organizations"]] == [("owner", True)]
    assert again.status_code == 200
    assert await owner_emails() == [EMAIL]
    assert await acts("user.added") == ["user.added"]


async def test_the_link_works_once_and_none_is_made_for_what_is_owned(house: Door) -> None:
    code = await new_code(house)
    await set_up(house, code)

    again = await set_up(house, code, "eve@example.com")

    assert (again.status_code, again.json()["error"]["code"]) == (400, "invalid_code")
    assert await owner_emails() == [EMAIL]
    with pytest.raises(Conflict, match="owns"):
        await new_code(house)


async def test_of_two_who_use_the_link_at_once_one_owns(house: Door) -> None:
    code = await new_code(house)

    answers = await asyncio.gather(
        *(set_up(house, code, f"user{number}@example.com") for number in range(8))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert len(await owner_emails()) == 1
    assert len(await fetch("SELECT 1 FROM users")) == 1


async def test_a_new_start_makes_a_new_link_and_voids_the_old(house: Door) -> None:
    old = await new_code(house)
    new = await new_code(house)

    assert (await set_up(house, old)).status_code == 400
    assert (await set_up(house, new)).status_code == 200


async def test_a_link_is_no_good_after_a_day(house: Door) -> None:
    code = await new_code(house)
    await execute("UPDATE one_time_code SET expires_at = now() - interval '1 second'")

    assert (await set_up(house, code)).status_code == 400


async def test_a_link_that_waited_until_somebody_owned_is_no_good(
    house: Door, operator: Caller
) -> None:
    code = await new_code(house)
    await owners.appoint(["bob@example.com"])

    answer = await set_up(house, code)

    assert answer.status_code == 409
    assert await owner_emails() == ["bob@example.com"]


async def test_a_mistake_in_the_form_does_not_use_the_link_up(house: Door) -> None:
    code = await new_code(house)
    await new_person(house.means.passwords, "bob@example.com")

    mistakes = [
        await set_up(house, code, "no address"),
        await set_up(house, code, password="short"),
        await set_up(house, code, name="x" * 101),
        await set_up(house, code, "bob@example.com"),
    ]

    assert [answer.status_code for answer in mistakes] == [400, 400, 400, 409]
    assert [answer.json()["error"]["param"] for answer in mistakes] == [
        *("email", "password", "name", "email")
    ]
    assert (await set_up(house, code)).status_code == 200


async def test_codes_are_not_for_guessing(house: Door) -> None:
    code = await new_code(house)
    guesses = [await set_up(house, "A" * 43) for _ in range(GUESSES.most)]
    guesses += [await set_up(house, guess) for guess in ("", "x", code)]

    statuses = [answer.status_code for answer in guesses]
    assert statuses == [400] * GUESSES.most + [429] * 3
    ((digest,),) = await fetch("SELECT digest FROM one_time_code")
    assert code not in digest


async def test_a_code_for_one_thing_opens_no_other(house: Door) -> None:
    code = await new_code(house)
    async with house.visitor() as visitor:
        answer = await visitor.post(
            "/v1/auth/password/reset", json={"code": code, "password": PASSWORD}
        )

    assert answer.status_code == 400
    assert (await set_up(house, code)).status_code == 200


async def test_named_owners_are_registered_or_found_and_it_may_be_done_again(
    house: Door,
) -> None:
    await new_person(house.means.passwords, "bob@example.com")
    names = ["Ada@example.com", "bob@example.com", "ada@example.com"]

    first = await owners.appoint(names)
    second = await owners.appoint(names)

    assert first == ["ada@example.com", "bob@example.com"]
    assert second == []
    assert await owner_emails() == first
    assert len(await fetch("SELECT 1 FROM users")) == 2
    assert await acts() == ["user.added"] * 2


async def test_a_member_who_is_named_becomes_an_owner(house: Door, operator: Caller) -> None:
    bob = await new_person(house.means.passwords, "bob@example.com")
    await execute(
        "INSERT INTO organization_member (organization_id, user_id, role)"
        " VALUES ($1, $2, 'member')",
        *(operator.organization_id, bob),
    )

    assert await owners.appoint(["bob@example.com"]) == ["bob@example.com"]
    assert await owner_emails() == ["bob@example.com"]


async def test_replicas_that_start_at_once_appoint_each_owner_once(database: Database) -> None:
    names = ["ada@example.com", "bob@example.com"]

    found = await asyncio.gather(*(owners.appoint(names) for _ in range(4)))

    assert sorted(found) == [[], [], [], names]
    assert await owner_emails() == names
    assert len(await fetch("SELECT 1 FROM users")) == 2


async def test_who_only_claims_a_named_address_does_not_become_an_owner(house: Door) -> None:
    await new_person(house.means.passwords, EMAIL)
    await execute("UPDATE users SET is_email_proven = false")

    assert await owners.appoint([EMAIL]) == []
    assert await owner_emails() == []
