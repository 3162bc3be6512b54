"""Lists of models that a project and an organization may use, and who may say them."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.gateways import CALLER
from tests.tenants import Tenants


def permissions(project_id: str) -> str:
    return f"/v1/organization/projects/{project_id}/model_permissions"


async def test_the_official_client_says_and_takes_back_what_a_project_may_use(
    tenants: Tenants,
) -> None:
    async with AsyncOpenAI(
        api_key="none",
        admin_api_key=tenants.a.admin_key.secret,
        base_url=f"{tenants.gateway.url}/v1",
    ) as client:
        asked = client.admin.organization.projects.model_permissions
        project_id = tenants.a.project_id
        nothing = await asked.retrieve(project_id)
        made = await asked.update(project_id, mode="allow_list", model_ids=["b", "a", "b"])
        denied = await asked.update(project_id, mode="deny_list", model_ids=["c"])
        gone = await asked.delete(project_id)
        again = await asked.retrieve(project_id)

    assert (nothing.mode, nothing.api_model_ids) == ("deny_list", [])
    assert (made.mode, made.api_model_ids) == ("allow_list", ["b", "a"])
    assert (denied.mode, denied.api_model_ids) == ("deny_list", ["c"])
    assert gone.deleted
    assert (again.mode, again.api_model_ids) == ("deny_list", [])


async def models(tenants: Tenants, who: Any) -> list[str]:
    answer = await tenants.call(who, "GET", "/v1/models")
    return [each["id"] for each in answer.json()["data"]]


async def until_models(tenants: Tenants, who: Any, wanted: list[str]) -> None:
    async with asyncio.timeout(1):
        while await models(tenants, who) != wanted:
            await asyncio.sleep(0.02)


async def test_a_key_uses_within_a_second_what_all_lists_allow(tenants: Tenants) -> None:
    key = tenants.a.project_key
    all_ = await models(tenants, key)
    assert all_
    path = permissions(tenants.a.project_id)
    for_organization = f"/v1/admin/organizations/{tenants.a.id}/models"
    owner, platform = tenants.a.owner, tenants.platform

    await tenants.call(owner, "POST", path, {"mode": "deny_list", "model_ids": all_})
    await until_models(tenants, key, [])
    await tenants.call(owner, "POST", path, {"mode": "allow_list", "model_ids": all_})
    await until_models(tenants, key, all_)
    await tenants.call(platform, "POST", for_organization, {"model_ids": []})
    await until_models(tenants, key, [])
    assert await models(tenants, tenants.b.project_key) == all_
    await tenants.call(platform, "POST", for_organization, {"model_ids": None})
    await until_models(tenants, key, all_)


async def test_who_may_say_what_a_project_may_use(tenants: Tenants) -> None:
    a, path = tenants.a, permissions(tenants.a.project_id)
    body = {"mode": "allow_list", "model_ids": ["x"]}

    said = {
        name: (await tenants.call(who, "POST", path, body)).status_code
        for name, who in {
            **a.people,
            "admin_key": a.admin_key,
            "project_key": a.project_key,
            "organization_key": a.organization_key,
            "foreign owner": tenants.b.owner,
            "loner": tenants.loner,
        }.items()
    }
    assert {name for name, status in said.items() if status == 200} == {"owner", "admin_key"}
    assert said["project_owner"] == 403
    assert said["foreign owner"] == 404
    own = permissions(a.owner.own_project_id)
    assert (await tenants.call(a.owner, "POST", own, body)).status_code in {403, 404, 409}


async def test_lists_of_organizations_and_weights_are_the_platforms(tenants: Tenants) -> None:
    a = tenants.a
    routes: dict[tuple[str, str], Any] = {
        ("GET", f"/v1/admin/organizations/{a.id}/models"): None,
        ("POST", f"/v1/admin/organizations/{a.id}/models"): {"model_ids": None},
        ("POST", f"/v1/admin/projects/{a.project_id}/queue_weight"): {"queue_weight": 5},
    }
    for (method, path), body in routes.items():
        assert (await tenants.call(tenants.platform, method, path, body)).status_code == 200
        for who in (*a.people.values(), a.admin_key, a.project_key, tenants.b.owner, tenants.guest):
            assert (await tenants.call(who, method, path, body)).status_code == 403
    for weight in (0, 101, "x", None):
        path = f"/v1/admin/projects/{a.project_id}/queue_weight"
        answer = await tenants.call(tenants.platform, "POST", path, {"queue_weight": weight})
        assert answer.status_code == 400


@pytest.mark.parametrize(
    ("of_key", "of_project", "of_organization", "denied", "asked", "may"),
    [
        (None, None, None, (), ("m", None), True),
        (("m",), ("m", "n"), None, (), ("m", None), True),
        (("m",), ("n",), None, (), ("m", None), False),
        (("m",), ("m",), ("n",), (), ("m", None), False),
        (("fast",), ("m",), ("m", "x"), (), ("m", "fast"), True),
        (("fast",), None, None, (), ("m", None), False),
        ((), None, None, (), ("m", None), False),
        (None, None, None, ("m",), ("m", "fast"), False),
        (None, None, None, ("fast",), ("m", "fast"), False),
    ],
)
def test_what_is_on_all_lists_may_be_used(  # noqa: PLR0913, PLR0917 - as many as there are lists
    of_key: tuple[str, ...] | None,
    of_project: tuple[str, ...] | None,
    of_organization: tuple[str, ...] | None,
    denied: tuple[str, ...],
    asked: tuple[str, str | None],
    may: bool,
) -> None:
    lists = [frozenset(names) for names in (of_project, of_organization) if names is not None]
    caller = replace(
        CALLER,
        allowed_models=None if of_key is None else frozenset(of_key),
        allow_lists=tuple(lists),
        denied_models=frozenset(denied),
    )

    assert caller.may_use(*asked) == may
