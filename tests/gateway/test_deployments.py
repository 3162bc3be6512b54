"""Deployments over HTTP: for who administers all of this Jan, and nobody else."""

from typing import Any

import pytest

from jan.fleet.running import Registrar
from tests.tenants import Tenants

PATH = "/v1/admin/deployments"
ROUTES: dict[tuple[str, str], Any] = {
    ("GET", PATH): None,
    ("POST", PATH): {"model": "tiny"},
    ("GET", PATH + "/{id}"): None,
    ("PATCH", PATH + "/{id}"): {"instances": 2},
    ("POST", PATH + "/{id}"): {"instances": 2},
    ("DELETE", PATH + "/{id}"): None,
    ("POST", PATH + "/{id}/reload"): None,
    ("POST", PATH + "/{id}/load"): None,
    ("POST", PATH + "/{id}/unload"): None,
    ("GET", "/v1/admin/nodes"): None,
}


@pytest.fixture
async def node(tenants: Tenants) -> str:
    """Another machine, on which anything may be loaded as far as is known here."""
    registrar = Registrar("elsewhere:/srv/jan")
    await registrar.begin({"variant": "cpu"}, [])
    return registrar.node


async def test_who_administers_this_jan_loads_changes_and_forgets_a_model(
    tenants: Tenants, node: str
) -> None:
    for who in (tenants.platform, tenants.platform_key):
        made = await tenants.call(who, "POST", PATH, {"model": "tiny", "node": node})
        one = f"{PATH}/{made.json()['id']}"
        changed = await tenants.call(who, "PATCH", one, {"instances": 2, "gpus": None})
        listed = await tenants.call(who, "GET", f"{PATH}?limit=1")
        nodes = await tenants.call(who, "GET", "/v1/admin/nodes")
        busy = await tenants.call(who, "POST", f"{one}/reload")
        gone = await tenants.call(who, "DELETE", one)

        assert (made.status_code, made.json()["object"]) == (200, "deployment")
        assert changed.json()["instances"] == 2
        assert [each["id"] for each in listed.json()["data"]] == [made.json()["id"]]
        assert [each["id"] for each in nodes.json()["data"]] == [node]
        assert (busy.status_code, busy.json()["error"]["code"]) == (409, "conflict")
        assert gone.json()["deleted"] is True
        assert (await tenants.call(who, "GET", one)).status_code == 404


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nobody_of_a_tenant_learns_what_runs_where(
    tenants: Tenants, node: str, method: str, path: str
) -> None:
    made = await tenants.call(tenants.platform, "POST", PATH, {"model": "tiny", "node": node})
    path, body = path.format(id=made.json()["id"]), ROUTES[method, path]
    a = tenants.a
    everybody = [
        *(*a.people.values(), tenants.loner, tenants.guest),
        *(a.admin_key, a.organization_key, a.project_key, a.service_key),
    ]

    for who in everybody:
        answer = await tenants.call(who, method, path, body)
        assert answer.status_code == 403, (who, answer.text)
        assert "tiny" not in answer.text
    assert (await tenants.call(None, method, path, body)).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        *(None, [], {}, {"model": 1}, {"model": "tiny", "instances": "two"}),
        *({"model": "tiny", "gpus": 0}, {"model": "tiny", "replace": "swap"}),
        {"model": "ti\0ny"},
    ],
)
async def test_a_body_that_does_not_fit_is_refused(tenants: Tenants, node: str, body: Any) -> None:
    answer = await tenants.call(tenants.platform, "POST", PATH, body)

    assert answer.status_code == 400, answer.text
