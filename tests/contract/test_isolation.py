"""No tenant reaches another: every route that there is, tried with another tenant's ids.

The cases come from the app's own table of routes. A new route is tried as soon as its parameters
are known here; one that is not known fails the suite.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from litestar.routes import ASGIRoute

from jan import ids
from jan.chat.dialect import ENDPOINTS
from tests.conftest import execute, fetch
from tests.tenants import Key, Person, Tenant, Tenants

OPEN = {
    "/healthcheck": "says nothing of anybody",
    "/livez": "as above",
    "/readyz": "as above",
    "/v1/version": "as above",
    "/.well-known/oauth-protected-resource": "as above",
    "/.well-known/oauth-protected-resource/v1/mcp": "as above",
    "/.well-known/oauth-protected-resource/v1/conv/mcp": "as above",
}
"""Routes that need no credential and know no tenant, and why."""

OPEN_PREFIXES = ("/v1/auth/", "/setup", "/invite", "/reset", "/static")
"""Signing in: about the person who asks alone. Their own tests are in `tests/auth`."""

DATA_PLANE = re.compile(
    "|".join(re.escape(endpoint.path) for endpoint in ENDPOINTS)
    + r"|/v1/(models|conv/chat/completions|conv/models)(/.*)?"
    r"|/v1/responses/(compact|input_tokens)|/v1/(conv/)?mcp"
)
"""What a project is for; it has no tenant's ids in its paths."""

PUBLIC = {"/v1/organization/invites/verification": "opens by a code alone: `tests/invites`"}

BODY: dict[str, Any] = {
    "name": "stolen",
    "role": "owner",
    "is_enabled": False,
    "kind": "project",
    "email": "stranger@example.com",
    "confirm": "stolen",
    "title": "stolen",
    "metadata": {"stolen": "yes"},
    "items": [{"role": "user", "content": "stolen"}],
    "workspace_id": None,
    "instruction": "stolen",
    "label": "stolen",
    "url": "https://stolen.example.com/",
    "mode": "allow_list",
    "model_ids": ["stolen"],
}
"""Whatever a route wants of it; unknown fields are ignored."""

OF_ALL = ("/v1/users", "/v1/admin/")
"""Paths of those who administer all of this Jan: of no tenant, and refused to all of them."""
PRIVATE = {"conversation_id", "response_id", "workspace_id"}
"""Parameters that name what is its owner's alone, within a project."""
PRIVATE_LISTS = {
    "/v1/conversations": "data",
    "/v1/responses": "data",
    "/v1/conv/workspaces": "results",
}
"""Lists of it, and what they call what is in them."""

REFUSED = {403, 404}
MISSING = re.compile(r"\b(org|proj|user|key|svcacct|invite|sess|conv|msg|resp|ws|mcps)_[0-9a-z]+")


@dataclass(frozen=True)
class Case:
    """One route and method."""

    method: str
    template: str

    def path(self, values: Mapping[str, str]) -> str:
        """Fill the template in."""
        return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: values[found[1]], self.template)

    @property
    def parameters(self) -> list[str]:
        """The ids in it, by name."""
        return re.findall(r"\{(\w+)(?::\w+)?\}", self.template)


def cases(tenants: Tenants) -> list[Case]:
    """Every route that belongs to somebody."""
    app = tenants.gateway.front.app
    assert isinstance(app, Litestar)
    found: list[Case] = []
    for route in app.routes:
        path = route.path_format
        if path in OPEN or path in PUBLIC or path.startswith(OPEN_PREFIXES):
            continue
        if DATA_PLANE.fullmatch(path):
            continue
        if isinstance(route, ASGIRoute):
            methods = set(route.route_handler.opt["methods"])
        else:
            methods = getattr(route, "methods", {"POST"}) - {"OPTIONS", "HEAD"}
        found += [Case(method, path) for method in sorted(methods)]
    assert len(found) > 40
    return found


async def values_of(tenant: Tenant, case: Case) -> dict[str, str]:
    """What each parameter of a route is called in a tenant. A new one has to be added here."""
    key = tenant.project_key
    if "admin_api_keys" in case.template:
        key = tenant.admin_key
    elif "/v1/organization/api_keys" in case.template:
        key = tenant.organization_key
    return {
        "organization_id": tenant.id,
        "project_id": tenant.project_id,
        "user_id": tenant.project_member.id,
        "service_account_id": tenant.service_account_id,
        "key_id": key.id,
        "invite_id": await invite_of(tenant),
        **await conversation_of(tenant.owner, tenant.owner.own_project_id),
        **await response_of(tenant.owner, tenant.owner.own_project_id),
        "workspace_id": await workspace_of(tenant.owner, tenant.owner.own_project_id),
        "mcp_server_id": await mcp_server_of(tenant),
        "deployment_id": "depl_of_no_tenant",
        "provider_id": "prov_of_no_tenant",
        "endpoint_id": "ep_of_no_tenant",
        "name": "model-of-no-tenant",
        "alias": "alias-of-no-tenant",
        "sha256": "0" * 64,
    }


async def response_of(person: Person, project_id: str) -> dict[str, str]:
    """A person's response in a project, made where there is none."""
    rows = await fetch(
        "SELECT id AS response_id FROM response WHERE owner_id = $1 AND project_id = $2 LIMIT 1",
        *(person.id, project_id),
    )
    if rows:
        return dict(rows[0])
    response_id = ids.new("resp")
    place = (response_id, project_id, person.id)
    await execute(
        "INSERT INTO response (id, project_id, owner_id, status, is_background, is_stream,"
        " parameters, object, caller, ended_at)"
        " VALUES ($1, $2, $3, 'completed', false, false, '{}', '{}', '{}', now())",
        *place,
    )
    await execute(
        "INSERT INTO response_item (response_id, project_id, owner_id, position, is_output, id,"
        " item) VALUES ($1, $2, $3, 1, false, 'msg_secret', '{\"id\": \"msg_secret\"}')",
        *place,
    )
    return {"response_id": response_id}


async def conversation_of(person: Person, project_id: str) -> dict[str, str]:
    """A person's conversation in a project and an item of it, made where there is none."""
    rows = await fetch(
        "SELECT conversation_id, id AS item_id FROM conversation_item"
        " WHERE owner_id = $1 AND project_id = $2 ORDER BY position LIMIT 1",
        *(person.id, project_id),
    )
    if rows:
        return dict(rows[0])
    conversation_id, item_id = ids.new("conv"), ids.new("msg")
    place = (conversation_id, project_id, person.id)
    await execute(
        "INSERT INTO conversation (id, project_id, owner_id, title) VALUES ($1, $2, $3, 'secret')",
        *place,
    )
    await execute(
        "INSERT INTO conversation_item (conversation_id, project_id, owner_id, id, type, item)"
        " VALUES ($1, $2, $3, $4, 'message', $5)",
        *(*place, item_id, f'{{"type": "message", "id": "{item_id}", "content": []}}'),
    )
    return {"conversation_id": conversation_id, "item_id": item_id}


async def invite_of(tenant: Tenant) -> str:
    """A pending invite of the tenant's, made where there is none."""
    rows = await fetch("SELECT id FROM invite WHERE organization_id = $1", tenant.id)
    if rows:
        return rows[0]["id"]
    invite_id = ids.new("invite")
    await execute(
        "INSERT INTO invite (id, organization_id, email, role, digest, was_mailed, expires_at)"
        " VALUES ($1, $2, 'new@example.com', 'reader', $3, true, now() + interval '7 days')",
        *(invite_id, tenant.id, invite_id.ljust(64, "0")[:64]),
    )
    return invite_id


async def workspace_of(person: Person, project_id: str) -> str:
    """A person's workspace in a project, made where there is none."""
    place = (person.id, project_id)
    rows = await fetch("SELECT id FROM workspace WHERE owner_id = $1 AND project_id = $2", *place)
    if rows:
        return rows[0]["id"]
    workspace_id = ids.new("ws")
    await execute(
        "INSERT INTO workspace (id, owner_id, project_id, name) VALUES ($1, $2, $3, 'Secret')",
        *(workspace_id, *place),
    )
    return workspace_id


async def mcp_server_of(tenant: Tenant) -> str:
    """A remote MCP server of the tenant's first project, registered where there is none."""
    rows = await fetch("SELECT id FROM mcp_server WHERE organization_id = $1", tenant.id)
    if rows:
        return rows[0]["id"]
    server_id = ids.new("mcps")
    await execute(
        "INSERT INTO mcp_server (id, organization_id, project_id, label, url, require_approval)"
        " VALUES ($1, $2, $3, $4, 'https://mcp.example.com/', 'always')",
        *(server_id, tenant.id, tenant.project_id, f"label-{tenant.id}"),
    )
    return server_id


async def state_of(tenant: Tenant) -> dict[str, list[str]]:
    """Everything that is a tenant's, to the letter."""
    by_organization = (
        *("organization_member", "project", "project_member", "service_account"),
        *("invite", "invite_project", "audit_log", "usage", "tool_call"),
        *("invite", "invite_project", "audit_log", "usage", "mcp_server"),
    )
    found = {
        table: await fetch(
            f"SELECT t::text AS row FROM {table} AS t WHERE organization_id = $1 ORDER BY 1",
            tenant.id,
        )
        for table in by_organization
    }
    found["organization"] = await fetch(
        "SELECT t::text AS row FROM organization AS t WHERE id = $1", tenant.id
    )
    found["api_key"] = await fetch(  # less when it was last used
        "SELECT (to_jsonb(t) - 'last_used_at')::text AS row FROM api_key AS t"
        " WHERE organization_id = $1 ORDER BY 1",
        tenant.id,
    )
    people = [person.id for person in tenant.people.values()]
    found["users"] = await fetch(
        "SELECT t::text AS row FROM users AS t WHERE id = ANY($1) ORDER BY 1", people
    )
    found["session"] = await fetch(
        "SELECT t::text AS row FROM session AS t WHERE user_id = ANY($1) ORDER BY 1", people
    )
    kept = ("workspace", "conversation", "conversation_item", "response", "response_item")
    for table in kept:
        found[table] = await fetch(
            f"SELECT t::text AS row FROM {table} AS t WHERE owner_id = ANY($1) ORDER BY 1", people
        )
    return {table: [row["row"] for row in rows] for table, rows in found.items()}


def strangers(tenants: Tenants) -> dict[str, Person | Key]:
    """Everybody who is not in A."""
    b = tenants.b
    return {
        **b.people,
        "admin key": b.admin_key,
        "organization key": b.organization_key,
        "project key": b.project_key,
        "service key": b.service_key,
        "loner": tenants.loner,
        "guest": tenants.guest,
    }


def _said(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], MISSING.sub("ID", error["message"])


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_no_route_lets_a_stranger_reach_a_tenant(tenants: Tenants) -> None:
    a = tenants.a
    routes = [case for case in cases(tenants) if case.parameters]
    all_values = {case: await values_of(a, case) for case in routes}
    before = await state_of(a)
    reached: list[str] = []
    told_apart: list[str] = []

    for name, stranger in strangers(tenants).items():
        async with tenants.client(stranger) as client:
            for case in routes:
                theirs = all_values[case]
                answer = await client.request(case.method, case.path(theirs), json=BODY)
                if answer.status_code not in REFUSED:
                    reached.append(f"{name}: {case} -> {answer.status_code} {answer.text[:200]}")
                    continue
                nobody = {
                    parameter: f"{value.partition('_')[0]}_{'0' * 24}"
                    for parameter, value in theirs.items()
                }
                missing = await client.request(case.method, case.path(nobody), json=BODY)
                if _said(answer) != _said(missing):
                    told_apart.append(f"{name}: {case}: {_said(answer)} not {_said(missing)}")

    assert reached == []
    assert told_apart == []
    assert await state_of(a) == before


@pytest.mark.slow
async def test_no_list_shows_a_stranger_anything_of_a_tenant(tenants: Tenants) -> None:
    a = tenants.a
    secrets = [a.id, a.name, a.project_id, a.closed_project_id, a.service_account_id]
    secrets += [person.id for person in a.people.values()]
    secrets += [person.email for person in a.people.values()]
    secrets += [key.id for key in (a.admin_key, a.organization_key, a.project_key, a.service_key)]
    secrets += [await invite_of(a), await mcp_server_of(a)]
    secrets.append(await workspace_of(a.owner, a.owner.own_project_id))
    secrets += (await conversation_of(a.owner, a.owner.own_project_id)).values()
    secrets += (await response_of(a.owner, a.owner.own_project_id)).values()
    lists = [case for case in cases(tenants) if case.method == "GET" and not case.parameters]
    assert lists

    shown: list[str] = []
    for name, stranger in strangers(tenants).items():
        async with tenants.client(stranger) as client:
            for case in lists:
                answer = await client.get(case.template)
                assert answer.status_code in {200, 401, 403, 404}, (name, case, answer.text)
                shown += [f"{name}: {case}: {word}" for word in secrets if word in answer.text]

    assert shown == []


@pytest.mark.slow
async def test_naming_another_tenant_in_a_header_leads_nowhere(tenants: Tenants) -> None:
    a = tenants.a
    lists = [case for case in cases(tenants) if case.method == "GET" and not case.parameters]

    for stranger in strangers(tenants).values():
        for place in (
            {"organization_id": a.id},
            {"project_id": a.project_id},
            {"project_id": a.owner.own_project_id},
        ):
            async with tenants.client(stranger, **place) as client:
                for path in [*(case.template for case in lists), "/v1/models"]:
                    answer = await client.get(path)
                    assert answer.status_code == 404, (stranger, place, path, answer.text)


async def test_what_is_private_is_private_within_the_project_too(tenants: Tenants) -> None:
    """Neither who owns the project or the organization, nor any key there, sees a member's own."""
    a = tenants.a
    theirs = await values_of(a, Case("GET", "/"))
    theirs |= await conversation_of(a.project_member, a.project_id)
    theirs |= await response_of(a.project_member, a.project_id)
    theirs["workspace_id"] = await workspace_of(a.project_member, a.project_id)
    routes = [case for case in cases(tenants) if PRIVATE & {*case.parameters}]
    assert len(routes) >= 9
    before = await state_of(a)

    for who in (a.project_owner, a.owner, a.organization_key, a.service_key):
        async with tenants.client(who, project_id=a.project_id) as client:
            for case in routes:
                answer = await client.request(case.method, case.path(theirs), json=BODY)
                assert answer.status_code == 404, (case, answer.text)
            for path, name in PRIVATE_LISTS.items():
                assert (await client.get(path)).json()[name] == []
    assert await state_of(a) == before

    for who in (a.project_member, a.project_key):  # else it would prove nothing
        async with tenants.client(who, project_id=a.project_id) as client:
            for case in routes:
                if case.method == "GET":
                    answer = await client.get(case.path(theirs))
                    assert answer.status_code == 200, (case, answer.text)


async def test_without_a_credential_no_route_answers(tenants: Tenants) -> None:
    async with tenants.client(None) as client:
        for case in cases(tenants):
            values = await values_of(tenants.a, case)
            answer = await client.request(case.method, case.path(values), json=BODY)
            assert answer.status_code == 401, (case, answer.text)


async def test_every_parameter_of_a_route_has_a_case(tenants: Tenants) -> None:
    known = await values_of(tenants.a, Case("GET", "/"))

    strange = {case.template for case in cases(tenants) if set(case.parameters) - set(known)}

    assert strange == set()


async def test_the_tenant_itself_reaches_all_of_it(tenants: Tenants) -> None:
    """Else the tests above would pass on an app that refuses everybody."""
    routes = [case for case in cases(tenants) if case.method == "GET"]

    async with tenants.client(tenants.a.owner) as client:
        for case in routes:
            if case.template.startswith(OF_ALL):
                continue  # for those who administer all of this Jan
            answer = await client.get(case.path(await values_of(tenants.a, case)))
            assert answer.status_code == 200, (case, answer.text)


async def reads_of(tenants: Tenants, routes: list[Case]) -> dict[str, Any]:
    """What the tenant's owner is told, by every route that tells something."""
    found: dict[str, Any] = {}
    async with tenants.client(tenants.a.owner) as client:
        for case in routes:
            if case.method == "GET" and not case.template.startswith(OF_ALL):
                path = case.path(await values_of(tenants.a, case))
                found[path] = (await client.get(path)).text
    return found


acts = st.lists(
    st.tuples(
        st.integers(min_value=0),  # who
        st.integers(min_value=0),  # by which route
        st.lists(st.booleans(), min_size=24, max_size=24),  # which of the ids are the tenant's
        st.sampled_from([BODY, BODY | {"is_enabled": True, "role": "member"}, {}, {"role": None}]),
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(acts=acts)
async def test_whatever_strangers_do_the_tenant_reads_the_same(
    tenants: Tenants, acts: list[tuple[int, int, list[bool], dict[str, Any]]]
) -> None:
    routes = cases(tenants)
    actors = list(strangers(tenants).values())
    before = await reads_of(tenants, routes)

    for who, which, are_theirs, body in acts:
        case = routes[which % len(routes)]
        theirs = await values_of(tenants.a, case)
        own = await values_of(tenants.b, case)
        mixed = {
            name: (theirs if is_theirs else own)[name]
            for name, is_theirs in zip(theirs, are_theirs, strict=False)
        }
        ids_in_body = {name: theirs[name] for name in ("project_id", "user_id")}
        actor = actors[who % len(actors)]
        await tenants.call(actor, case.method, case.path(mixed), {**body, **ids_in_body})

    assert await reads_of(tenants, routes) == before
