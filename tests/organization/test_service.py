"""Organizations: who sees which, who renames them, and how one goes."""

import asyncio

import pytest

from jan.errors import Conflict, Forbidden, InvalidRequest, NotFound
from jan.organization import access
from jan.organization import service as organizations
from jan.organization.schemas import OrganizationCreate, OrganizationUpdate
from jan.pages import Wanted
from jan.projects import service as projects
from tests.conftest import execute, fetch
from tests.tenants import Key, Person, Tenants


async def listed(tenants: Tenants, who: Person | Key) -> dict[str, str | None]:
    """Tell which organizations somebody finds, and their role in each."""
    page = await organizations.page(await tenants.caller(who), Wanted())
    return {organization.id: organization.role for organization in page.data}


async def join(person: Person, organization_id: str, role: str) -> None:
    """Put somebody into one more organization."""
    await execute(
        "INSERT INTO organization_member (organization_id, user_id, role) VALUES ($1, $2, $3)",
        *(organization_id, person.id, role),
    )


async def test_people_see_the_organizations_that_they_are_in(tenants: Tenants) -> None:
    a, b = tenants.a, tenants.b
    await join(a.member, b.id, "reader")

    assert await listed(tenants, a.owner) == {a.id: "owner"}
    assert await listed(tenants, a.member) == {a.id: "member", b.id: "reader"}
    assert await listed(tenants, a.admin_key) == {a.id: None}
    assert await listed(tenants, tenants.loner) == {}


async def test_whoever_administers_this_jan_sees_them_all(tenants: Tenants) -> None:
    default_id = tenants.default_organization_id
    others = dict.fromkeys([tenants.a.id, tenants.b.id])

    assert await listed(tenants, tenants.platform) == {default_id: "owner", **others}
    assert await listed(tenants, tenants.platform_key) == {default_id: None, **others}
    platform = await tenants.caller(tenants.platform)
    first = await organizations.page(platform, Wanted(limit=2))
    second = await organizations.page(platform, Wanted(limit=2, after=first.last_id))
    assert [o.id for o in (*first.data, *second.data)] == [default_id, tenants.a.id, tenants.b.id]


async def test_whoever_makes_an_organization_owns_it(tenants: Tenants) -> None:
    platform = await tenants.caller(tenants.platform)

    made = await organizations.create(platform, OrganizationCreate(name=" Acme "))

    assert (made.name, made.role, made.is_default) == ("Acme", "owner", False)
    assert await organizations.get(platform, made.id) == made
    within = await tenants.caller(tenants.platform, organization_id=made.id)
    assert not within.is_platform
    page = await projects.page(within, Wanted())
    assert [p.name for p in page.data] == ["Default project"]
    [row] = await fetch("SELECT type, organization_id FROM audit_log WHERE type LIKE 'organi%'")
    assert tuple(row) == ("organization.created", tenants.default_organization_id)


async def test_somebody_else_may_own_it_and_is_registered_by_that(tenants: Tenants) -> None:
    operator = await access.operator()
    known = OrganizationCreate(name="x", owner_email=tenants.loner.email.upper())
    new = OrganizationCreate(name="x", owner_email="boss@acme.example")

    first = await organizations.create(operator, known)
    second = await organizations.create(operator, new)

    query = "SELECT u.email, m.role FROM organization_member AS m JOIN users AS u ON u.id = user_id"
    for made, email in ((first, tenants.loner.email), (second, "boss@acme.example")):
        rows = await fetch(query + " WHERE organization_id = $1", made.id)
        assert [tuple(row) for row in rows] == [(email, "owner")]
    rows = await fetch(
        "SELECT type FROM audit_log WHERE organization_id = $1 AND type !~ 'key' ORDER BY sequence",
        tenants.default_organization_id,
    )
    assert [row["type"] for row in rows] == [
        "organization.created",
        "account.created",
        "organization.created",
    ]


@pytest.mark.parametrize("email", ["", "no address", "a\0@b.c"])
async def test_an_owner_without_an_address_is_refused(tenants: Tenants, email: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await organizations.create(
            await access.operator(), OrganizationCreate(name="x", owner_email=email)
        )

    assert refusal.value.param == "owner_email"
    assert len(await fetch("SELECT FROM organization")) == 3


async def test_a_guest_owns_nothing(tenants: Tenants) -> None:
    with pytest.raises(Conflict):
        await organizations.create(
            await access.operator(), OrganizationCreate(name="x", owner_email=tenants.guest.email)
        )


async def test_only_who_administers_this_jan_makes_organizations(tenants: Tenants) -> None:
    for who in (tenants.a.owner, tenants.a.admin_key, tenants.loner):
        with pytest.raises(Forbidden):
            await organizations.create(await tenants.caller(who), OrganizationCreate(name="x"))


async def test_owners_rename_their_organization_whichever_they_act_in(tenants: Tenants) -> None:
    a, b = tenants.a, tenants.b
    await join(a.member, b.id, "owner")
    caller = await tenants.caller(a.member)
    assert caller.organization_id == a.id

    renamed = await organizations.update(caller, b.id, OrganizationUpdate(name="Better"))

    assert (renamed.name, renamed.role) == ("Better", "owner")
    [row] = await fetch("SELECT organization_id FROM audit_log WHERE type = 'organization.updated'")
    assert row["organization_id"] == b.id
    with pytest.raises(Forbidden):
        await organizations.update(caller, a.id, OrganizationUpdate(name="Worse"))


async def test_an_organization_that_one_is_not_in_is_none(tenants: Tenants) -> None:
    mine = OrganizationUpdate(name="mine")
    for who in (tenants.b.owner, tenants.b.admin_key, tenants.loner):
        caller = await tenants.caller(who)
        for organization_id in (tenants.a.id, "org_missing"):
            message = f"There is no organization `{organization_id}`"
            with pytest.raises(NotFound, match=message):
                await organizations.get(caller, organization_id)
            with pytest.raises(NotFound, match=message):
                await organizations.update(caller, organization_id, mine)
            with pytest.raises(NotFound, match=message):
                await organizations.delete(caller, organization_id, confirmed_name="x")


async def test_a_members_key_is_of_its_own_organization_only(tenants: Tenants) -> None:
    await join(tenants.a.owner, tenants.b.id, "owner")

    with pytest.raises(NotFound):
        await organizations.get(await tenants.caller(tenants.a.admin_key), tenants.b.id)


async def test_deleting_takes_its_name_and_all_that_is_in_it(tenants: Tenants) -> None:
    b = tenants.b
    owner = await tenants.caller(b.owner)
    for name in (None, "", "Organization A"):
        with pytest.raises(InvalidRequest) as refusal:
            await organizations.delete(owner, b.id, confirmed_name=name)
        assert refusal.value.param == "confirm"

    gone = await organizations.delete(owner, b.id, confirmed_name=b.name)

    assert (gone.id, gone.deleted) == (b.id, True)
    for table in ("organization_member", "project", "service_account", "api_key"):
        rows = await fetch(f"SELECT FROM {table} WHERE organization_id = $1", b.id)
        assert rows == [], table
    assert await listed(tenants, tenants.a.owner) == {tenants.a.id: "owner"}
    assert await fetch("SELECT FROM users WHERE id = $1", b.owner.id) != []
    assert await fetch("SELECT FROM audit_log WHERE organization_id = $1", b.id) != []
    [row] = await fetch("SELECT organization_id FROM audit_log WHERE type = 'organization.deleted'")
    assert row["organization_id"] == tenants.default_organization_id
    async with asyncio.timeout(1):
        while (await tenants.call(b.organization_key, "GET", "/v1/models")).status_code != 401:
            await asyncio.sleep(0.01)


async def test_the_default_organization_stays(tenants: Tenants) -> None:
    with pytest.raises(Conflict):
        await organizations.delete(
            await tenants.caller(tenants.platform),
            tenants.default_organization_id,
            confirmed_name="Default organization",
        )


async def test_only_owners_and_who_administers_this_jan_delete_one(tenants: Tenants) -> None:
    a, b = tenants.a, tenants.b
    for who in (a.reader, a.member, a.project_owner):
        with pytest.raises(Forbidden):
            await organizations.delete(await tenants.caller(who), a.id, confirmed_name=a.name)

    platform = await tenants.caller(tenants.platform_key)
    await organizations.delete(platform, a.id, confirmed_name=a.name)

    assert await listed(tenants, tenants.platform) == {
        tenants.default_organization_id: "owner",
        b.id: None,
    }
