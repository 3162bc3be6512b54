"""The official `openai` client's administration of keys, and the audit log, against the gateway."""

from collections.abc import AsyncIterator

import openai
import pytest
from openai.types.admin.organization import AdminAPIKey
from openai.types.admin.organization.audit_log_list_response import AuditLogListResponse
from openai.types.admin.organization.projects import ProjectAPIKey
from pydantic import BaseModel

from tests.box import Box


@pytest.fixture
async def sdk(box: Box) -> AsyncIterator[openai.AsyncOpenAI]:
    """The asynchronous client, with an admin key of organization A."""
    async with box.sdk((await box.key(kind="admin")).secret) as sdk:
        yield sdk


def strict(answer: BaseModel, kind: type[BaseModel]) -> None:
    """Check what the client only believes: types, and values that are among those foreseen."""
    kind.model_validate(answer.model_dump(by_alias=True, exclude_unset=True), strict=True)


async def test_admin_keys(box: Box, sdk: openai.AsyncOpenAI) -> None:
    keys = sdk.admin.organization.admin_api_keys

    new = await keys.create(name="ops", expires_in_seconds=3600)
    found = await keys.retrieve(new.id)
    listed = [key async for key in keys.list(limit=1, order="desc")]
    deleted = await keys.delete(new.id)

    assert found.name == "ops"
    assert found.expires_at
    assert found.expires_at - found.created_at == 3600
    assert found.redacted_value == f"sk-jan-...{new.value[-4:]}"
    assert (found.owner.id, found.owner.role, found.owner.type) == ("owner_a", "owner", "user")
    assert len(listed) == 2
    assert listed[0].id == new.id
    assert (deleted.id, deleted.deleted) == (new.id, True)
    assert deleted.object == "organization.admin_api_key.deleted"
    for key in (new, found, *listed):
        strict(key, AdminAPIKey)
    with pytest.raises(openai.NotFoundError):
        await keys.retrieve(new.id)


async def test_an_admin_key_of_the_operator_is_read_as_well(
    box: Box, sdk: openai.AsyncOpenAI
) -> None:
    new = await box.key("operator", kind="admin")

    key = await sdk.admin.organization.admin_api_keys.retrieve(new.key.id)

    strict(key, AdminAPIKey)
    assert (key.owner.type, key.owner.role) == ("operator", "owner")


async def test_project_keys(box: Box, sdk: openai.AsyncOpenAI) -> None:
    keys = sdk.admin.organization.projects.api_keys
    new = await box.key("member_a", project_id="proj_a")
    service = await box.key(
        kind="service", project_id="proj_a", service_account_id="acct_of_proj_a"
    )

    found = await keys.retrieve(new.key.id, project_id="proj_a")
    listed = [key async for key in keys.list("proj_a", limit=1, owner_project_access="active")]
    narrowed = await keys.update(
        new.key.id, project_id="proj_a", scopes=["models:read"], expires_in_seconds=60
    )
    widened = await keys.update(new.key.id, project_id="proj_a", scopes=[])
    deleted = await keys.delete(new.key.id, project_id="proj_a")

    assert found.owner.user
    assert (found.owner.type, found.owner.user.email) == ("user", "member_a@example.com")
    assert (found.owner_project_access, found.last_used_at) == ("active", None)
    assert [key.id for key in listed] == [new.key.id, service.key.id]
    assert listed[1].owner.service_account
    assert listed[1].owner.service_account.id == "acct_of_proj_a"
    assert narrowed.expires_at
    assert narrowed.model_extra
    assert narrowed.model_extra["scopes"] == ["models:read"]
    assert widened.model_extra
    assert widened.model_extra["scopes"] is None
    assert widened.expires_at == narrowed.expires_at
    assert (deleted.deleted, deleted.object) == (True, "organization.project.api_key.deleted")
    for key in (found, *listed, narrowed, widened):
        strict(key, ProjectAPIKey)


async def test_refusals_are_the_clients_own_errors(box: Box, sdk: openai.AsyncOpenAI) -> None:
    keys = sdk.admin.organization.projects.api_keys
    with pytest.raises(openai.NotFoundError):
        await keys.retrieve("key_missing", project_id="proj_a")
    with pytest.raises(openai.NotFoundError):
        await keys.list("proj_b")
    with pytest.raises(openai.BadRequestError) as bad:
        await sdk.admin.organization.admin_api_keys.create(name="")
    assert (bad.value.param, bad.value.code) == ("name", "invalid_request")
    project_key = (await box.key(project_id="proj_a")).secret
    async with box.sdk(project_key) as other:
        with pytest.raises(openai.PermissionDeniedError):
            await other.admin.organization.admin_api_keys.list()


async def test_the_audit_log(box: Box, sdk: openai.AsyncOpenAI) -> None:
    admin_keys = sdk.admin.organization.admin_api_keys
    by_operator = await box.key("operator", project_id="proj_a")
    new = await admin_keys.create(name="ops")
    await sdk.admin.organization.projects.api_keys.update(
        by_operator.key.id, project_id="proj_a", scopes=["models:read"]
    )
    await admin_keys.delete(new.id)

    acts = [act async for act in sdk.admin.organization.audit_logs.list(limit=2)]

    types = ["deleted", "updated", "created", "created", "created"]
    assert [act.type for act in acts] == [f"api_key.{name}" for name in types]
    deleted, updated, created, at_the_machine, first = acts
    assert deleted.api_key_deleted
    assert deleted.api_key_deleted.id == new.id
    assert updated.api_key_updated
    assert updated.api_key_updated.changes_requested
    assert updated.api_key_updated.changes_requested.scopes == ["models:read"]
    assert updated.project
    assert (updated.project.id, updated.project.name) == ("proj_a", "proj_a")
    assert created.actor
    assert created.actor.api_key
    assert created.actor.api_key.user
    assert created.actor.api_key.user.id == "owner_a"
    assert first.actor
    assert first.actor.session
    assert first.actor.session.ip_address is None  # made by the test, not over HTTP
    assert at_the_machine.actor
    assert at_the_machine.actor.type == "operator"  # Jan's own: OpenAI has nobody there
    for act in (deleted, updated, created, first):
        strict(act, AuditLogListResponse)


async def test_the_audit_logs_filters(box: Box, sdk: openai.AsyncOpenAI) -> None:
    logs = sdk.admin.organization.audit_logs
    new = await box.key("member_a", project_id="proj_a")
    (act,) = [act async for act in logs.list(resource_ids=[new.key.id])]

    found = logs.list(
        actor_emails=["member_a@example.com", "x"],
        actor_ids=["member_a", "y"],
        event_types=["api_key.created", "api_key.deleted"],
        project_ids=["proj_a"],
        effective_at={"gte": act.effective_at, "lte": act.effective_at},
    )

    assert [act.id async for act in found] == [act.id]
    assert [a async for a in logs.list(effective_at={"gt": act.effective_at + 60})] == []
    assert [a async for a in logs.list(event_types=["login.failed"])] == []
