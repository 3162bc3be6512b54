"""Service accounts: of one project, with roles of their own."""

import pytest

from jan.errors import Conflict, Forbidden, InvalidRequest, NotFound
from jan.pages import Wanted
from jan.projects import accounts
from jan.projects.schemas import ServiceAccountUpdate
from tests.conftest import fetch
from tests.tenants import Tenants


async def test_a_projects_owner_makes_changes_and_deletes_service_accounts(
    tenants: Tenants,
) -> None:
    a = tenants.a
    owner = await tenants.caller(a.project_owner)

    made = await accounts.create(owner, a.project_id, " ci ")
    changed = await accounts.update(
        owner, a.project_id, made.id, ServiceAccountUpdate(name="deploy", role="owner")
    )
    gone = await accounts.delete(owner, a.project_id, made.id)

    assert (made.name, made.role) == ("ci", "member")
    assert (changed.id, changed.name, changed.role) == (made.id, "deploy", "owner")
    assert gone.deleted
    with pytest.raises(NotFound):
        await accounts.get(owner, a.project_id, made.id)
    rows = await fetch(
        "SELECT type FROM audit_log WHERE type LIKE 'service%' AND project_id = $1"
        " ORDER BY sequence",
        a.project_id,
    )
    assert [row["type"] for row in rows] == [
        "service_account.created",
        "service_account.updated",
        "service_account.deleted",
    ]


async def test_what_is_not_told_stays_as_it_is(tenants: Tenants) -> None:
    a = tenants.a
    owner = await tenants.caller(a.owner)

    renamed = await accounts.update(
        owner, a.project_id, a.service_account_id, ServiceAccountUpdate(name="new")
    )
    promoted = await accounts.update(
        owner, a.project_id, a.service_account_id, ServiceAccountUpdate(role="owner")
    )

    assert (renamed.name, renamed.role) == ("new", "member")
    assert (promoted.name, promoted.role) == ("new", "owner")
    with pytest.raises(InvalidRequest):
        await accounts.update(owner, a.project_id, a.service_account_id, ServiceAccountUpdate())


async def test_members_see_service_accounts_and_change_none(tenants: Tenants) -> None:
    a = tenants.a
    for who in (a.project_member, a.reader):
        caller = await tenants.caller(who)
        page = await accounts.page(caller, a.project_id, Wanted())
        assert [account.id for account in page.data] == [a.service_account_id]
        with pytest.raises(Forbidden):
            await accounts.create(caller, a.project_id, "mine")
        with pytest.raises(Forbidden):
            await accounts.update(
                caller, a.project_id, a.service_account_id, ServiceAccountUpdate(role="owner")
            )
        with pytest.raises(Forbidden):
            await accounts.delete(caller, a.project_id, a.service_account_id)


async def test_an_account_is_in_no_project_but_its_own(tenants: Tenants) -> None:
    a, b = tenants.a, tenants.b
    owner = await tenants.caller(a.owner)
    for project_id, account_id in (
        (a.closed_project_id, a.service_account_id),
        (a.project_id, b.service_account_id),
        (b.project_id, b.service_account_id),
    ):
        with pytest.raises(NotFound):
            await accounts.get(owner, project_id, account_id)
        with pytest.raises(NotFound):
            await accounts.delete(owner, project_id, account_id)
    assert len(await fetch("SELECT FROM service_account")) == 2


async def test_an_archived_project_and_a_persons_own_get_none(tenants: Tenants) -> None:
    a = tenants.a
    owner = await tenants.caller(a.owner)
    for project_id in (a.archived_project_id, a.owner.own_project_id):
        with pytest.raises(Conflict):
            await accounts.create(owner, project_id, "ci")
