"""Accepting: once, in time, by whoever has the code, and never to somebody else's advantage."""

import asyncio
from typing import Any

import anyio
import pytest

from jan.db.engine import Database
from jan.errors import Conflict, Forbidden, InvalidCode, InvalidRequest, RateLimited
from jan.invites import acceptance
from jan.invites.codes import Codes
from tests.conftest import execute, fetch, locking
from tests.invites.conftest import (
    BOB,
    Office,
    acts,
    add_user,
    code_of,
    projects_of,
    role_of,
)

PASSWORD = "correct horse battery"
MAILED = "UPDATE invite SET was_mailed = true"
USER = "SELECT * FROM users WHERE email = $1"


async def _bob() -> Any:
    (row,) = await fetch(USER, BOB)
    return row


async def test_somebody_new_is_registered_and_given_their_roles(office: Office) -> None:
    invite = await office.invite(
        role="reader", projects=[("proj_a", "owner"), ("proj_a2", "member")]
    )

    accepted = await office.accept(code_of(invite), name=" Bob ", password=PASSWORD)

    bob = await _bob()
    assert (accepted.status, accepted.is_new_user) == ("accepted", True)
    assert accepted.accepted_at is not None
    assert (accepted.user_id, accepted.organization_name) == (bob["id"], "org_a")
    assert (bob["name"], bob["is_guest"]) == ("Bob", False)
    assert await office.means.passwords.verify(PASSWORD, bob["password_hash"])
    assert await role_of(bob["id"]) == "reader"
    assert await projects_of(bob["id"]) == {"proj_a": "owner", "proj_a2": "member"}
    assert len(await fetch("SELECT id FROM project WHERE owner_user_id = $1", bob["id"])) == 1
    assert await acts() == ["invite.sent", "invite.accepted", "user.added"]
    (log,) = await fetch("SELECT actor FROM audit_log WHERE type = 'invite.accepted'")
    assert "203.0.113.7" in log["actor"]


async def test_a_name_and_a_password_may_be_left_out(office: Office) -> None:
    await office.accept(code_of(await office.invite()))

    bob = await _bob()
    assert (bob["name"], bob["password_hash"]) == ("", None)


async def test_somebody_who_is_registered_keeps_their_name_and_password(office: Office) -> None:
    await add_user("user_bob", BOB, name="Bob", password_hash="hash")
    invite = await office.invite("BOB@example.com", projects=[("proj_a", "member")])

    accepted = await office.accept(code_of(invite), name="Eve", password=PASSWORD)

    bob = await _bob()
    assert (accepted.user_id, accepted.is_new_user) == ("user_bob", False)
    assert (bob["name"], bob["password_hash"]) == ("Bob", "hash")
    assert await role_of("user_bob") == "member"


async def test_a_code_works_once(office: Office) -> None:
    code = code_of(await office.invite())
    await office.accept(code)

    with pytest.raises(InvalidCode):
        await office.accept(code)


async def test_of_two_who_accept_at_once_one_does(office: Office, database: Database) -> None:
    code = code_of(await office.invite())

    async with locking(database, "SELECT id FROM invite FOR UPDATE") as other:
        both = [asyncio.create_task(office.accept(code)) for _ in range(2)]
        with anyio.fail_after(5):
            while await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < 2:
                await asyncio.sleep(0.005)
    done = await asyncio.gather(*both, return_exceptions=True)

    assert sum(isinstance(each, InvalidCode) for each in done) == 1
    assert (await acts()).count("user.added") == 1
    assert len(await fetch(USER, BOB)) == 1


async def test_an_overdue_invite_is_not_accepted(office: Office) -> None:
    code = code_of(await office.invite())
    await execute("UPDATE invite SET expires_at = now() - interval '1 second'")

    with pytest.raises(InvalidCode):
        await office.accept(code)
    assert await fetch(USER, BOB) == []


@pytest.mark.parametrize("code", ["", "a", "x" * 43, "\x00" * 43, "é" * 43, "x" * 100_000])
async def test_what_is_no_code_is_refused_as_a_wrong_one(office: Office, code: str) -> None:
    with pytest.raises(InvalidCode) as refusal:
        await office.accept(code)

    assert refusal.value.param == "code"


async def test_a_code_of_another_secret_is_none(office: Office) -> None:
    code = code_of(await office.invite())
    assert Codes("another" * 8).digest(code) != Codes("s" * 32).digest(code)
    await execute("UPDATE invite SET digest = $1", Codes("another" * 8).digest(code))

    with pytest.raises(InvalidCode):
        await office.accept(code)


async def test_who_guesses_codes_is_held_up_and_who_has_one_is_not_counted(office: Office) -> None:
    code = code_of(await office.invite())
    for _ in range(acceptance.GUESSES.most - 1):
        with pytest.raises(InvalidCode):
            await office.accept("x" * 43)
    other = await office.invite("eve@example.com")

    await office.accept(code)  # gives its try back
    with pytest.raises(InvalidCode):
        await office.accept("x" * 43)

    with pytest.raises(RateLimited) as refusal:
        await office.accept(code_of(other))
    assert refusal.value.retry_after_s


async def test_a_higher_role_is_kept(office: Office) -> None:
    await add_user("user_bob", BOB)
    invite = await office.invite(role="reader", projects=[("proj_a", "member")])
    await execute("INSERT INTO organization_member VALUES ('org_a', 'user_bob', 'owner')")
    await execute("INSERT INTO project_member VALUES ('proj_a', 'org_a', 'user_bob', 'owner')")

    await office.accept(code_of(invite))

    assert await role_of("user_bob") == "owner"
    assert await projects_of("user_bob") == {"proj_a": "owner"}
    assert await acts() == ["invite.sent", "invite.accepted"]


async def test_a_lower_role_is_raised(office: Office) -> None:
    await add_user("user_bob", BOB)
    invite = await office.invite(role="owner", projects=[("proj_a", "owner")])
    await execute("INSERT INTO organization_member VALUES ('org_a', 'user_bob', 'member')")
    await execute("INSERT INTO project_member VALUES ('proj_a', 'org_a', 'user_bob', 'member')")

    await office.accept(code_of(invite))

    assert await role_of("user_bob") == "owner"
    assert await projects_of("user_bob") == {"proj_a": "owner"}
    assert await acts() == ["invite.sent", "invite.accepted", "user.updated"]


async def test_what_was_archived_meanwhile_is_left_out(office: Office) -> None:
    invite = await office.invite(projects=[("proj_a", "member"), ("proj_a2", "member")])
    await execute("UPDATE project SET archived_at = now() WHERE id = 'proj_a'")

    accepted = await office.accept(code_of(invite))

    assert await projects_of(accepted.user_id) == {"proj_a2": "member"}


async def test_a_disabled_account_is_refused_and_the_invite_stays(office: Office) -> None:
    await add_user("user_bob", BOB, is_enabled=False)
    code = code_of(await office.invite())

    with pytest.raises(Forbidden):
        await office.accept(code)

    assert await role_of("user_bob") is None
    await execute("UPDATE users SET is_enabled = true WHERE id = 'user_bob'")
    await office.accept(code)


async def test_a_guest_is_refused_until_they_have_an_address_of_their_own(office: Office) -> None:
    await add_user("user_guest", "jan_1@guest.jan.ai", is_guest=True)
    code = code_of(await office.invite("jan_1@guest.jan.ai"))

    with pytest.raises(Conflict):
        await office.accept(code)

    await execute("UPDATE users SET is_guest = false WHERE id = 'user_guest'")
    assert (await office.accept(code)).user_id == "user_guest"


@pytest.mark.parametrize(
    ("field", "value"), [("password", "short"), ("password", BOB), ("name", "x" * 101)]
)
async def test_what_does_not_fit_uses_nothing_up(office: Office, field: str, value: str) -> None:
    code = code_of(await office.invite())

    with pytest.raises(InvalidRequest) as refusal:
        await office.accept(code, **{field: value})

    assert refusal.value.param == field
    await office.accept(code)


@pytest.mark.parametrize(
    "fall",
    [
        "UPDATE organization_member SET role = 'member' WHERE user_id = 'owner_2'",
        "DELETE FROM organization_member WHERE user_id = 'owner_2'",
        "UPDATE users SET is_enabled = false WHERE id = 'owner_2'",
        "DELETE FROM users WHERE id = 'owner_2'",
    ],
)
async def test_who_is_an_owner_no_more_does_not_come_back_by_an_invite(
    office: Office, fall: str
) -> None:
    code = code_of(await office.invite(role="owner"))
    await add_user("owner_2", "owner_2@example.com")
    await execute("INSERT INTO organization_member VALUES ('org_a', 'owner_2', 'owner')")
    await execute("UPDATE invite SET invited_by = 'owner_2'")

    await execute(fall)

    with pytest.raises(InvalidCode):
        await office.accept(code)


@pytest.mark.parametrize(
    ("was_mailed", "password", "is_proven"),
    [(True, PASSWORD, True), (False, PASSWORD, False), (False, "", True)],
)
async def test_only_a_code_that_was_mailed_proves_an_address(
    office: Office, was_mailed: bool, password: str, is_proven: bool
) -> None:
    code = code_of(await office.invite())
    await execute("UPDATE invite SET was_mailed = $1", was_mailed)

    await office.accept(code, password=password)

    assert (await _bob())["is_email_proven"] is is_proven


async def test_who_claims_an_address_does_not_get_its_owners_invites(office: Office) -> None:
    claimed = await office.means.passwords.hash(PASSWORD)
    await add_user("user_eve", BOB, is_email_proven=False, password_hash=claimed)
    code = code_of(await office.invite(role="owner"))
    await execute(MAILED)

    for password in ({}, {"password": "another password"}):
        with pytest.raises(Forbidden) as refusal:
            await office.accept(code, **password)
        assert refusal.value.param == "password"
    assert await role_of("user_eve") is None

    await office.accept(code, password=PASSWORD)
    assert await role_of("user_eve") == "owner"
    assert (await _bob())["is_email_proven"]
