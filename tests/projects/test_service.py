"""Projects: who sees which, who changes them, and what archiving one does."""

import asyncio

import pytest

from jan.errors import Conflict, Forbidden, InvalidRequest, NotFound
from jan.keys.schemas import KeyCreate
from jan.pages import Wanted
from jan.projects import members
from jan.projects import service as projects
from jan.projects.schemas import ProjectUserCreate
from tests.conftest import fetch, locking, until_blocked
from tests.fakes import MODEL
from tests.tenants import Key, Person, Tenants, new_key

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


async def listed(tenants: Tenants, who: Person | Key, *, has_archived: bool = False) -> list[str]:
    """Tell the ids that somebody finds in the list."""
    caller = await tenants.caller(who)
    page = await projects.page(caller, Wanted(limit=100), has_archived=has_archived)
    return [project.id for project in page.data]


async def acts(organization_id: str) -> list[tuple[str, str | None]]:
    """Tell what the log says was done, and in which project."""
    rows = await fetch(
        "SELECT type, project_id FROM audit_log WHERE organization_id = $1 ORDER BY sequence",
        organization_id,
    )
    return [tuple(row) for row in rows if not row["type"].startswith("api_key")]


async def test_whoever_makes_a_project_owns_it(tenants: Tenants) -> None:
    owner = await tenants.caller(tenants.a.owner)

    made = await projects.create(owner, "  Rockets ")

    assert (made.name, made.status, made.archived_at) == ("Rockets", "active", None)
    assert await projects.get(owner, made.id) == made
    assert (await members.get(owner, made.id, tenants.a.owner.id)).role == "owner"
    assert await acts(tenants.a.id) == [("project.created", made.id)]


async def test_the_operator_makes_a_project_that_nobody_owns(tenants: Tenants) -> None:
    platform = await tenants.caller(tenants.platform_key)
    made = await projects.create(platform, "theirs")

    assert [m.id for m in (await members.page(platform, made.id, Wanted())).data] == [
        tenants.platform.id
    ]


async def test_readers_see_all_projects_and_members_their_own(tenants: Tenants) -> None:
    a = tenants.a

    for who in (a.owner, a.reader, a.admin_key):
        assert await listed(tenants, who) == [a.project_id, a.closed_project_id]
    for who in (a.project_owner, a.project_member):
        assert await listed(tenants, who) == [a.project_id]
    for who in (a.member, tenants.loner):
        assert await listed(tenants, who) == []


async def test_archived_projects_are_listed_on_request_only(tenants: Tenants) -> None:
    a = tenants.a

    assert a.archived_project_id in await listed(tenants, a.owner, has_archived=True)
    assert await listed(tenants, a.project_owner, has_archived=True) == [
        a.project_id,
        a.archived_project_id,
    ]
    assert await listed(tenants, a.project_member, has_archived=True) == [a.project_id]


async def test_a_key_that_was_narrowed_is_not_in_its_owners_projects(tenants: Tenants) -> None:
    owner = await tenants.caller(tenants.a.owner)
    await projects.create(owner, "mine")
    scopes = frozenset({"administration:use", "keys:read"})
    narrow = await new_key(owner, KeyCreate(name="narrow", kind="admin", scopes=scopes))

    assert await listed(tenants, narrow) == []
    with pytest.raises(NotFound):
        await projects.get(await tenants.caller(narrow), tenants.a.project_id)


async def test_a_list_goes_on_where_it_ended_though_projects_come_and_go(tenants: Tenants) -> None:
    owner = await tenants.caller(tenants.a.owner)
    made = [(await projects.create(owner, str(number))).id for number in range(5)]
    every = [tenants.a.project_id, tenants.a.closed_project_id, *made]

    first = await projects.page(owner, Wanted(limit=3))
    await projects.archive(owner, made[1])
    new = (await projects.create(owner, "new")).id
    second = await projects.page(owner, Wanted(limit=3, after=first.last_id))
    back = await projects.page(owner, Wanted(limit=2, before=second.first_id))
    newest = await projects.page(owner, Wanted(limit=2, order="desc"))

    assert ([p.id for p in first.data], first.has_more) == (every[:3], True)
    assert ([p.id for p in second.data], second.has_more) == (made[2:5], True)
    assert ([p.id for p in back.data], back.has_more) == (every[1:3], True)
    assert [p.id for p in newest.data] == [new, made[4]]


async def test_what_is_not_in_the_list_is_no_cursor_of_it(tenants: Tenants) -> None:
    member = await tenants.caller(tenants.a.project_member)

    for cursor in (tenants.a.closed_project_id, tenants.b.project_id, "proj_missing"):
        with pytest.raises(InvalidRequest) as refusal:
            await projects.page(member, Wanted(after=cursor))
        assert refusal.value.param == "after"


async def test_a_persons_own_project_is_found_by_its_id_only(tenants: Tenants) -> None:
    person = tenants.a.owner
    own = await projects.get(await tenants.caller(person), person.own_project_id)

    assert own.is_personal
    assert own.id not in await listed(tenants, person, has_archived=True)
    for other in (tenants.a.reader, tenants.a.admin_key, tenants.platform, tenants.b.owner):
        with pytest.raises(NotFound):
            await projects.get(await tenants.caller(other), own.id)


async def test_a_persons_own_project_stays_theirs_and_as_it_is(tenants: Tenants) -> None:
    caller = await tenants.caller(tenants.a.owner)
    own_id = tenants.a.owner.own_project_id

    with pytest.raises(Conflict):
        await projects.update(caller, own_id, "public")
    with pytest.raises(Conflict):
        await projects.archive(caller, own_id)
    with pytest.raises(Conflict):
        friend = ProjectUserCreate(role="member", user_id=tenants.a.reader.id)
        await members.add(caller, own_id, friend)


async def test_a_project_is_renamed_by_its_owner(tenants: Tenants) -> None:
    caller = await tenants.caller(tenants.a.project_owner)

    renamed = await projects.update(caller, tenants.a.project_id, "Other")

    assert renamed.name == "Other"
    assert await projects.get(caller, tenants.a.project_id) == renamed
    assert await acts(tenants.a.id) == [("project.updated", tenants.a.project_id)]


async def test_what_is_refused_leaves_no_trace(tenants: Tenants) -> None:
    member = await tenants.caller(tenants.a.project_member)

    with pytest.raises(Forbidden):
        await projects.update(member, tenants.a.project_id, "mine now")
    with pytest.raises(Forbidden):
        await projects.create(member, "mine")
    with pytest.raises(InvalidRequest):
        await projects.create(await tenants.caller(tenants.a.owner), "\0")

    assert await acts(tenants.a.id) == []
    assert len(await listed(tenants, tenants.a.owner)) == 2


async def test_archiving_stops_the_keys_of_a_project_in_every_process(tenants: Tenants) -> None:
    a = tenants.a
    chat = "/v1/chat/completions"
    for key in (a.project_key, a.service_key):
        assert (await tenants.call(key, "POST", chat, CHAT)).status_code == 200

    await projects.archive(await tenants.caller(a.project_owner), a.project_id)

    for key in (a.project_key, a.service_key):
        await until_refused(tenants, key)
    assert (await tenants.call(a.admin_key, "GET", "/v1/organization/projects")).status_code == 200


async def until_refused(tenants: Tenants, key: Key) -> None:
    """Wait until a key does not work, for a second at most."""
    async with asyncio.timeout(1):
        while (await tenants.call(key, "GET", "/v1/models")).status_code != 401:
            await asyncio.sleep(0.01)


async def test_archiving_twice_is_archiving_once(tenants: Tenants) -> None:
    a = tenants.a
    caller = await tenants.caller(a.owner)

    first, second = await asyncio.gather(
        projects.archive(caller, a.project_id), projects.archive(caller, a.project_id)
    )
    third = await projects.archive(caller, a.project_id)

    assert first.archived_at is not None
    assert first == second == third
    assert await acts(a.id) == [("project.archived", a.project_id)]


async def test_nothing_in_an_archived_project_changes(tenants: Tenants) -> None:
    a = tenants.a
    owner = await tenants.caller(a.owner)
    archived = await projects.get(owner, a.archived_project_id)

    with pytest.raises(Conflict, match="archived"):
        await projects.update(owner, archived.id, "new")
    with pytest.raises(Conflict, match="archived"):
        await members.update(owner, archived.id, a.project_owner.id, "member")
    with pytest.raises(Conflict, match="archived"):
        await members.remove(owner, archived.id, a.project_owner.id)

    assert archived.status == "archived"
    assert await projects.get(owner, archived.id) == archived


async def test_nothing_gets_into_a_project_while_it_is_being_archived(tenants: Tenants) -> None:
    a = tenants.a
    owner = await tenants.caller(a.owner)
    late = ProjectUserCreate(role="member", user_id=a.member.id)
    # Somebody archives it, and has not committed yet.
    archive = f"UPDATE project SET archived_at = now() WHERE id = '{a.project_id}'"
    async with locking(tenants.database, archive) as connection:
        adding = asyncio.create_task(members.add(owner, a.project_id, late))
        await until_blocked(connection)

    with pytest.raises(Conflict, match="archived"):
        await adding
