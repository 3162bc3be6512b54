"""Who is in an organization and as what: one of them is an owner, always."""

import asyncio

import pytest

from jan.errors import Conflict, Forbidden, InvalidRequest, NotFound
from jan.organization import members
from jan.organization.schemas import MemberAdd
from jan.pages import Wanted
from jan.permissions import OrganizationRole
from jan.projects import service as projects
from tests.conftest import fetch, locking, until_blocked
from tests.tenants import Person, Tenants, new_person

OWNERS = "SELECT user_id FROM organization_member WHERE organization_id = $1 AND role = 'owner'"


async def owners(tenants: Tenants) -> list[str]:
    """Tell who owns organization A."""
    return [row["user_id"] for row in await fetch(OWNERS, tenants.a.id)]


async def second_owner(tenants: Tenants) -> Person:
    """Put another owner into organization A."""
    return await new_person("second", organization_id=tenants.a.id, role="owner")


async def test_owners_and_readers_see_everybody_in_their_organization(tenants: Tenants) -> None:
    a = tenants.a
    for who in (a.owner, a.reader, a.admin_key):
        page = await members.page(await tenants.caller(who), Wanted())
        assert {m.id: m.role for m in page.data} == {
            a.owner.id: "owner",
            a.reader.id: "reader",
            a.member.id: "member",
            a.project_owner.id: "member",
            a.project_member.id: "member",
        }
    for who in (a.member, a.project_owner, tenants.loner):
        with pytest.raises(Forbidden):
            await members.page(await tenants.caller(who), Wanted())


async def test_a_list_can_be_narrowed_to_addresses(tenants: Tenants) -> None:
    a = tenants.a
    wanted = [f" {a.member.email.upper()}", tenants.b.member.email, "nobody", "a\u200bb@c.d", ""]

    page = await members.page(await tenants.caller(a.reader), Wanted(), wanted)

    assert [m.id for m in page.data] == [a.member.id]
    with pytest.raises(InvalidRequest) as refusal:
        await members.page(await tenants.caller(a.reader), Wanted(), ["x"] * 101)
    assert refusal.value.param == "emails"


async def test_an_owner_gives_another_role_and_it_is_written_down(tenants: Tenants) -> None:
    a = tenants.a

    changed = await members.update(await tenants.caller(a.owner), a.member.id, "reader")

    assert (changed.id, changed.role) == (a.member.id, "reader")
    [row] = await fetch("SELECT details FROM audit_log WHERE type = 'user.updated'")
    assert '"before":{"role":"member"}' in row["details"]
    assert '"changes_requested":{"role":"reader"}' in row["details"]


async def test_a_new_role_counts_in_the_next_second(tenants: Tenants) -> None:
    a = tenants.a
    path = "/v1/organization/users"
    assert (await tenants.call(a.member, "GET", path)).status_code == 403

    await members.update(await tenants.caller(a.owner), a.member.id, "reader")

    async with asyncio.timeout(1):
        while (await tenants.call(a.member, "GET", path)).status_code != 200:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("role", ["reader", "member"])
async def test_the_last_owner_stays_one(tenants: Tenants, role: OrganizationRole) -> None:
    a = tenants.a
    owner = await tenants.caller(a.owner)

    with pytest.raises(Conflict, match="keeps an owner"):
        await members.update(owner, a.owner.id, role)
    with pytest.raises(Conflict, match="keeps an owner"):
        await members.remove(owner, a.owner.id)

    assert await owners(tenants) == [a.owner.id]
    assert await fetch("SELECT FROM audit_log WHERE type LIKE 'user.%'") == []


async def test_an_owner_may_go_when_there_is_another(tenants: Tenants) -> None:
    second = await second_owner(tenants)
    owner = await tenants.caller(tenants.a.owner)

    await members.remove(owner, tenants.a.owner.id)

    assert await owners(tenants) == [second.id]


async def test_of_two_owners_who_demote_each_other_at_once_one_does(tenants: Tenants) -> None:
    first, second = tenants.a.owner, await second_owner(tenants)
    by_first, by_second = await tenants.caller(first), await tenants.caller(second)
    # Both get as far as the rule: neither has committed when the other is looked at.
    lock = f"SELECT FROM organization WHERE id = '{tenants.a.id}' FOR UPDATE"
    async with locking(tenants.database, lock) as connection:
        acts = [
            asyncio.create_task(members.update(by_first, second.id, "member")),
            asyncio.create_task(members.update(by_second, first.id, "member")),
        ]
        await until_blocked(connection, 2)
    done = await asyncio.gather(*acts, return_exceptions=True)

    assert sorted(type(each).__name__ for each in done) == ["Conflict", "OrganizationUser"]
    assert len(await owners(tenants)) == 1


async def test_of_two_owners_who_leave_at_once_one_does(tenants: Tenants) -> None:
    first, second = tenants.a.owner, await second_owner(tenants)
    lock = f"SELECT FROM organization WHERE id = '{tenants.a.id}' FOR UPDATE"
    by_first, by_second = await tenants.caller(first), await tenants.caller(second)
    async with locking(tenants.database, lock) as connection:
        acts = [
            asyncio.create_task(members.remove(by_first, first.id)),
            asyncio.create_task(members.remove(by_second, second.id)),
        ]
        await until_blocked(connection, 2)
    done = await asyncio.gather(*acts, return_exceptions=True)

    assert sorted(type(each).__name__ for each in done) == ["Conflict", "Deleted"]
    assert len(await owners(tenants)) == 1


async def test_whoever_is_removed_leaves_all_projects_and_no_key(tenants: Tenants) -> None:
    a = tenants.a
    member, owner = a.project_member, await tenants.caller(a.owner)
    caller = await tenants.caller(member)

    await members.remove(owner, member.id)

    with pytest.raises(NotFound):
        await projects.get(caller, a.project_id)
    assert await fetch("SELECT FROM api_key WHERE user_id = $1", member.id) == []
    assert await fetch("SELECT FROM project_member WHERE user_id = $1", member.id) == []
    with pytest.raises(NotFound):
        await members.remove(owner, member.id)
    async with asyncio.timeout(1):
        while (await tenants.call(a.project_key, "GET", "/v1/models")).status_code != 401:
            await asyncio.sleep(0.01)


async def test_nobody_below_an_owner_changes_roles(tenants: Tenants) -> None:
    a = tenants.a
    for who in (a.reader, a.member, a.project_owner, a.project_member, tenants.loner):
        caller = await tenants.caller(who)
        with pytest.raises(Forbidden):
            await members.update(caller, who.id, "owner")
        with pytest.raises(Forbidden):
            await members.remove(caller, a.owner.id)


async def test_people_of_another_organization_look_like_nobody(tenants: Tenants) -> None:
    owner = await tenants.caller(tenants.a.owner)
    for user_id in (tenants.b.owner.id, tenants.loner.id, "user_missing"):
        message = f"There is no user `{user_id}` in this organization"
        with pytest.raises(NotFound, match=message):
            await members.get(owner, user_id)
        with pytest.raises(NotFound, match=message):
            await members.update(owner, user_id, "reader")
        with pytest.raises(NotFound, match=message):
            await members.remove(owner, user_id)


async def test_without_an_invite_only_this_jans_administrator_brings_people_in(
    tenants: Tenants,
) -> None:
    platform = await tenants.caller(tenants.platform)

    added = await members.add(platform, MemberAdd(role="reader", email=tenants.loner.email))

    assert (added.id, added.role) == (tenants.loner.id, "reader")
    with pytest.raises(Conflict, match="already"):
        await members.add(platform, MemberAdd(role="owner", user_id=tenants.loner.id))
    with pytest.raises(Conflict, match="guest"):
        await members.add(platform, MemberAdd(role="member", user_id=tenants.guest.id))
    with pytest.raises(NotFound):
        await members.add(platform, MemberAdd(role="member", email="nobody@example.com"))
    with pytest.raises(InvalidRequest):
        await members.add(platform, MemberAdd(role="member"))
    with pytest.raises(Forbidden):
        await members.add(
            await tenants.caller(tenants.a.owner),
            MemberAdd(role="member", user_id=tenants.b.member.id),
        )
