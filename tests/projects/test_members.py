"""Who is in a project: members of its organization only, let in by its owners."""

import asyncio

import pytest

from jan.errors import Conflict, Forbidden, InvalidRequest, NotFound
from jan.pages import Wanted
from jan.projects import members
from jan.projects import service as projects
from jan.projects.schemas import ProjectUserCreate
from tests.conftest import execute, fetch, locking, until_blocked
from tests.tenants import Tenants


def some(user_id: str) -> ProjectUserCreate:
    """Somebody who is to be a member."""
    return ProjectUserCreate(role="member", user_id=user_id)


async def test_a_projects_owner_lets_members_of_the_organization_in(tenants: Tenants) -> None:
    a = tenants.a
    owner = await tenants.caller(a.project_owner)

    added = await members.add(owner, a.project_id, some(a.member.id))

    assert (added.email, added.name, added.role) == (a.member.email, a.member.name, "member")
    page = await members.page(owner, a.project_id, Wanted())
    assert [m.id for m in page.data] == [a.project_owner.id, a.project_member.id, a.member.id]
    assert (await projects.get(await tenants.caller(a.member), a.project_id)).id == a.project_id
    rows = await fetch("SELECT type, project_id, details FROM audit_log WHERE type LIKE 'user.%'")
    assert [(row["type"], row["project_id"]) for row in rows] == [("user.added", a.project_id)]
    assert a.member.id in rows[0]["details"]


async def test_an_address_names_a_person_too_however_it_is_written(tenants: Tenants) -> None:
    a = tenants.a
    wanted = ProjectUserCreate(role="owner", email=f"  {a.member.email.upper()} ")

    added = await members.add(await tenants.caller(a.owner), a.project_id, wanted)

    assert (added.id, added.role) == (a.member.id, "owner")


async def test_strangers_look_like_nobody(tenants: Tenants) -> None:
    a = tenants.a
    owner = await tenants.caller(a.owner)
    for stranger in (tenants.b.member, tenants.loner, tenants.guest, tenants.platform):
        with pytest.raises(NotFound):
            await members.add(owner, a.project_id, some(stranger.id))
        with pytest.raises(NotFound):
            wanted = ProjectUserCreate(role="member", email=stranger.email)
            await members.add(owner, a.project_id, wanted)
        with pytest.raises(NotFound):
            await members.get(owner, a.project_id, stranger.id)


@pytest.mark.parametrize(("user_id", "email"), [(None, None), ("", ""), ("user_1", "a@b.c")])
async def test_it_takes_an_id_or_an_address(
    tenants: Tenants, user_id: str | None, email: str | None
) -> None:
    wanted = ProjectUserCreate(role="member", user_id=user_id, email=email)

    with pytest.raises(InvalidRequest):
        await members.add(await tenants.caller(tenants.a.owner), tenants.a.project_id, wanted)


async def test_of_two_who_let_the_same_person_in_one_does(tenants: Tenants) -> None:
    a = tenants.a
    owner = await tenants.caller(a.owner)

    done = await asyncio.gather(
        *(members.add(owner, a.project_id, some(a.member.id)) for _ in range(2)),
        return_exceptions=True,
    )

    assert sorted(type(each).__name__ for each in done) == ["Conflict", "ProjectUser"]
    assert len(await fetch("SELECT FROM audit_log WHERE type = 'user.added'")) == 1


async def test_whoever_leaves_the_organization_meanwhile_does_not_get_in(tenants: Tenants) -> None:
    a = tenants.a
    leaving = f"DELETE FROM organization_member WHERE user_id = '{a.member.id}'"
    owner = await tenants.caller(a.owner)
    async with locking(tenants.database, leaving) as connection:
        adding = asyncio.create_task(members.add(owner, a.project_id, some(a.member.id)))
        await until_blocked(connection)

    with pytest.raises(NotFound):
        await adding


async def test_members_and_readers_change_nobody(tenants: Tenants) -> None:
    a = tenants.a
    for who in (a.project_member, a.reader):
        caller = await tenants.caller(who)
        with pytest.raises(Forbidden):
            await members.update(caller, a.project_id, who.id, "owner")
        with pytest.raises(Forbidden):
            await members.add(caller, a.project_id, some(a.member.id))
        with pytest.raises(Forbidden):
            await members.remove(caller, a.project_id, a.project_owner.id)


async def test_another_role_is_held_at_once(tenants: Tenants) -> None:
    a = tenants.a
    owner = await tenants.caller(a.project_owner)

    changed = await members.update(owner, a.project_id, a.project_member.id, "owner")

    assert changed.role == "owner"
    promoted = await tenants.caller(a.project_member)
    demoted = await members.update(promoted, a.project_id, a.project_owner.id, "member")
    assert demoted.role == "member"
    with pytest.raises(Forbidden):
        await members.update(owner, a.project_id, a.project_owner.id, "owner")


async def test_whoever_is_taken_out_sees_the_project_no_more(tenants: Tenants) -> None:
    a = tenants.a
    member, owner = await tenants.caller(a.project_member), await tenants.caller(a.owner)

    gone = await members.remove(owner, a.project_id, a.project_member.id)

    assert (gone.id, gone.deleted) == (a.project_member.id, True)
    with pytest.raises(NotFound):
        await projects.get(member, a.project_id)
    with pytest.raises(NotFound):
        await members.remove(owner, a.project_id, a.project_member.id)
    async with asyncio.timeout(1):
        while (await tenants.call(a.project_key, "GET", "/v1/models")).status_code != 401:
            await asyncio.sleep(0.01)


async def test_the_list_goes_on_where_it_ended(tenants: Tenants) -> None:
    a = tenants.a
    await execute(
        "INSERT INTO project_member (project_id, organization_id, user_id, role)"
        " SELECT $1, organization_id, user_id, 'member' FROM organization_member"
        " WHERE organization_id = $2 ON CONFLICT DO NOTHING",
        *(a.project_id, a.id),
    )
    owner = await tenants.caller(a.owner)

    first = await members.page(owner, a.project_id, Wanted(limit=3))
    second = await members.page(owner, a.project_id, Wanted(limit=3, after=first.last_id))

    found = [m.id for m in (*first.data, *second.data)]
    assert (first.has_more, second.has_more) == (True, False)
    assert sorted(found) == sorted(person.id for person in a.people.values())
    with pytest.raises(InvalidRequest):
        await members.page(owner, a.closed_project_id, Wanted(after=a.project_owner.id))


async def test_a_project_of_another_organization_is_none(tenants: Tenants) -> None:
    stranger = await tenants.caller(tenants.b.owner)
    for project_id in (tenants.a.project_id, "proj_missing"):
        with pytest.raises(NotFound, match=f"There is no project `{project_id}`"):
            await members.page(stranger, project_id, Wanted())
        with pytest.raises(NotFound, match=f"There is no project `{project_id}`"):
            await members.add(stranger, project_id, some(tenants.b.member.id))


async def test_an_archived_project_takes_nobody_in(tenants: Tenants) -> None:
    a = tenants.a
    with pytest.raises(Conflict):
        await members.add(
            await tenants.caller(a.owner), a.archived_project_id, some(a.project_member.id)
        )
