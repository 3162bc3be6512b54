"""Who may ask for which models: what key, project and organization say, together."""

import asyncio
from typing import Any

import anyio
import openai
import pytest

from jan.auth.cache import Credential
from jan.caller import Caller
from tests.conftest import fetch
from tests.fakes import MODEL
from tests.tenants import Key, Person, Tenants

PROJECTS = "/v1/organization/projects"
ORGANIZATIONS = "/v1/admin/organizations"


def _allowed(caller: Caller) -> frozenset[str] | None:
    """Tell what is on all of a caller's lists."""
    return frozenset.intersection(*caller.allow_lists) if caller.allow_lists else None


async def until_it_may(
    tenants: Tenants, who: Person | Key, *, use: frozenset[str] | None, deny: frozenset[str]
) -> Caller:
    """Wait until a process knows, for a second at most."""
    with anyio.fail_after(1):
        while True:
            caller = await tenants.caller(who)
            if (_allowed(caller), caller.denied_models) == (use, deny):
                return caller
            await asyncio.sleep(0.01)


async def listed(tenants: Tenants, who: Person | Key) -> list[str]:
    """Tell which models somebody is shown."""
    return [each["id"] for each in (await tenants.call(who, "GET", "/v1/models")).json()["data"]]


async def test_the_official_client_keeps_a_projects_list(tenants: Tenants) -> None:
    a = tenants.a
    async with openai.AsyncOpenAI(
        admin_api_key=a.admin_key.secret,
        base_url=f"{tenants.gateway.url}/v1",
        max_retries=0,
        timeout=5,
        _strict_response_validation=True,
    ) as sdk:
        permissions = sdk.admin.organization.projects.model_permissions

        nothing = await permissions.retrieve(a.project_id)
        allowed = await permissions.update(
            a.project_id, mode="allow_list", model_ids=["b", "a", "a"]
        )
        kept = await permissions.retrieve(a.project_id)
        denied = await permissions.update(a.project_id, mode="deny_list", model_ids=["c"])
        gone = await permissions.delete(a.project_id)
        after = await permissions.retrieve(a.project_id)
        with pytest.raises(openai.NotFoundError):
            await permissions.update(tenants.b.project_id, mode="deny_list", model_ids=[])

    assert (nothing.mode, nothing.api_model_ids) == ("deny_list", [])
    assert (allowed.mode, allowed.api_model_ids) == ("allow_list", ["b", "a"])
    assert kept == allowed
    assert (denied.mode, denied.api_model_ids) == ("deny_list", ["c"])
    assert (gone.deleted, gone.object) == (True, "project.model_permissions.deleted")
    assert after == nothing
    acts = await fetch("SELECT FROM audit_log WHERE type = 'project.models.updated'")
    assert len(acts) == 3


async def test_a_list_holds_within_a_second_for_keys_and_people(tenants: Tenants) -> None:
    a, path = tenants.a, f"{PROJECTS}/{tenants.a.project_id}/model_permissions"
    everybody = (a.project_key, a.service_key)
    for who in everybody:
        assert await listed(tenants, who) == [MODEL]

    deny = {"mode": "deny_list", "model_ids": [MODEL]}
    assert (await tenants.call(a.owner, "POST", path, deny)).status_code == 200
    for who in everybody:
        await until_it_may(tenants, who, use=None, deny=frozenset({MODEL}))
        assert await listed(tenants, who) == []
    refused = await tenants.call(
        a.project_key, "POST", "/v1/chat/completions", {"model": MODEL, "messages": []}
    )

    allow = {"mode": "allow_list", "model_ids": [MODEL]}
    await tenants.call(a.owner, "POST", path, allow)
    for who in everybody:
        await until_it_may(tenants, who, use=frozenset({MODEL}), deny=frozenset())
        assert await listed(tenants, who) == [MODEL]
    assert refused.status_code == 404


async def test_what_the_organization_may_not_no_project_and_no_key_may(tenants: Tenants) -> None:
    a, platform = tenants.a, tenants.platform_key
    path, of_project = f"{ORGANIZATIONS}/{a.id}/models", f"{PROJECTS}/{a.project_id}"

    said = await tenants.call(platform, "POST", path, {"model_ids": ["x", "y"]})
    allow = {"mode": "allow_list", "model_ids": [MODEL, "x"]}
    await tenants.call(a.owner, "POST", f"{of_project}/model_permissions", allow)

    await until_it_may(tenants, a.project_key, use=frozenset({"x"}), deny=frozenset())
    assert await listed(tenants, a.project_key) == []
    person = await tenants.credentials.resolve(_of(a.project_member, a.project_id))
    assert _allowed(person) == frozenset({"x"})
    other = await tenants.caller(tenants.b.project_key)
    assert _allowed(other) is None
    assert (await tenants.call(platform, "GET", path)).json() == said.json()
    freed = await tenants.call(platform, "POST", path, {"model_ids": None})
    assert freed.json()["model_ids"] is None
    await until_it_may(tenants, a.project_key, use=frozenset({MODEL, "x"}), deny=frozenset())
    acts = await fetch("SELECT FROM audit_log WHERE type = 'organization.models.updated'")
    assert len(acts) == 2


async def test_who_owns_only_the_project_does_not_lift_what_was_said_for_it(
    tenants: Tenants,
) -> None:
    a, path = tenants.a, f"{PROJECTS}/{tenants.a.project_id}/model_permissions"
    body = {"mode": "deny_list", "model_ids": []}
    found: dict[str, Any] = {}
    for name, who in {
        "owner of b": tenants.b.owner,
        "key of b": tenants.b.admin_key,
        "reader": a.reader,
        "member": a.member,
        "project owner": a.project_owner,
        "project member": a.project_member,
        "project key": a.project_key,
        "guest": tenants.guest,
    }.items():
        found[name] = [
            (await tenants.call(who, method, path, sent)).status_code
            for method, sent in (("GET", None), ("POST", body), ("DELETE", None))
        ]

    assert found == {
        "owner of b": [404, 404, 404],
        "key of b": [404, 404, 404],
        "reader": [200, 403, 403],
        "member": [404, 404, 404],
        "project owner": [200, 403, 403],
        "project member": [200, 403, 403],
        "project key": [403, 403, 403],
        "guest": [403, 403, 403],
    }
    archived = f"{PROJECTS}/{a.archived_project_id}/model_permissions"
    assert (await tenants.call(a.owner, "POST", archived, body)).status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"mode": "allow_list"},
        {"mode": "other", "model_ids": []},
        {"mode": "allow_list", "model_ids": [""]},
        {"mode": "allow_list", "model_ids": ["a\0"]},
        {"mode": "allow_list", "model_ids": ["x" * 300]},
        {"mode": "allow_list", "model_ids": [str(n) for n in range(1001)]},
        {"mode": "allow_list", "model_ids": None},
    ],
)
async def test_a_list_that_does_not_fit_is_refused(tenants: Tenants, body: Any) -> None:
    a = tenants.a
    of_project = await tenants.call(
        a.owner, "POST", f"{PROJECTS}/{a.project_id}/model_permissions", body
    )
    names = body.get("model_ids", "none")
    of_organization = await tenants.call(
        tenants.platform_key, "POST", f"{ORGANIZATIONS}/{a.id}/models", {"model_ids": names}
    )

    assert of_project.status_code == 400
    assert of_organization.status_code == (200 if names in ([], None) else 400)


async def test_a_projects_weight_is_known_within_a_second(tenants: Tenants) -> None:
    a, path = tenants.a, f"/v1/admin/projects/{tenants.a.project_id}/queue_weight"
    platform = tenants.platform_key

    said = await tenants.call(platform, "POST", path, {"queue_weight": 7})

    assert said.json()["queue_weight"] == 7
    with anyio.fail_after(1):
        while (await tenants.caller(a.project_key)).queue_weight != 7:
            await asyncio.sleep(0.01)
    for body in ({}, {"queue_weight": 0}, {"queue_weight": 101}, {"queue_weight": None}):
        assert (await tenants.call(platform, "POST", path, body)).status_code == 400
    missing = await tenants.call(
        platform, "POST", path.replace(a.project_id, "p"), {"queue_weight": 1}
    )
    assert missing.status_code == 404


def _of(person: Person, project_id: str) -> Credential:
    return Credential(person.token, "", project_id)
