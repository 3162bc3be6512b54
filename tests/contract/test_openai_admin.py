"""The official `openai` client's administration, with an admin key: every call parses, strictly."""

from collections.abc import AsyncIterator

import openai
import pytest

from jan import clock
from tests.tenants import Tenants


@pytest.fixture
async def sdk(tenants: Tenants) -> AsyncIterator[openai.AsyncOpenAI]:
    """A client of organization A that checks every field of every answer."""
    async with openai.AsyncOpenAI(
        admin_api_key=tenants.a.admin_key.secret,
        base_url=f"{tenants.gateway.url}/v1",
        max_retries=0,
        timeout=5,
        _strict_response_validation=True,
    ) as sdk:
        yield sdk


async def test_a_project_from_its_making_to_its_end(sdk: openai.AsyncOpenAI) -> None:
    projects = sdk.admin.organization.projects

    made = await projects.create(name="Rockets")
    renamed = await projects.update(made.id, name="Engines")
    found = await projects.retrieve(made.id)
    archived = await projects.archive(made.id)

    assert (made.object, made.name, made.status) == ("organization.project", "Rockets", "active")
    assert abs(made.created_at - clock.now().timestamp()) < 60
    assert made.archived_at is None
    assert found == renamed
    assert renamed.name == "Engines"
    assert archived.status == "archived"
    assert archived.archived_at
    assert archived.archived_at >= made.created_at
    assert made.id not in [project.id async for project in projects.list()]
    assert made.id in [project.id async for project in projects.list(include_archived=True)]


async def test_every_project_comes_once_however_short_the_pages_are(
    sdk: openai.AsyncOpenAI, tenants: Tenants
) -> None:
    projects = sdk.admin.organization.projects
    made = [(await projects.create(name=str(number))).id for number in range(5)]

    first = await projects.list(limit=3)
    by_twos = [project.id async for project in projects.list(limit=2)]

    assert (len(first.data), first.has_more, first.last_id) == (3, True, first.data[-1].id)
    assert by_twos == [tenants.a.project_id, tenants.a.closed_project_id, *made]


async def test_the_people_of_a_project(sdk: openai.AsyncOpenAI, tenants: Tenants) -> None:
    a = tenants.a
    users = sdk.admin.organization.projects.users

    added = await users.create(a.project_id, user_id=a.member.id, role="member")
    by_email = await users.create(a.project_id, email=a.reader.email, role="owner")
    promoted = await users.update(a.member.id, project_id=a.project_id, role="owner")
    found = await users.retrieve(a.member.id, project_id=a.project_id)
    listed = [user.id async for user in users.list(a.project_id, limit=1)]
    gone = await users.delete(a.member.id, project_id=a.project_id)

    assert (added.object, added.role) == ("organization.project.user", "member")
    assert (added.email, added.name) == (a.member.email, a.member.name)
    assert (by_email.id, by_email.role) == (a.reader.id, "owner")
    assert found == promoted
    assert promoted.role == "owner"
    assert listed == [a.project_owner.id, a.project_member.id, a.member.id, a.reader.id]
    assert (gone.id, gone.deleted) == (a.member.id, True)
    with pytest.raises(openai.NotFoundError):
        await users.retrieve(a.member.id, project_id=a.project_id)


async def test_service_accounts_and_the_key_that_one_comes_with(
    sdk: openai.AsyncOpenAI, tenants: Tenants
) -> None:
    a = tenants.a
    accounts = sdk.admin.organization.projects.service_accounts

    made = await accounts.create(a.project_id, name="ci", expires_in_seconds=3600)
    bare = await accounts.create(a.project_id, name="bare", create_service_account_only=True)
    renamed = await accounts.update(made.id, project_id=a.project_id, name="cd", role="owner")
    found = await accounts.retrieve(made.id, project_id=a.project_id)
    listed = [each.id async for each in accounts.list(a.project_id, limit=1)]

    assert (made.object, made.role) == ("organization.project.service_account", "member")
    assert made.api_key
    assert made.api_key.object == "organization.project.service_account.api_key"
    assert made.api_key.expires_at
    async with openai.AsyncOpenAI(
        api_key=made.api_key.value, base_url=sdk.base_url, max_retries=0
    ) as robot:
        assert (await robot.models.list()).data
    assert (bare.role, bare.api_key) == ("none", None)
    assert found == renamed
    assert (renamed.name, renamed.role) == ("cd", "owner")
    assert listed == [a.service_account_id, made.id, bare.id]
    gone = await accounts.delete(made.id, project_id=a.project_id)
    assert (gone.id, gone.deleted) == (made.id, True)


async def test_the_people_of_the_organization(sdk: openai.AsyncOpenAI, tenants: Tenants) -> None:
    a = tenants.a
    users = sdk.admin.organization.users

    listed = [user async for user in users.list(limit=2)]
    some = await users.list(emails=[a.member.email, a.reader.email, "nobody@example.com"])
    found = await users.retrieve(a.member.id)
    promoted = await users.update(a.member.id, role="reader")
    gone = await users.delete(a.member.id)

    assert {user.id: user.role for user in listed} == {
        a.owner.id: "owner",
        **dict.fromkeys((a.member.id, a.project_owner.id, a.project_member.id), "member"),
        a.reader.id: "reader",
    }
    assert {user.id for user in some.data} == {a.member.id, a.reader.id}
    assert (found.object, found.email, found.name) == (
        "organization.user",
        a.member.email,
        a.member.name,
    )
    assert found.user
    assert (found.user.id, found.user.enabled) == (a.member.id, True)
    assert promoted.role == "reader"
    assert (gone.id, gone.deleted, gone.object) == (a.member.id, True, "organization.user.deleted")


async def test_refusals_are_the_clients_own_errors(
    sdk: openai.AsyncOpenAI, tenants: Tenants
) -> None:
    organization = sdk.admin.organization

    with pytest.raises(openai.NotFoundError) as missing:
        await organization.projects.retrieve(tenants.b.project_id)
    with pytest.raises(openai.BadRequestError) as bad:
        await organization.projects.create(name="")
    with pytest.raises(openai.ConflictError) as conflict:
        await organization.users.update(tenants.a.owner.id, role="reader")
    with pytest.raises(openai.AuthenticationError):
        await sdk.with_options(admin_api_key="sk-jan-bad").admin.organization.users.retrieve("x")
    with pytest.raises(openai.PermissionDeniedError):
        wrong = sdk.with_options(admin_api_key=tenants.a.project_key.secret)
        await wrong.admin.organization.projects.list()

    assert (missing.value.code, bad.value.code, bad.value.param, conflict.value.code) == (
        "not_found",
        "invalid_request",
        "name",
        "conflict",
    )
