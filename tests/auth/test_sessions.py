"""Sessions: refreshed in turn, ended at once, and never worth anything to who took a token."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import anyio
import httpx
import jwt
import pytest

from jan import clock
from jan.auth import cookies, sessions
from jan.auth.tokens import AccessTokens
from jan.caller import Caller
from jan.db.engine import Database
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from tests.conftest import execute, fetch
from tests.doors import (
    SESSION_HEADERS,
    TOKENS,
    Door,
    acts,
    bearer,
    door,
    login,
    new_person,
    refresh_token,
    with_cookie,
)
from tests.gateways import DEADLINE_S, SECRETS

REFRESH = "/v1/auth/refresh-token"
ME = "/v1/auth/me"


@pytest.fixture
async def house(database: Database) -> AsyncIterator[Door]:
    async with door(database) as opened:
        yield opened


@pytest.fixture
async def ada(house: Door) -> str:
    return await new_person(house.means.passwords)


async def status(house: Door, method: str, path: str, **headers: str) -> int:
    """Ask once, as somebody without cookies."""
    async with house.visitor() as visitor:
        return (await visitor.request(method, path, headers=headers)).status_code


async def until_refused(house: Door, **headers: str) -> None:
    """Wait for a notification that is on its way."""
    with anyio.fail_after(DEADLINE_S):
        while await status(house, "GET", ME, **headers) != 401:
            await asyncio.sleep(0.005)


async def test_a_refresh_gives_both_tokens_anew(house: Door, ada: str) -> None:
    async with house.visitor() as browser:
        first = await login(browser)
        tokens = [refresh_token(browser)]
        answers: list[httpx.Response] = []
        for method in ("POST", "GET", "POST"):
            answers.append(await browser.request(method, REFRESH))
            tokens.append(refresh_token(browser))
        me = await browser.get(ME, headers=bearer(answers[-1]))

    assert [answer.status_code for answer in answers] == [200] * 3
    assert {answer.json()["object"] for answer in answers} == {"access.token"}
    assert len({answer.json()["access_token"] for answer in (first, *answers)}) == 4
    assert len(set(tokens)) == 4
    assert me.status_code == 200


async def test_a_refresh_token_that_comes_again_ends_the_whole_session(
    house: Door, ada: str
) -> None:
    async with house.visitor() as browser:
        await login(browser)
        stolen = refresh_token(browser)
        access = bearer(await browser.post(REFRESH))
        assert await status(house, "GET", ME, **access) == 200

        assert await status(house, "POST", REFRESH, **with_cookie(stolen)) == 401

        await until_refused(house, **access)
        assert (await browser.post(REFRESH)).status_code == 401
    assert await acts() == ["login.succeeded", "login.failed"]
    (row,) = await fetch("SELECT details FROM audit_log WHERE type = 'login.failed'")
    assert sessions.REUSED in row["details"]


async def test_another_session_of_the_same_person_goes_on(house: Door, ada: str) -> None:
    async with house.visitor() as stolen_from, house.visitor() as other:
        await login(stolen_from)
        await login(other)
        stolen = refresh_token(stolen_from)
        await stolen_from.post(REFRESH)
        await status(house, "POST", REFRESH, **with_cookie(stolen))

        assert (await other.post(REFRESH)).status_code == 200


async def test_the_tabs_of_a_browser_may_refresh_at_the_same_time(house: Door, ada: str) -> None:
    async with house.visitor() as browser:
        await login(browser)
        token = with_cookie(refresh_token(browser))
        async with house.visitor(**{"sec-fetch-site": "same-origin"}) as tabs:
            answers = await asyncio.gather(*(tabs.post(REFRESH, headers=token) for _ in range(6)))
            late = await tabs.post(REFRESH, headers=token)

    assert [answer.status_code for answer in (*answers, late)] == [200] * 7
    assert len({answer.cookies[cookies.REFRESH] for answer in (*answers, late)}) == 1


async def test_even_in_a_browser_an_old_token_betrays_its_thief(house: Door, ada: str) -> None:
    async with house.visitor() as browser:
        await login(browser)
        stolen = with_cookie(refresh_token(browser))
        await browser.post(REFRESH)
        await execute("UPDATE refresh_token SET used_at = used_at - $1::interval", sessions.GRACE)

        assert await status(house, "POST", REFRESH, **SESSION_HEADERS, **stolen) == 401
        assert (await browser.post(REFRESH)).status_code == 401


async def test_who_takes_a_token_within_the_grace_is_found_out_at_the_next(
    house: Door, ada: str
) -> None:
    async with house.visitor() as browser:
        await login(browser)
        stolen = refresh_token(browser)
        await browser.post(REFRESH)
        async with house.visitor(**{"sec-fetch-site": "same-origin"}) as thief:
            taken = await thief.post(REFRESH, headers=with_cookie(stolen))
            assert taken.cookies[cookies.REFRESH] == refresh_token(browser)  # not one more
        assert (await browser.post(REFRESH)).status_code == 200

        again = with_cookie(taken.cookies[cookies.REFRESH])
        assert await status(house, "POST", REFRESH, **again) == 401
        assert (await browser.post(REFRESH)).status_code == 401


async def test_of_programs_that_use_one_token_at_once_one_gets_in_and_then_none(
    house: Door, ada: str
) -> None:
    async with house.visitor() as browser:
        await login(browser)
        token = with_cookie(refresh_token(browser))
    statuses = await asyncio.gather(*(status(house, "POST", REFRESH, **token) for _ in range(5)))

    assert sorted(statuses) == [200, 401, 401, 401, 401]
    assert [row["ended_at"] is None for row in await fetch("SELECT ended_at FROM session")] == [
        False
    ]


async def test_what_is_no_refresh_token_refreshes_nothing(house: Door) -> None:
    async with house.visitor() as visitor:
        answers = [await visitor.post(REFRESH)]
        for cookie in ("", "x", "jrt_short", "jrt_" + "A" * 43, "jrt_" + "A" * 5000, "ü"):
            sent = [(b"cookie", f"{cookies.REFRESH}={cookie}".encode())]
            answers.append(await visitor.post(REFRESH, headers=sent))

    assert {answer.status_code for answer in answers} == {401}
    assert {answer.json()["error"]["code"] for answer in answers} == {"session_ended"}


async def test_neither_token_serves_as_the_other(house: Door, ada: str) -> None:
    async with house.visitor() as browser:
        access = (await login(browser)).json()["access_token"]
        refresh = refresh_token(browser)

    assert await status(house, "GET", ME, authorization=f"Bearer {refresh}") == 401
    assert await status(house, "POST", REFRESH, **with_cookie(access)) == 401


def forged(session_id: str, user_id: str, **changes: Any) -> dict[str, str]:
    """Tokens that we never made, each wrong in one way."""
    key, kid = SECRETS.jwt_secret, TOKENS._kid
    now = clock.now()
    claims = {
        "typ": "access",
        "iss": "jan",
        "aud": "jan",
        "sub": user_id,
        "sid": session_id,
        "jti": "x",
        "iat": now,
        "exp": now + timedelta(minutes=5),
    }

    def made(key: str = key, kid: str | None = kid, algorithm: str = "HS256", **more: Any) -> str:
        headers = {"kid": kid} if kid else {}
        return jwt.encode({**claims, **more}, key, algorithm, headers=headers)

    good = made()
    return {
        "good": good,
        "another secret": made("x" * 32),
        "alg none": made("", algorithm="none"),
        "another alg": made(key * 2, algorithm="HS512"),
        "no kid": made(kid=None),
        "wrong kid": made(kid="00000000"),
        "expired": made(exp=now - timedelta(minutes=1)),
        "another typ": made(typ="refresh"),
        "another iss": made(iss="elsewhere"),
        "another aud": made(aud="elsewhere"),
        "tampered": good[:-2] + ("AA" if good[-2:] != "AA" else "BB"),
        "truncated": good[: len(good) // 2],
        "no session": made(sid="sess_nothing"),
    }


async def test_no_forged_access_token_opens_a_route(house: Door, ada: str) -> None:
    async with house.visitor() as browser:
        await login(browser)
    ((session_id,),) = await fetch("SELECT id FROM session")

    found = {
        how: await status(house, "GET", ME, authorization=f"Bearer {token}")
        for how, token in forged(session_id, ada).items()
    }

    assert found.pop("good") == 200
    assert set(found.values()) == {401}, found


async def test_an_expired_token_says_so(house: Door, ada: str) -> None:
    async with house.visitor() as browser:
        token = forged("sess_1", ada)["expired"]
        answer = await browser.get(ME, headers={"authorization": f"Bearer {token}"})

    assert answer.json()["error"]["code"] == "token_expired"


async def test_tokens_of_a_previous_secret_are_read_and_those_of_an_older_one_are_not() -> None:
    old = TOKENS.issue(user_id="user_1", session_id="sess_1")

    assert AccessTokens("n" * 32, ["j" * 32]).read(old).user_id == "user_1"
    with pytest.raises(Exception, match="incorrect"):
        AccessTokens("n" * 32).read(old)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_after_logging_out_nothing_works_any_more(house: Door, ada: str, method: str) -> None:
    async with house.visitor() as browser:
        access = bearer(await login(browser))
        token = refresh_token(browser)
        assert await status(house, "GET", ME, **access) == 200

        answer = await browser.request(method, "/v1/auth/logout")

        assert (answer.status_code, answer.content) == (200, b"")
        assert cookies.REFRESH not in browser.cookies
    await until_refused(house, **access)
    assert await status(house, "POST", REFRESH, **with_cookie(token)) == 401
    assert await acts() == ["login.succeeded", "logout.succeeded"]


async def test_a_program_logs_out_by_its_access_token(house: Door, ada: str) -> None:
    async with house.visitor() as browser:
        access = bearer(await login(browser))

    assert await status(house, "POST", "/v1/auth/logout", **access) == 200

    await until_refused(house, **access)


async def test_logging_out_without_being_signed_in_is_no_error(house: Door) -> None:
    assert await status(house, "GET", "/v1/auth/logout") == 200
    assert await status(house, "POST", "/v1/auth/logout", **with_cookie("jrt_x")) == 200
    assert await status(house, "POST", "/v1/auth/logout", authorization="Bearer x") == 200


async def test_a_session_ends_a_week_after_its_last_use_and_after_a_month_in_any_case(
    house: Door, ada: str
) -> None:
    async with house.visitor() as browser:
        await login(browser)
        age = sessions.WHOLE - timedelta(days=1)
        await execute("UPDATE session SET created_at = created_at - $1::interval", age)

        answer = await browser.post(REFRESH)

        assert 80_000 < int(answer.headers["set-cookie"].partition("Max-Age=")[2][:5]) <= 86_400
        await execute("UPDATE session SET expires_at = now() - interval '1 second'")
        assert (await browser.post(REFRESH)).status_code == 401
        assert await status(house, "GET", ME, **bearer(answer)) == 401


async def test_a_person_sees_and_ends_their_own_sessions_and_no_others(
    house: Door, ada: str
) -> None:
    await new_person(house.means.passwords, "bob@example.com")
    async with house.visitor() as phone, house.visitor() as laptop, house.visitor() as bob:
        on_phone, on_laptop = bearer(await login(phone)), bearer(await login(laptop))
        bobs = bearer(await login(bob, "bob@example.com"))
        listed = (await laptop.get("/v1/auth/sessions", headers=on_laptop)).json()
        first = (await laptop.get("/v1/auth/sessions?limit=1", headers=on_laptop)).json()
        rest = await laptop.get(f"/v1/auth/sessions?after={first['last_id']}", headers=on_laptop)
        (other,) = [each["id"] for each in listed["data"] if not each["is_current"]]

        foreign = await bob.delete(f"/v1/auth/sessions/{other}", headers=bobs)
        missing = await bob.delete("/v1/auth/sessions/sess_1", headers=bobs)
        ended = await laptop.delete(f"/v1/auth/sessions/{other}", headers=on_laptop)
        twice = await laptop.delete(f"/v1/auth/sessions/{other}", headers=on_laptop)
        left = (await laptop.get("/v1/auth/sessions", headers=on_laptop)).json()

    assert listed["object"] == "list"
    assert [each["object"] for each in listed["data"]] == ["auth.session"] * 2
    assert first["has_more"] is True
    assert [each["id"] for each in rest.json()["data"]] == [other]
    assert foreign.status_code == missing.status_code == 404
    assert foreign.json()["error"]["code"] == missing.json()["error"]["code"]
    assert ended.json() == {"id": other, "deleted": True, "object": "auth.session.deleted"}
    assert twice.status_code == 200
    assert len(left["data"]) == 1
    await until_refused(house, **on_phone)
    assert await status(house, "GET", ME, **bobs) == 200


async def test_an_api_key_knows_its_owner_and_can_change_nothing_of_theirs(
    house: Door, ada: str, operator: Caller
) -> None:
    ((project_id,),) = await fetch("SELECT id FROM project WHERE owner_user_id = $1", ada)
    mine = Caller(
        kind="user",
        scopes=frozenset(),
        user_id=ada,
        project_id=project_id,
        is_at_home=True,
        organization_id=operator.organization_id,
        email="ada@example.com",
    )
    own = await keys.create(
        mine, KeyCreate(name="own", project_id=project_id), hmac_secret=SECRETS.api_key_secret
    )
    nobodys = await keys.create(operator, KeyCreate(name="x"), hmac_secret=SECRETS.api_key_secret)
    async with house.visitor(authorization=f"Bearer {own.secret}") as client:
        me = await client.get(ME)
        refused = [
            await client.get("/v1/auth/sessions"),
            await client.delete("/v1/auth/sessions/sess_1"),
            await client.post("/v1/auth/password", json={"current_password": "x", "password": "y"}),
            await client.post("/v1/auth/upgrade", json={"email": "a@b.c", "password": "y"}),
        ]

    assert (me.json()["id"], me.json()["object"]) == (ada, "me")
    assert [project["id"] for project in me.json()["projects"]] == [project_id]
    assert [answer.status_code for answer in refused] == [403] * 4
    assert await status(house, "GET", ME, authorization=f"Bearer {nobodys.secret}") == 403
