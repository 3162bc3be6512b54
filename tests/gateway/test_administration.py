"""The administration over HTTP: who may do what, ids of others, and bodies that do not fit."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.conftest import fetch
from tests.tenants import Key, Person, Tenant, Tenants

PROJECTS = "/v1/organization/projects"
USERS = "/v1/organization/users"
MISSING = "missing_000000000000000000000000"

ROUTES: dict[tuple[str, str], Any] = {
    ("GET", PROJECTS + "/{project}"): None,
    ("POST", PROJECTS + "/{project}"): {"name": "x"},
    ("PATCH", PROJECTS + "/{project}"): {"name": "x"},
    ("POST", PROJECTS + "/{project}/archive"): None,
    ("GET", PROJECTS + "/{project}/users"): None,
    ("POST", PROJECTS + "/{project}/users"): {"user_id": "{user}", "role": "member"},
    ("GET", PROJECTS + "/{project}/users/{user}"): None,
    ("POST", PROJECTS + "/{project}/users/{user}"): {"role": "owner"},
    ("PATCH", PROJECTS + "/{project}/users/{user}"): {"role": "owner"},
    ("DELETE", PROJECTS + "/{project}/users/{user}"): None,
    ("GET", PROJECTS + "/{project}/service_accounts"): None,
    ("POST", PROJECTS + "/{project}/service_accounts"): {"name": "x"},
    ("GET", PROJECTS + "/{project}/service_accounts/{account}"): None,
    ("POST", PROJECTS + "/{project}/service_accounts/{account}"): {"name": "x"},
    ("PATCH", PROJECTS + "/{project}/service_accounts/{account}"): {"name": "x"},
    ("DELETE", PROJECTS + "/{project}/service_accounts/{account}"): None,
    ("GET", USERS + "/{user}"): None,
    ("POST", USERS + "/{user}"): {"role": "owner"},
    ("PATCH", USERS + "/{user}"): {"role": "owner"},
    ("DELETE", USERS + "/{user}"): None,
    ("GET", "/v1/organizations/{organization}"): None,
    ("POST", "/v1/organizations/{organization}"): {"name": "x"},
    ("PATCH", "/v1/organizations/{organization}"): {"name": "x"},
    ("DELETE", "/v1/organizations/{organization}?confirm=x"): None,
}
"""Every route on something with an id, and a body that it would take."""

BODIES = {
    ("POST", PROJECTS): {"name": "x"},
    ("POST", "/v1/organizations"): {"name": "x"},
    ("POST", "/v1/users"): {"email": "x@y.z"},
    **{route: body for route, body in ROUTES.items() if body},
}
"""Every route that takes a body."""


def ids_of(tenant: Tenant) -> dict[str, str]:
    """Tell what a tenant's things are called."""
    return {
        "organization": tenant.id,
        "project": tenant.project_id,
        "user": tenant.project_member.id,
        "account": tenant.service_account_id,
    }


def filled(value: Any, ids: Mapping[str, str]) -> Any:
    """Put ids where they belong in a path or a body."""
    if isinstance(value, dict):
        return {key: filled(each, ids) for key, each in value.items()}
    return value.format(**ids) if isinstance(value, str) else value


async def contents() -> list[str]:
    """Tell everything that the administration changes, and its log."""
    tables = (
        *("organization", "organization_member", "project", "project_member"),
        *("service_account", "api_key", "users", "audit_log"),
    )
    return [
        row["row"]
        for table in tables
        for row in await fetch(f"SELECT {table}::text AS row FROM {table} ORDER BY 1")
    ]


async def test_ids_of_another_organization_are_answered_as_missing_ones(tenants: Tenants) -> None:
    foreign = ids_of(tenants.b)
    own = ids_of(tenants.a)
    before = await contents()
    differing: dict[str, Any] = {}
    for (method, path), body in ROUTES.items():
        # Each id of the path in turn, so that what is beside it is the caller's own.
        for name in (name for name in own if "{" + name + "}" in path + str(body)):
            answers: list[tuple[int, str]] = []
            for its_id in (foreign[name], MISSING):
                ids = {**own, name: its_id}
                answer = await tenants.call(
                    tenants.a.owner, method, filled(path, ids), filled(body, ids)
                )
                answers.append((answer.status_code, answer.text.replace(its_id, "ID")))
            if answers[0] != answers[1] or answers[0][0] != 404:
                differing[f"{method} {path} {name}"] = answers

    assert differing == {}
    assert await contents() == before


MAY: dict[tuple[str, str], dict[str, int]] = {
    ("GET", PROJECTS): {"member": 200, "loner": 200, "reader": 200, "project_member": 200},
    ("POST", PROJECTS): {"reader": 403, "member": 403, "project_owner": 403},
    ("GET", PROJECTS + "/{project}"): {"reader": 200, "project_member": 200, "member": 404},
    ("POST", PROJECTS + "/{project}"): {"reader": 403, "project_member": 403, "member": 404},
    ("POST", PROJECTS + "/{project}/archive"): {
        "reader": 403,
        "project_member": 403,
        "member": 404,
    },
    ("GET", PROJECTS + "/{project}/users"): {"reader": 200, "project_member": 200, "member": 404},
    ("POST", PROJECTS + "/{project}/users"): {
        "reader": 403,
        "project_member": 403,
        "member": 404,
    },
    ("PATCH", PROJECTS + "/{project}/users/{user}"): {
        "reader": 403,
        "project_member": 403,
        "member": 404,
    },
    ("DELETE", PROJECTS + "/{project}/users/{user}"): {
        "reader": 403,
        "project_member": 403,
        "member": 404,
    },
    ("POST", PROJECTS + "/{project}/service_accounts"): {
        "reader": 403,
        "project_member": 403,
        "member": 404,
    },
    ("DELETE", PROJECTS + "/{project}/service_accounts/{account}"): {
        "reader": 403,
        "project_member": 403,
        "member": 404,
    },
    ("GET", USERS): {"reader": 200, "project_owner": 403, "member": 403, "loner": 403},
    ("POST", USERS): {"owner": 403, "admin_key": 403, "reader": 403, "project_owner": 403},
    ("PATCH", USERS + "/{user}"): {"reader": 403, "project_owner": 403, "member": 403},
    ("DELETE", USERS + "/{user}"): {"reader": 403, "project_owner": 403, "member": 403},
    ("GET", "/v1/organizations"): {"reader": 200, "member": 200, "loner": 200},
    ("POST", "/v1/organizations"): {"owner": 403, "admin_key": 403, "reader": 403, "loner": 403},
    ("GET", "/v1/organizations/{organization}"): {"reader": 200, "member": 200, "loner": 404},
    ("PATCH", "/v1/organizations/{organization}"): {
        "reader": 403,
        "member": 403,
        "project_owner": 403,
        "loner": 404,
    },
    ("DELETE", "/v1/organizations/{organization}"): {
        "reader": 403,
        "member": 403,
        "project_owner": 403,
        "loner": 404,
    },
    ("GET", "/v1/users"): {"owner": 403, "admin_key": 403, "reader": 403},
    ("POST", "/v1/users"): {"owner": 403, "admin_key": 403, "reader": 403},
    ("PATCH", "/v1/users/{user}"): {"owner": 403, "admin_key": 403, "project_member": 403},
    ("DELETE", "/v1/users/{user}"): {"owner": 403, "admin_key": 403, "project_member": 403},
}
"""Who gets which status, beside those who get none anywhere: see below."""


async def test_roles_decide_who_may_and_nothing_changes_where_they_may_not(
    tenants: Tenants,
) -> None:
    a = tenants.a
    callers: dict[str, Person | Key | None] = {
        **a.people,
        "admin_key": a.admin_key,
        "loner": tenants.loner,
        "guest": tenants.guest,
        "organization_key": a.organization_key,
        "project_key": a.project_key,
        "service_key": a.service_key,
        "nobody": None,
    }
    nowhere = dict.fromkeys(("guest", "organization_key", "project_key", "service_key"), 403)
    before = await contents()
    wrong: dict[str, int] = {}
    for (method, path), statuses in MAY.items():
        body = BODIES.get((method, path), {"role": "owner", "email": "x@y.z"})
        for who, status in {**statuses, **nowhere, "nobody": 401}.items():
            sent = None if method in {"GET", "DELETE"} else filled(body, ids_of(a))
            answer = await tenants.call(callers[who], method, filled(path, ids_of(a)), sent)
            if answer.status_code != status:
                wrong[f"{who}: {method} {path}, not {status}"] = answer.status_code

    assert wrong == {}
    assert await contents() == before


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_json"),
        (b"null", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'"name"', "invalid_json"),
        (b"{", "invalid_json"),
        (b"\xff\xfe\x00", "invalid_json"),
        (b'{"name": "\\ud800", "role": "\\ud800", "email": "\\ud800"}', None),
        (b'{"name": 5, "role": 5, "email": 5}', "invalid_request"),
        (b'{"name": {}, "role": [], "email": {}}', "invalid_request"),
        (b'{"name": "\\u0000", "role": "\\u0000", "email": "\\u0000"}', "invalid_request"),
        (b'{"unknown": 1}', "invalid_request"),
        (b'{"name": "' + b"x" * 70_000 + b'"}', "request_too_large"),
        (b"[" * 50_000, "invalid_json"),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_bodies_that_do_not_fit_are_refused_in_words(
    tenants: Tenants, content: bytes, code: str | None
) -> None:
    before = await contents()
    wrong: dict[str, Any] = {}
    async with (
        tenants.client(tenants.a.owner) as owner,
        tenants.client(tenants.platform) as platform,
    ):
        for method, path in BODIES:
            client = platform if path in {"/v1/organizations", "/v1/users"} else owner
            answer = await client.request(
                method,
                filled(path, ids_of(tenants.a)),
                content=content,
                headers={"content-type": "application/json"},
            )
            error = answer.json()["error"]
            expected = 413 if code == "request_too_large" else 400
            if answer.status_code != expected or code not in {None, error["code"]}:
                wrong[f"{method} {path}"] = answer.text

    assert wrong == {}
    assert await contents() == before


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (PROJECTS, {}, "name"),
        (PROJECTS, {"name": 1}, "name"),
        (PROJECTS, {"name": " "}, "name"),
        (PROJECTS + "/{project}/users", {"user_id": "x"}, "role"),
        (PROJECTS + "/{project}/users", {"user_id": "x", "role": "king"}, "role"),
        (PROJECTS + "/{project}/users", {"role": "owner"}, "user_id"),
        (PROJECTS + "/{project}/service_accounts", {"name": "x" * 129}, "name"),
        (
            PROJECTS + "/{project}/service_accounts",
            {"name": "x", "expires_in_seconds": "soon"},
            "expires_in_seconds",
        ),
        (PROJECTS + "/{project}/service_accounts/{account}", {"role": "none"}, "role"),
        (USERS + "/{user}", {"role": "king"}, "role"),
        (USERS + "/{user}", {}, "role"),
        ("/v1/organizations/{organization}", {"name": None}, "name"),
    ],
)
async def test_a_refusal_names_the_field(
    tenants: Tenants, path: str, body: dict[str, Any], param: str
) -> None:
    answer = await tenants.call(tenants.a.owner, "POST", filled(path, ids_of(tenants.a)), body)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert "Validation failed" not in error["message"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("order=up", "order"),
        ("after=proj_missing", "after"),
        ("last=proj_missing", "after"),
        ("before=a%00b", "before"),
        ("after=" + "x" * 200, "after"),
        ("after=x&before=y", "before"),
        ("include_archived=perhaps", "include_archived"),
    ],
)
async def test_a_page_that_is_none_is_refused(tenants: Tenants, query: str, param: str) -> None:
    answer = await tenants.call(tenants.a.owner, "GET", f"{PROJECTS}?{query}")

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_page_has_a_hundred_rows_at_most(tenants: Tenants) -> None:
    async with tenants.client(tenants.a.owner) as client:
        for _ in range(100):
            await client.post(PROJECTS, json={"name": "x"})
        page = (await client.get(PROJECTS, params={"limit": 10**30})).json()
        rest = (await client.get(PROJECTS, params={"last": page["last_id"]})).json()

    assert (len(page["data"]), page["has_more"]) == (100, True)
    assert (len(rest["data"]), rest["has_more"]) == (2, False)


@pytest.mark.parametrize("its_id", ["a%00b", "%FF", "..%2F..%2Fusers", "x" * 5000, "%F0%9F%8E%89"])
async def test_strange_ids_are_refused_or_not_found(tenants: Tenants, its_id: str) -> None:
    async with tenants.client(tenants.platform) as client:
        for path in (PROJECTS, USERS, "/v1/organizations", "/v1/users"):
            for method in ("GET", "DELETE"):
                answer = await client.request(method, f"{path}/{its_id}?confirm=x")
                assert answer.status_code in {400, 404, 405}, (path, answer.text)


async def test_a_person_with_two_organizations_says_which_is_meant(tenants: Tenants) -> None:
    a, b = tenants.a, tenants.b
    async with tenants.client(tenants.platform, organization_id=a.id) as client:
        assert (await client.get(PROJECTS)).status_code == 404
    async with tenants.client(a.owner, organization_id=b.id) as client:
        assert (await client.get(PROJECTS)).status_code == 404
    async with tenants.client(a.owner, organization_id=a.id) as client:
        assert (await client.get(PROJECTS)).json()["first_id"] == a.project_id


async def test_the_same_request_twice_at_once_makes_two_projects_and_one_member(
    tenants: Tenants,
) -> None:
    a = tenants.a
    adding = {"user_id": a.member.id, "role": "member"}

    made = await asyncio.gather(
        *(tenants.call(a.owner, "POST", PROJECTS, {"name": "x"}) for _ in range(2))
    )
    added = await asyncio.gather(
        *(
            tenants.call(a.owner, "POST", f"{PROJECTS}/{a.project_id}/users", adding)
            for _ in range(2)
        )
    )

    assert [answer.status_code for answer in made] == [200, 200]
    assert len({answer.json()["id"] for answer in made}) == 2
    assert sorted(answer.status_code for answer in added) == [200, 409]


async def test_a_person_is_made_with_a_password_that_is_kept_as_a_hash(tenants: Tenants) -> None:
    path = "/v1/users"
    weak = {"email": "ann@example.com", "password": "12345678"}
    good = {"email": "ann@example.com", "password": "correct horse", "name": "Ann"}

    refused = await tenants.call(tenants.platform, "POST", path, weak)
    made = await tenants.call(tenants.platform, "POST", path, good)

    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "password")
    assert made.status_code == 200
    assert "correct horse" not in made.text
    [row] = await fetch("SELECT password_hash FROM users WHERE email = 'ann@example.com'")
    assert row["password_hash"].startswith("$argon2id$")
    assert not any("correct horse" in row for row in await contents())


async def test_who_acted_and_from_where_is_written_down(tenants: Tenants) -> None:
    a = tenants.a
    async with tenants.client(a.owner) as client:
        await client.post(PROJECTS, json={"name": "x"}, headers={"user-agent": "tests"})
    await tenants.call(a.admin_key, "POST", PROJECTS, {"name": "y"})

    rows = await fetch("SELECT actor FROM audit_log WHERE type LIKE 'project%' ORDER BY sequence")
    by_person, by_key = (row["actor"] for row in rows)
    for part in (a.owner.id, a.owner.email, a.owner.session_id, "127.0.0.1", "tests"):
        assert part in by_person
    assert a.admin_key.id in by_key
