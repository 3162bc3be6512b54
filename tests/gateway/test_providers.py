"""Providers over HTTP: for who administers all of this Jan, and nobody else."""

import asyncio
from typing import Any

import pytest

from jan.fleet.credentials import ProviderKeys
from tests.conftest import execute, fetch
from tests.gateways import KEY_SECRET
from tests.tenants import Tenants

PATH = "/v1/admin/providers"
ROUTES: dict[tuple[str, str], Any] = {
    ("GET", PATH): None,
    ("POST", PATH): {"name": "other", "url": "http://127.0.0.1:1"},
    ("GET", PATH + "/{id}"): None,
    ("PATCH", PATH + "/{id}"): {"prefix": "x/"},
    ("POST", PATH + "/{id}"): {"prefix": "x/"},
    ("DELETE", PATH + "/{id}"): None,
    ("POST", PATH + "/{id}/check"): None,
    ("POST", PATH + "/{id}/endpoints"): {"url": "http://127.0.0.1:2"},
    ("PATCH", PATH + "/{id}/endpoints/{endpoint}"): {"weight": 2},
    ("POST", PATH + "/{id}/endpoints/{endpoint}"): {"weight": 2},
    ("DELETE", PATH + "/{id}/endpoints/{endpoint}"): None,
}
ACME = {"name": "acme", "url": "http://127.0.0.1:9/v1/", "api_key": "sk-hidden"}


async def call(tenants: Tenants, method: str, path: str, body: Any = None) -> Any:
    return await tenants.call(tenants.platform, method, path, body)


async def test_who_administers_this_jan_adds_changes_and_forgets_a_provider(
    tenants: Tenants,
) -> None:
    made = (await call(tenants, "POST", PATH, ACME)).json()
    one = f"{PATH}/{made['id']}"
    changed = await call(
        tenants, "PATCH", one, {"name": "corp", "prefix": "corp/", "models": ["a"]}
    )
    again = await call(tenants, "GET", f"{PATH}/corp")
    added = await call(tenants, "POST", f"{one}/endpoints", {"url": "https://b.test/v1"})
    twice = await call(tenants, "POST", f"{one}/endpoints", {"url": "https://B.test"})
    weighed = await call(tenants, "PATCH", f"{one}/endpoints/{added.json()['id']}", {"weight": 3})

    assert made["endpoints"][0]["url"] == "http://127.0.0.1:9"
    assert (changed.json()["name"], changed.json()["models"]) == ("corp", ["a"])
    assert (again.json()["id"], again.json()["has_api_key"]) == (made["id"], True)
    assert (twice.status_code, weighed.json()["weight"]) == (409, 3)
    sealed = (await fetch("SELECT sealed FROM provider WHERE id = $1", made["id"]))[0]["sealed"]
    keys = ProviderKeys(KEY_SECRET)
    for url in ("http://127.0.0.1:9", "https://b.test"):
        assert keys.read_for(made["id"], sealed, url) == "sk-hidden"

    gone = await call(tenants, "DELETE", f"{one}/endpoints/{added.json()['id']}")
    assert gone.json()["deleted"] is True
    assert (await call(tenants, "DELETE", "/v1/admin/providers/corp")).json()["deleted"] is True
    assert (await call(tenants, "GET", one)).status_code == 404
    assert await fetch("SELECT id FROM endpoint WHERE provider_id = $1", made["id"]) == []


async def test_a_key_is_told_to_nobody_and_stands_in_no_log(tenants: Tenants) -> None:
    made = await call(tenants, "POST", PATH, ACME)
    changed = await call(tenants, "PATCH", f"{PATH}/acme", {"api_key": "sk-hidden-too"})
    log = await fetch("SELECT event::text FROM audit_log AS event")

    for answer in (made, changed, await call(tenants, "GET", PATH)):
        assert answer.status_code == 200
        assert "hidden" not in answer.text
    assert any("provider.created" in row["event"] for row in log)
    assert not any("hidden" in row["event"] for row in log)
    none = await call(tenants, "PATCH", f"{PATH}/acme", {"api_key": None})
    assert none.json()["has_api_key"] is False


async def test_a_check_tells_why_nobody_answers(tenants: Tenants) -> None:
    await call(tenants, "POST", PATH, ACME)
    answer = (await call(tenants, "POST", f"{PATH}/acme/check")).json()

    assert answer["data"][0]["ok"] is False
    assert answer["data"][0]["error"]


async def test_of_two_who_take_a_name_at_once_one_gets_it(tenants: Tenants) -> None:
    answers = await asyncio.gather(*(call(tenants, "POST", PATH, ACME) for _ in range(4)))

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


async def test_what_the_settings_say_is_changed_there(tenants: Tenants) -> None:
    made = (await call(tenants, "POST", PATH, ACME)).json()
    await execute("UPDATE provider SET managed_by = 'settings' WHERE id = $1", made["id"])
    endpoint = made["endpoints"][0]["id"]

    for (method, path), body in ROUTES.items():
        if method == "GET" or path == PATH or path.endswith("check"):
            continue
        answer = await call(tenants, method, path.format(id="acme", endpoint=endpoint), body)
        assert answer.status_code == 409, (method, path, answer.text)
        assert "settings" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nobody_of_a_tenant_learns_of_providers(
    tenants: Tenants, method: str, path: str
) -> None:
    made = (await call(tenants, "POST", PATH, ACME)).json()
    body = ROUTES[method, path]
    path = path.format(id=made["id"], endpoint=made["endpoints"][0]["id"])
    a = tenants.a
    everybody = [
        *(*a.people.values(), tenants.loner, tenants.guest),
        *(a.admin_key, a.organization_key, a.project_key, a.service_key),
    ]

    for who in everybody:
        answer = await tenants.call(who, method, path, body)
        assert answer.status_code == 403, (who, answer.text)
        assert "acme" not in answer.text
    assert (await tenants.call(None, method, path, body)).status_code == 401


@pytest.mark.parametrize(
    "change",
    [
        *({"url": url} for url in ("", "ftp://a", "unix:///run/x", "http://", "http://u:p@a")),
        *({"url": url} for url in ("http://a?x=1", "http://a#x", "http://a:0", "http://a:b")),
        *({"url": url} for url in ("http://a\0b", "http://a b", "http://[", "h" * 3000, 1, None)),
        *({"name": name} for name in ("", "A", "1a", "a_b", "a" * 65, "a\0", "a b", "ä")),
        *({"api_key": key} for key in ("a\nb", "a\0", "ä", "k" * 5000, 1)),
        *({"prefix": prefix} for prefix in ("p" * 65, "a\0", "a b")),
        *({"models": models} for models in ([""], ["a\0"], ["m" * 300], ["a", 1], "a")),
        *({"weight": 0}, {"weight": 101}, {"max_running": 0}, {"max_running": 2**31}),
        *({"kind": "runner"}, {"kind": "x"}, {"extra": 1}),
    ],
)
async def test_a_field_that_does_not_fit_is_refused(tenants: Tenants, change: Any) -> None:
    answer = await call(tenants, "POST", PATH, ACME | change)

    assert answer.status_code == 400, answer.text
    assert (await call(tenants, "GET", f"{PATH}/acme")).status_code == 404
