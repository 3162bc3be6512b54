"""The log over HTTP: OpenAI's objects, filters that fit what is shown, and nothing secret in it."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from jan.audit.chain import Check, Link
from jan.keys import text
from tests.box import Box
from tests.conftest import execute, fetch
from tests.gateways import KEY_SECRET

LOGS = "/organization/audit_logs"
KEYS = "/organization/projects/proj_a/api_keys"


async def listed(box: Box, query: str = "", by: str = "owner_a") -> list[dict[str, Any]]:
    """List acts."""
    answer = await box.ask(by, "GET", f"{LOGS}?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_an_act_is_shown_as_openai_shows_it_to_whoever_may_see_it(box: Box) -> None:
    new = await box.ask(
        "member_a", "POST", KEYS, {"name": "ci", "scopes": ["models:read"]}, **{"user-agent": "x/1"}
    )
    (shown,) = await listed(box, by="reader_a")

    (row,) = await fetch("SELECT id, effective_at, hash FROM audit_log")
    assert shown == {
        "id": row["id"],
        "type": "api_key.created",
        "effective_at": int(row["effective_at"].timestamp()),
        "actor": {
            "type": "session",
            "session": {
                "id": "sess_member_a",
                "user": {"id": "member_a", "email": "member_a@example.com"},
                "ip_address": "127.0.0.1",
                "user_agent": "x/1",
            },
        },
        "api_key.created": {
            "id": new.json()["id"],
            "data": {
                "name": "ci",
                "kind": "project",
                "scopes": ["models:read"],
                "allowed_models": None,
                "expires_at": None,
            },
        },
        "project": {"id": "proj_a", "name": "proj_a"},
        "sequence": 1,
        "hash": row["hash"],
    }
    for person, status in (("member_a", 403), ("lead_a", 403), ("guest", 403)):
        assert (await box.ask(person, "GET", LOGS)).status_code == status
    assert await listed(box, by="owner_b") == []


async def test_a_change_is_shown_with_what_was_before(box: Box) -> None:
    new = (await box.ask("member_a", "POST", KEYS, {"name": "ci"})).json()
    await box.ask("member_a", "PATCH", f"/keys/{new['id']}", {"name": "cd"})
    await box.ask("member_a", "POST", f"/keys/{new['id']}/rotate")
    await box.ask("member_a", "DELETE", f"/keys/{new['id']}")
    await box.ask("member_a", "DELETE", f"/keys/{new['id']}")

    deleted, rotated, renamed, _ = await listed(box)

    assert renamed["api_key.updated"] == {
        "id": new["id"],
        "changes_requested": {"name": "cd"},
        "before": {"name": "ci"},
    }
    assert rotated["api_key.updated"]["changes_requested"] == {"secret": "rotated"}
    assert deleted["api_key.deleted"]["before"] == {"name": "cd", "kind": "project"}


async def test_who_acted_is_told_for_everybody(box: Box) -> None:
    admin, orphan = await box.key(kind="admin"), await box.key("operator", kind="admin")
    for key in (admin, orphan):
        await box.ask(key.secret, "POST", KEYS, {"name": "x"})

    by_orphan, by_admin, by_operator, _ = [act["actor"] for act in await listed(box)]

    assert by_operator["type"] == "operator"
    assert by_admin["type"] == by_orphan["type"] == "api_key"
    assert by_admin["api_key"]["id"] == admin.key.id
    assert by_admin["api_key"]["type"] == "user"
    assert by_admin["api_key"]["user"] == {"id": "owner_a", "email": "owner_a@example.com"}
    assert by_admin["api_key"]["ip_address"] == "127.0.0.1"
    assert (by_orphan["api_key"]["id"], by_orphan["api_key"]["type"]) == (orphan.key.id, "operator")


async def test_acts_in_ones_own_project_are_not_the_organizations_business(box: Box) -> None:
    await box.ask("owner_a", "POST", "/keys", {"name": "x"})

    assert await listed(box) == []
    rows = await fetch("SELECT chain, project_id FROM audit_log")
    assert [tuple(row) for row in rows] == [("jan", "proj_of_owner_a")]
    for path in (LOGS, f"{LOGS}/export"):
        answer = await box.ask("owner_a", "GET", f"{path}?chain=jan")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_who_administers_all_of_jan_sees_every_log(box: Box) -> None:
    await execute(
        "INSERT INTO organization_member SELECT id, 'owner_b', 'owner' FROM organization"
        " WHERE is_default"
    )
    await box.ask("owner_a", "POST", "/keys", {"name": "x"})
    await box.key("owner_a", kind="admin")

    assert await listed(box, by="owner_b") == []
    (outside,) = await listed(box, "chain=jan", by="owner_b")
    (of_a,) = await listed(box, "chain=org_a", by="owner_b")
    exported = await box.ask("owner_b", "GET", f"{LOGS}/export?chain=org_a")

    assert outside["project"] == {"id": "proj_of_owner_a", "name": "Personal"}
    assert of_a["actor"]["session"]["user"]["id"] == "owner_a"
    assert json.loads(exported.text)["id"] == of_a["id"]
    assert await listed(box, "chain=org_missing", by="owner_b") == []


async def test_acts_are_filtered_by_the_second_that_is_shown(box: Box, intruder: Any) -> None:
    await box.key(kind="admin")
    await intruder.execute(
        "UPDATE audit_log SET effective_at = $1", datetime.fromtimestamp(1000.5, UTC)
    )

    async def is_there(side: str, second: int) -> bool:
        return bool(await listed(box, f"effective_at[{side}]={second}"))

    assert [await is_there("gt", second) for second in (999, 1000, 1001)] == [True, False, False]
    assert [await is_there("gte", second) for second in (999, 1000, 1001)] == [True, True, False]
    assert [await is_there("lt", second) for second in (999, 1000, 1001)] == [False, False, True]
    assert [await is_there("lte", second) for second in (999, 1000, 1001)] == [False, True, True]
    assert await listed(box, "effective_at[gte]=1000&effective_at[gt]=0&effective_at[lt]=1001")
    assert await listed(box, f"effective_at[lt]={10**17}")


async def test_acts_are_filtered_by_lists_with_brackets_or_without(box: Box) -> None:
    first, second = await box.key(kind="admin"), await box.key("member_a", project_id="proj_a")

    for query, expected in {
        f"resource_ids[]={first.key.id}&resource_ids[]={second.key.id}": 2,
        f"resource_ids={first.key.id}&resource_ids[]=x": 1,
        "actor_emails[]=member_a@example.com": 1,
        "actor_ids[]=owner_a": 1,
        "event_types[]=api_key.created": 2,
        "event_types[]=api_key.deleted": 0,
        "project_ids[]=proj_a": 1,
        "project_ids[]=proj_a&actor_ids[]=owner_a": 0,
    }.items():
        assert len(await listed(box, query)) == expected, query


async def test_what_no_filter_can_be_is_refused(box: Box) -> None:
    for query, param in {
        "effective_at[gt]=x": "effective_at[gt]",
        "effective_at[lte]=-1": "effective_at[lte]",
        "effective_at[gte]=1e5": "effective_at[gte]",
        "actor_ids[]=%00": "actor_ids",
        "event_types[]=" + "x" * 300: "event_types",
        "&".join(["resource_ids[]=x"] * 101): "resource_ids",
        "limit=0": "limit",
        "after=audit_missing": "after",
    }.items():
        answer = await box.ask("owner_a", "GET", f"{LOGS}?{query}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), query


async def test_acts_are_listed_in_pages_the_latest_first(box: Box) -> None:
    for _ in range(5):
        await box.key(kind="admin")
    ids = [act["id"] for act in await listed(box)]

    async def page(query: str) -> list[str]:
        return [act["id"] for act in await listed(box, query)]

    assert [act["sequence"] for act in await listed(box)] == [5, 4, 3, 2, 1]
    assert await page(f"limit=2&after={ids[1]}") == ids[2:4]
    assert await page(f"limit=2&before={ids[4]}") == ids[2:4]
    assert await page("order=asc&limit=1") == ids[4:]


async def test_the_rows_can_be_fetched_and_judged_elsewhere(box: Box) -> None:
    for _ in range(5):
        await box.key(kind="admin")

    check, after = Check("org_a"), 0
    while True:
        answer = await box.ask("reader_a", "GET", f"{LOGS}/export?after={after}&limit=2")
        assert answer.headers["content-type"] == "application/jsonl"
        lines = answer.text.splitlines()
        if not lines:
            break
        for line in lines:
            link = msgspec.json.decode(line, type=Link)
            check.add(link)
            after = link.sequence

    assert (check.verdict().broken, check.verdict().count) == (None, 5)
    assert (await box.ask("member_a", "GET", f"{LOGS}/export")).status_code == 403
    assert (await box.ask("owner_b", "GET", f"{LOGS}/export")).text == ""
    refused = await box.ask("owner_a", "GET", f"{LOGS}/export?after=-1")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "after")


async def test_nothing_secret_is_in_the_log(box: Box) -> None:
    secrets = [box.token(person) for person in ("owner_a", "member_a")]
    for path, body in (
        ("/organization/admin_api_keys", {}),
        ("/organization/api_keys", {}),
        (KEYS, {}),
        (KEYS, {"kind": "ephemeral"}),
        (KEYS, {"kind": "service", "service_account_id": "acct_of_proj_a"}),
    ):
        new = (await box.ask("owner_a", "POST", path, {"name": "x", **body})).json()
        await box.ask("owner_a", "PATCH", f"/keys/{new['id']}", {"name": "y"})
        rotated = (await box.ask("owner_a", "POST", f"/keys/{new['id']}/rotate")).json()
        await box.ask("owner_a", "DELETE", f"/keys/{new['id']}")
        secrets += [new["value"], rotated["value"]]

    log = "\n".join(
        row["line"] for row in await fetch("SELECT audit_log::text AS line FROM audit_log")
    )
    assert log.count("api_key.created") == 5
    for secret in secrets:
        assert secret not in log
        assert secret[len(text.PREFIX) : -6] not in log
        assert text.digest(secret, KEY_SECRET) not in log
    assert KEY_SECRET not in log


async def test_acts_over_http_at_once_make_one_chain(box: Box) -> None:
    people = ("owner_a", "lead_a", "member_a")

    async def act(number: int) -> int:
        answer = await box.ask(people[number % 3], "POST", KEYS, {"name": str(number)})
        return answer.status_code

    assert await asyncio.gather(*(act(number) for number in range(50))) == [200] * 50

    links = [
        json.loads(line)
        for line in (await box.ask("owner_a", "GET", f"{LOGS}/export")).text.splitlines()
    ]
    assert [link["sequence"] for link in links] == list(range(1, 51))
