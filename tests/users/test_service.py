"""People's accounts: made, locked out, and gone, by who administers this Jan."""

import asyncio

import pytest

from jan.errors import Conflict, Forbidden, InvalidRequest, NotFound
from jan.pages import Wanted
from jan.users import service as users
from jan.users.schemas import UserUpdate
from tests.conftest import execute, fetch
from tests.tenants import Tenants

MODELS = "/v1/models"


async def account_acts() -> list[tuple[str, str]]:
    """Tell what was done to accounts, and in whose log it stands."""
    rows = await fetch(
        "SELECT type, organization_id FROM audit_log WHERE type ~ '^(account|user)\\.'"
        " ORDER BY effective_at"
    )
    return [tuple(row) for row in rows]


async def test_a_person_gets_an_account_and_a_project_of_their_own(tenants: Tenants) -> None:
    platform = await tenants.caller(tenants.platform)

    made = await users.create(platform, email=" Ann@Example.com", name=" Ann ", password_hash="h")

    assert (made.email, made.name, made.is_enabled) == ("ann@example.com", "Ann", True)
    assert await users.get(platform, made.id) == made
    assert len(await fetch("SELECT FROM project WHERE owner_user_id = $1", made.id)) == 1
    assert await fetch("SELECT FROM organization_member WHERE user_id = $1", made.id) == []
    assert await account_acts() == [("account.created", tenants.default_organization_id)]
    [row] = await fetch("SELECT details FROM audit_log WHERE type = 'account.created'")
    assert "password" not in row["details"]


async def test_an_address_has_one_account(tenants: Tenants) -> None:
    platform = await tenants.caller(tenants.platform)

    done = await asyncio.gather(
        *(users.create(platform, email="ann@example.com") for _ in range(2)),
        return_exceptions=True,
    )

    assert sorted(type(each).__name__ for each in done) == ["Conflict", "User"]
    with pytest.raises(Conflict):
        await users.create(platform, email=tenants.a.owner.email.upper())


@pytest.mark.parametrize(
    ("email", "name", "param"),
    [
        ("", "x", "email"),
        ("a@b\0", "x", "email"),
        ("a" * 300 + "@b.c", "x", "email"),
        ("a@b.c", "x" * 101, "name"),
        ("a@b.c", "a\nb", "name"),
    ],
)
async def test_what_does_not_fit_is_refused(
    tenants: Tenants, email: str, name: str, param: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await users.create(await tenants.caller(tenants.platform), email=email, name=name)

    assert refusal.value.param == param


async def test_all_people_are_listed_guests_too(tenants: Tenants) -> None:
    platform = await tenants.caller(tenants.platform_key)

    everybody = await users.page(platform, Wanted(limit=100))
    first = await users.page(platform, Wanted(limit=7))
    second = await users.page(platform, Wanted(limit=7, after=first.last_id))
    some = await users.page(platform, Wanted(), [tenants.guest.email.upper(), "nobody@x.y"])

    assert len(everybody.data) == 13
    assert [*first.data, *second.data] == everybody.data
    assert [(user.id, user.is_guest) for user in some.data] == [(tenants.guest.id, True)]


async def test_whoever_is_locked_out_is_out_everywhere_at_once(tenants: Tenants) -> None:
    person, key = tenants.a.project_member, tenants.a.project_key
    platform = await tenants.caller(tenants.platform)
    for credential in (person, key):
        assert (await tenants.call(credential, "GET", MODELS)).status_code == 200

    changed = await users.update(platform, person.id, UserUpdate(is_enabled=False))

    assert not changed.is_enabled
    for credential in (person, key):
        async with asyncio.timeout(1):
            while (await tenants.call(credential, "GET", MODELS)).status_code != 401:
                await asyncio.sleep(0.01)
    assert await account_acts() == [("account.updated", tenants.default_organization_id)]


async def test_whoever_is_let_in_again_signs_in_anew_and_keeps_their_keys(tenants: Tenants) -> None:
    person, key = tenants.a.project_member, tenants.a.project_key
    platform = await tenants.caller(tenants.platform)
    await users.update(platform, person.id, UserUpdate(is_enabled=False))

    await users.update(platform, person.id, UserUpdate(is_enabled=True))

    async with asyncio.timeout(1):
        while (await tenants.call(key, "GET", MODELS)).status_code != 200:
            await asyncio.sleep(0.01)
    assert (await tenants.call(person, "GET", MODELS)).status_code == 401


async def test_a_change_says_what_changes(tenants: Tenants) -> None:
    platform = await tenants.caller(tenants.platform)

    renamed = await users.update(platform, tenants.loner.id, UserUpdate(name=" Lone "))

    assert (renamed.name, renamed.is_enabled) == ("Lone", True)
    with pytest.raises(InvalidRequest):
        await users.update(platform, tenants.loner.id, UserUpdate())
    with pytest.raises(InvalidRequest):
        await users.update(platform, tenants.loner.id, UserUpdate(name="x" * 101))


async def test_nobody_locks_themselves_out_or_deletes_themselves(tenants: Tenants) -> None:
    for who in (tenants.platform, tenants.platform_key):
        caller = await tenants.caller(who)
        with pytest.raises(Conflict, match="your own"):
            await users.update(caller, tenants.platform.id, UserUpdate(is_enabled=False))
        with pytest.raises(Conflict, match="your own"):
            await users.delete(caller, tenants.platform.id)
        renamed = await users.update(caller, tenants.platform.id, UserUpdate(name="me"))
        assert renamed.is_enabled


async def test_whoever_is_deleted_is_gone_from_everywhere(tenants: Tenants) -> None:
    person = tenants.a.project_member
    await execute(
        "INSERT INTO organization_member (organization_id, user_id, role)"
        " VALUES ($1, $2, 'reader')",
        *(tenants.b.id, person.id),
    )
    platform = await tenants.caller(tenants.platform)

    gone = await users.delete(platform, person.id)

    assert (gone.id, gone.deleted) == (person.id, True)
    for table in ("organization_member", "project_member", "api_key", "session"):
        assert await fetch(f"SELECT FROM {table} WHERE user_id = $1", person.id) == [], table
    assert await fetch("SELECT FROM project WHERE owner_user_id = $1", person.id) == []
    with pytest.raises(NotFound):
        await users.get(platform, person.id)
    assert sorted(await account_acts()) == sorted(
        [
            ("account.deleted", tenants.default_organization_id),
            ("user.deleted", tenants.a.id),
            ("user.deleted", tenants.b.id),
        ]
    )
    async with asyncio.timeout(1):
        while (await tenants.call(person, "GET", MODELS)).status_code != 401:
            await asyncio.sleep(0.01)


async def test_an_organizations_last_owner_is_not_deleted(tenants: Tenants) -> None:
    platform = await tenants.caller(tenants.platform)

    with pytest.raises(Conflict, match="keeps an owner"):
        await users.delete(platform, tenants.a.owner.id)

    assert (await users.get(platform, tenants.a.owner.id)).is_enabled
    assert await account_acts() == []


async def test_only_who_administers_this_jan_may_do_any_of_it(tenants: Tenants) -> None:
    for who in (tenants.a.owner, tenants.a.admin_key, tenants.loner):
        caller = await tenants.caller(who)
        with pytest.raises(Forbidden):
            await users.page(caller, Wanted())
        with pytest.raises(Forbidden):
            await users.get(caller, tenants.a.member.id)
        with pytest.raises(Forbidden):
            await users.create(caller, email="x@y.z")
        with pytest.raises(Forbidden):
            await users.update(caller, tenants.a.member.id, UserUpdate(is_enabled=False))
        with pytest.raises(Forbidden):
            await users.delete(caller, tenants.a.member.id)


@pytest.mark.parametrize("user_id", ["user_missing", "", "x" * 10_000])
async def test_nobody_is_not_found(tenants: Tenants, user_id: str) -> None:
    platform = await tenants.caller(tenants.platform)

    with pytest.raises(NotFound):
        await users.update(platform, user_id, UserUpdate(name="x"))
    with pytest.raises(NotFound):
        await users.delete(platform, user_id)
