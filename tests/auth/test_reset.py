"""Passwords: changed by who knows the old one, or set anew by who reads the mail."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from jan import settings
from jan.auth import codes, owners, reset
from jan.auth.codes import GUESSES
from jan.caller import Caller
from jan.db.engine import Database
from jan.errors import NotFound
from jan.gateway.background import work
from jan.jobs import worker
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
)
from tests.gateways import DEADLINE_S, SECRETS, until
from tests.mail.servers import HOST, MailServer, mail_server

URL = "https://jan.example.com"
NEW = "an analytical engine"
RESET = "/v1/auth/password/reset"
REQUEST = "/v1/auth/password/reset-request"


@pytest.fixture
async def house(database: Database) -> AsyncIterator[Door]:
    async with door(database, guest_login=True, registration="open") as opened:
        yield opened


@pytest.fixture
async def ada(house: Door) -> str:
    return await new_person(house.means.passwords)


@asynccontextmanager
async def mailing(database: Database, home: Path) -> AsyncGenerator[MailServer]:
    """Do jobs during the block, with a mail server to send by."""
    async with mail_server() as server:
        said = {
            "home": home,
            "public_url": URL,
            "smtp_host": HOST,
            "smtp_port": server.port,
            "smtp_sender_email": "jan@example.com",
            "smtp_security": "none",
        }
        found = work(settings.load(said, environ={}).settings, SECRETS, database)
        working = asyncio.create_task(worker.run(database.dsn, found.jobs))
        try:
            yield server
        finally:
            working.cancel()
            await asyncio.wait([working])


def code_in(link: str) -> str:
    found = re.search(rf"{URL}/reset\?code=([\w-]+)", link)
    assert found
    return found[1]


async def new_code(house: Door, email: str = EMAIL) -> str:
    return code_in(await reset.link(email, codes=house.means.codes, url=URL))


async def redeem(house: Door, code: str, password: str = NEW) -> httpx.Response:
    async with house.visitor() as visitor:
        return await visitor.post(RESET, json={"code": code, "password": password})


async def test_a_forgotten_password_is_set_anew_by_a_link_in_a_mail(
    house: Door, ada: str, database: Database, home: Path
) -> None:
    async with mailing(database, home) as server, house.visitor() as visitor:
        asked = await visitor.post(REQUEST, json={"email": EMAIL.upper()})
        await until(lambda: server.letters)
        (letter,) = server.letters
        text = letter.get_body(("plain",))
        assert text
        done = await redeem(house, code_in(text.get_content()))
        old, new = await login(visitor), await login(visitor, EMAIL, NEW)

    assert asked.status_code == 202
    assert str(letter["To"]) == EMAIL
    assert "60 minutes" in text.get_content()
    assert (done.status_code, done.content) == (204, b"")
    assert (old.status_code, new.status_code) == (401, 200)
    assert "user.updated" in await acts()


async def test_nobody_learns_from_a_request_who_has_an_account(
    house: Door, ada: str, database: Database, home: Path
) -> None:
    bob = await new_person(house.means.passwords, "bob@example.com")
    await disable(bob)
    async with house.visitor() as visitor:
        guest = await visitor.post("/v1/auth/guest-login")
        me = (await visitor.get("/v1/auth/me", headers=bearer(guest))).json()
    others = ["nobody@example.com", "bob@example.com", me["email"]]
    async with mailing(database, home) as server, house.visitor() as visitor:
        answers = [await visitor.post(REQUEST, json={"email": email}) for email in others]
        answers.append(await visitor.post(REQUEST, json={"email": EMAIL}))
        await until(lambda: server.letters)
        with anyio.fail_after(DEADLINE_S):
            while await fetch("SELECT 1 FROM pgqueuer"):
                await asyncio.sleep(0.01)

    assert {(answer.status_code, answer.content) for answer in answers} == {
        (202, answers[0].content)
    }
    assert [str(letter["To"]) for letter in server.letters] == [EMAIL]


async def test_nobodys_mailbox_is_flooded(house: Door, ada: str) -> None:
    most = reset.REQUESTS_FOR_ACCOUNT.most
    async with house.visitor() as visitor:
        for email in (EMAIL, "nobody@example.com"):
            answers = [await visitor.post(REQUEST, json={"email": email}) for _ in range(most + 1)]

            assert [answer.status_code for answer in answers] == [202] * most + [429]
    assert len(await fetch("SELECT 1 FROM pgqueuer")) == 2 * most


async def test_without_a_mail_server_the_operator_is_told_what_to_do(
    house: Door, ada: str, database: Database, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = work(settings.load({"home": home}, environ={}).settings, SECRETS, database)
    (job,) = [job for job in found.jobs if job.name == reset.JOB]

    await job.handler(reset.Wanted(EMAIL))

    said = capsys.readouterr().out
    assert "jan user reset-link" in said
    assert EMAIL not in said
    assert not await fetch("SELECT 1 FROM one_time_code")


async def test_a_link_works_once_and_for_an_hour(house: Door, ada: str) -> None:
    used, late = await new_code(house), ""
    assert (await redeem(house, used)).status_code == 204

    late = await new_code(house)
    await execute(
        "UPDATE one_time_code SET expires_at = expires_at - $1::interval",
        codes.LIFETIMES["password_reset"],
    )
    again = [await redeem(house, code, "yet another one") for code in (used, late, "", "x" * 43)]

    assert [answer.status_code for answer in again] == [400] * 4
    assert {answer.json()["error"]["code"] for answer in again} == {"invalid_code"}
    async with house.visitor() as visitor:
        assert (await login(visitor, EMAIL, NEW)).status_code == 200


async def test_of_two_who_use_a_link_at_once_one_sets_the_password(house: Door, ada: str) -> None:
    code = await new_code(house)

    words = [f"the password of number {number}" for number in range(6)]
    answers = await asyncio.gather(*(redeem(house, code, word) for word in words))

    assert sorted(answer.status_code for answer in answers) == [204] + [400] * 5
    (winner,) = [
        word for word, answer in zip(words, answers, strict=True) if answer.status_code == 204
    ]
    async with house.visitor() as visitor:
        assert (await login(visitor, EMAIL, winner)).status_code == 200


async def test_a_new_link_voids_the_old(house: Door, ada: str) -> None:
    old = await new_code(house)
    new = await new_code(house)

    assert [(await redeem(house, code)).status_code for code in (old, new)] == [400, 204]


async def test_a_bad_password_does_not_use_the_link_up(house: Door, ada: str) -> None:
    code = await new_code(house)

    refused = [await redeem(house, code, word) for word in ("short", EMAIL, "x" * 200)]

    assert [answer.json()["error"]["param"] for answer in refused] == ["password"] * 3
    assert (await redeem(house, code)).status_code == 204


async def test_guessing_codes_is_held_up(house: Door) -> None:
    answers = [await redeem(house, "A" * 43) for _ in range(GUESSES.most + 1)]

    assert [answer.status_code for answer in answers] == [400] * GUESSES.most + [429]


async def test_a_reset_ends_all_sessions_and_opens_an_account_that_was_guessed_at(
    house: Door, ada: str
) -> None:
    async with house.visitor() as browser, house.visitor() as other:
        await login(browser)
        for _ in range(12):
            await login(other, EMAIL, "wrong")
        assert (await login(other)).status_code == 429

        await redeem(house, await new_code(house))

        assert (await browser.post("/v1/auth/refresh-token")).status_code == 401
        assert (await login(other, EMAIL, NEW)).status_code == 200


async def test_who_could_not_sign_in_gets_no_link(house: Door, ada: str) -> None:
    code = await new_code(house)
    await disable(ada)

    assert (await redeem(house, code)).status_code == 400
    for email in (EMAIL, "nobody@example.com"):
        with pytest.raises(NotFound):
            await new_code(house, email)


async def test_the_owner_of_the_mailbox_takes_over_what_somebody_made_with_the_address(
    house: Door, operator: Caller
) -> None:
    """Whoever registers with another's address must keep no way in when that one comes."""
    async with house.visitor() as squatter:
        guest = await squatter.post("/v1/auth/guest-login")
        said = {"email": EMAIL, "password": PASSWORD}
        await squatter.post("/v1/auth/upgrade", json=said, headers=bearer(guest))
        ((user_id, is_proven),) = await fetch("SELECT id, is_email_proven FROM users")
        await execute(
            "INSERT INTO api_key (id, name, kind, project_id, user_id, digest, hint)"
            " SELECT 'key_1', 'x', 'project', id, owner_user_id, repeat('0', 64), 'abcd'"
            " FROM project WHERE owner_user_id = $1",
            user_id,
        )
        assert not is_proven
        assert await owners.appoint([EMAIL]) == []

        await redeem(house, await new_code(house))

        assert (await squatter.post("/v1/auth/refresh-token")).status_code == 401
        assert (await login(squatter)).status_code == 401
    ((revoked_at,),) = await fetch("SELECT revoked_at FROM api_key")
    assert revoked_at is not None
    assert await owners.appoint([EMAIL]) == [EMAIL]


async def test_a_password_is_changed_by_who_knows_it_and_other_sessions_end(
    house: Door, ada: str
) -> None:
    said = {"current_password": PASSWORD, "password": NEW}
    async with house.visitor() as here, house.visitor() as elsewhere:
        mine = bearer(await login(here))
        await login(elsewhere)
        wrong = await here.post(
            "/v1/auth/password", json={**said, "current_password": "x"}, headers=mine
        )
        easy = await here.post(
            "/v1/auth/password", json={**said, "password": "password"}, headers=mine
        )
        done = await here.post("/v1/auth/password", json=said, headers=mine)

        assert (wrong.status_code, wrong.json()["error"]["param"]) == (401, "current_password")
        assert (easy.status_code, easy.json()["error"]["param"]) == (400, "password")
        assert done.status_code == 204
        assert (await here.post("/v1/auth/refresh-token")).status_code == 200
        assert (await elsewhere.post("/v1/auth/refresh-token")).status_code == 401
        assert (await login(elsewhere)).status_code == 401
        assert (await login(elsewhere, EMAIL, NEW)).status_code == 200
    assert await acts("user.updated") == ["user.updated"]
    rows = await fetch("SELECT details FROM audit_log")
    assert not any(NEW in row["details"] or PASSWORD in row["details"] for row in rows)


async def test_who_took_a_session_can_neither_guess_the_password_nor_set_the_first(
    house: Door, ada: str
) -> None:
    said = {"current_password": "x", "password": NEW}
    async with house.visitor() as thief:
        taken = bearer(await login(thief))
        statuses = [
            (await thief.post("/v1/auth/password", json=said, headers=taken)).status_code
            for _ in range(11)
        ]
        await execute("UPDATE users SET password_hash = NULL")
        first = await thief.post("/v1/auth/password", json=said, headers=taken)

    assert statuses == [401] * 10 + [429]
    assert first.status_code == 409
