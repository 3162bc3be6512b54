"""What is said of models over HTTP: by who administers all of this Jan, and nobody else."""

from typing import Any

import pytest

from tests.conftest import execute
from tests.tenants import Tenants

MODELS, ALIASES = "/v1/admin/models", "/v1/admin/aliases"
ROUTES: dict[tuple[str, str], Any] = {
    ("GET", MODELS): None,
    ("GET", MODELS + "/org/tiny"): None,
    ("PATCH", MODELS + "/org/tiny"): {"enabled": False},
    ("POST", MODELS + "/org/tiny"): {"enabled": False},
    ("DELETE", MODELS + "/org/tiny"): None,
    ("GET", ALIASES): None,
    ("POST", ALIASES): {"alias": "small", "model": "org/tiny"},
    ("DELETE", ALIASES + "/small"): None,
}


async def call(tenants: Tenants, method: str, path: str, body: Any = None) -> Any:
    return await tenants.call(tenants.platform, method, path, body)


async def test_what_is_said_of_a_model_is_kept_until_it_is_taken_back(tenants: Tenants) -> None:
    one = MODELS + "/org/tiny"
    said = {"prompt_price": 150_000, "capabilities": ["chat", "tools"], "fallbacks": ["big"]}
    made = await call(tenants, "PATCH", one, said)
    more = await call(tenants, "PATCH", one, {"capabilities": None, "enabled": False})
    listed = await call(tenants, "GET", MODELS)

    assert made.status_code == 200, made.text
    assert made.json()["capabilities"] == ["chat", "tools"]
    assert more.json() | said == made.json() | {
        "enabled": False,
        "capabilities": said["capabilities"],
    }
    assert [each["id"] for each in listed.json()["data"]].count("org/tiny") == 1
    assert (await call(tenants, "DELETE", one)).json()["deleted"] is True
    assert (await call(tenants, "GET", one)).status_code == 404


async def test_models_that_a_provider_lists_are_there_without_a_word(tenants: Tenants) -> None:
    provider = {"name": "acme", "url": "http://127.0.0.1:9", "prefix": "acme/", "enabled": True}
    await call(tenants, "POST", "/v1/admin/providers", provider)
    await execute("""UPDATE endpoint SET served = '[{"id": "m"}]' WHERE url LIKE '%:9'""")

    found = await call(tenants, "GET", MODELS + "/acme/m")
    assert found.json()["providers"] == ["acme"]


async def test_a_name_can_stand_for_a_model_but_not_for_another_name(tenants: Tenants) -> None:
    first = await call(tenants, "POST", ALIASES, {"alias": "small", "model": "org/tiny"})
    moved = await call(tenants, "POST", ALIASES, {"alias": "small", "model": "other"})
    chain = await call(tenants, "POST", ALIASES, {"alias": "x", "model": "small"})
    back = await call(tenants, "POST", ALIASES, {"alias": "other", "model": "y"})
    same = await call(tenants, "POST", ALIASES, {"alias": "x", "model": "x"})
    listed = await call(tenants, "GET", ALIASES)

    assert first.status_code == 200, first.text
    assert [each["model"] for each in listed.json()["data"]] == ["other"]
    assert moved.json()["model"] == "other"
    assert {chain.status_code, back.status_code, same.status_code} == {400}
    assert (await call(tenants, "DELETE", ALIASES + "/small")).json()["deleted"] is True
    assert (await call(tenants, "DELETE", ALIASES + "/small")).status_code == 404


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nobody_of_a_tenant_says_or_learns_it(
    tenants: Tenants, method: str, path: str
) -> None:
    await call(tenants, "PATCH", MODELS + "/org/tiny", {"owned_by": "hidden"})
    a = tenants.a
    everybody = [
        *(*a.people.values(), tenants.loner, tenants.guest),
        *(a.admin_key, a.organization_key, a.project_key, a.service_key),
    ]

    for who in everybody:
        answer = await tenants.call(who, method, path, ROUTES[method, path])
        assert answer.status_code == 403, (who, answer.text)
        assert "hidden" not in answer.text
    assert (await tenants.call(None, method, path, ROUTES[method, path])).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        *({"prompt_price": price} for price in (-1, 1.5, "x", 2**63)),
        *({"context_length": 0}, {"context_length": 2**31}, {"capabilities": ["flying"]}),
        *({"fallbacks": ["org/tiny"]}, {"fallbacks": [""]}, {"fallbacks": ["x"] * 2 + [1]}),
        *({"owned_by": "a\0"}, {"owned_by": "o" * 200}, {"enabled": None}, {"extra": 1}, []),
    ],
)
async def test_a_field_that_does_not_fit_is_refused(tenants: Tenants, body: Any) -> None:
    answer = await call(tenants, "PATCH", MODELS + "/org/tiny", body)

    assert answer.status_code == 400, answer.text
