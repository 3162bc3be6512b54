"""How long an organization keeps what was said: who says so, and what can be said."""

import json
from typing import Any

import pytest

from tests.conftest import fetch
from tests.tenants import Tenants


async def days(organization_id: str) -> int | None:
    """For how long it keeps things, as the job sees it."""
    query = "SELECT retention_days FROM organization WHERE id = $1"
    return (await fetch(query, organization_id))[0]["retention_days"]


@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_an_owner_says_for_how_long_and_takes_it_back(tenants: Tenants, method: str) -> None:
    a = tenants.a
    path = f"/v1/organizations/{a.id}"
    assert (await tenants.call(a.owner, "GET", path)).json()["retention_days"] is None

    said = await tenants.call(a.owner, method, path, {"retention_days": 30})
    read = await tenants.call(a.reader, "GET", path)
    kept = await days(a.id)
    back = await tenants.call(a.owner, method, path, {"retention_days": None})

    assert said.json() == read.json() | {"role": "owner"}
    assert (said.json()["retention_days"], kept) == (30, 30)
    assert said.json()["name"] == a.name
    assert back.json()["retention_days"] is await days(a.id) is None
    assert await days(tenants.b.id) is None


async def test_a_new_name_leaves_it_as_it_is(tenants: Tenants) -> None:
    a = tenants.a
    path = f"/v1/organizations/{a.id}"
    await tenants.call(a.owner, "PATCH", path, {"retention_days": 7})

    await tenants.call(a.owner, "PATCH", path, {"name": "New"})

    [listed] = (await tenants.call(a.owner, "GET", "/v1/organizations")).json()["data"]
    assert (listed["name"], listed["retention_days"]) == ("New", 7)
    by_key = (await tenants.call(a.admin_key, "GET", "/v1/organizations")).json()["data"]
    assert [each["retention_days"] for each in by_key] == [7]


@pytest.mark.parametrize("number", [1, 36_500])
async def test_a_day_and_a_century_are_the_bounds(tenants: Tenants, number: int) -> None:
    path = f"/v1/organizations/{tenants.a.id}"

    answer = await tenants.call(tenants.a.owner, "PATCH", path, {"retention_days": number})

    assert answer.status_code == 200
    assert await days(tenants.a.id) == number


@pytest.mark.parametrize(
    "value",
    [0, -1, 36_501, 2**31, 10**30, -(10**30), 1.5, "30", "null", "", True, [], {}, float("inf")],
)
async def test_what_is_no_number_of_days_is_refused_in_words(tenants: Tenants, value: Any) -> None:
    a = tenants.a
    path = f"/v1/organizations/{a.id}"
    body = json.dumps({"retention_days": value}).encode()

    answer = await tenants.call(
        a.owner, "PATCH", path, content=body, headers={"content-type": "application/json"}
    )

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert "retention_days" in error["message"] or value == float("inf")
    assert await days(a.id) is None


async def test_a_change_that_changes_nothing_is_refused(tenants: Tenants) -> None:
    answer = await tenants.call(
        tenants.a.owner, "PATCH", f"/v1/organizations/{tenants.a.id}", {"retention": 3}
    )

    assert answer.status_code == 400
    assert "retention_days" in answer.json()["error"]["message"]


async def test_only_owners_and_who_administers_this_jan_say_it(tenants: Tenants) -> None:
    a, b = tenants.a, tenants.b
    path, body = f"/v1/organizations/{a.id}", {"retention_days": 1}

    for who, status in (
        (a.reader, 403),
        (a.member, 403),
        (a.project_owner, 403),
        (b.owner, 404),
        (b.admin_key, 404),
        (tenants.loner, 404),
        (a.project_key, 403),
        (tenants.guest, 403),
    ):
        answer = await tenants.call(who, "PATCH", path, body)
        assert answer.status_code == status, (who, answer.text)
    assert await days(a.id) is None

    for who in (a.admin_key, tenants.platform, tenants.platform_key):
        assert (await tenants.call(who, "PATCH", path, body)).status_code == 200


async def test_it_is_in_the_audit_log_with_what_was_before(tenants: Tenants) -> None:
    a = tenants.a
    path = f"/v1/organizations/{a.id}"
    for value in (30, 7):
        await tenants.call(a.owner, "PATCH", path, {"retention_days": value})

    log = await tenants.call(
        a.owner,
        "GET",
        "/v1/organization/audit_logs",
        params={"event_types[]": "organization.updated"},
    )

    latest = log.json()["data"][0]
    assert latest["actor"]["session"]["user"]["id"] == a.owner.id
    assert latest["organization.updated"] == {
        "id": a.id,
        "changes_requested": {"retention_days": 7},
        "before": {"retention_days": 30},
    }
