"""Registered MCP servers: who may do what with them, and what of them is never told."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from jan import settings
from jan.net.policy import Policy
from jan.seal import Seal
from jan.tools import health, servers
from jan.tools.registered import Registered
from jan.tools.servers import PURPOSE, Servers
from tests.conftest import execute, fetch
from tests.fakes import FakeUpstream
from tests.gateways import DEADLINE_S, KEY_SECRET, running_gateway
from tests.tenants import Key, Person, Tenants
from tests.tools.mcp_peers import Peer, guard, serving

PATH = "/v1/mcp/servers"
WIKI = {
    "label": "wiki",
    "url": "https://wiki.example.com/mcp",
    "headers": {"X-Team": "blue"},
    "authorization": "very-secret-token",
}
MEANS = Servers(Policy(), KEY_SECRET)


@pytest.fixture
async def registered(tenants: Tenants) -> dict[str, Any]:
    """A server of A's, for all projects."""
    answer = await tenants.call(tenants.a.owner, "POST", PATH, WIKI)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_credentials_go_in_and_never_come_out(
    tenants: Tenants, registered: dict[str, Any]
) -> None:
    owner = tenants.a.owner
    one = await tenants.call(owner, "GET", f"{PATH}/{registered['id']}")
    listed = await tenants.call(owner, "GET", PATH)
    acts = await tenants.call(owner, "GET", "/v1/organization/audit_logs")
    rows = await fetch("SELECT s::text AS row, s.sealed FROM mcp_server AS s")

    assert registered["id"].startswith("mcps_")
    assert registered["header_names"] == ["authorization", "x-team"]
    assert (registered["status"], registered["require_approval"]) == ("unchecked", "always")
    assert [each["id"] for each in listed.json()["data"]] == [registered["id"]]
    for text in (one.text, listed.text, acts.text, rows[0]["row"]):
        assert "very-secret-token" not in text
        assert "blue" not in text
    assert "mcp_server.created" in acts.text
    assert b"very-secret-token" in Seal(KEY_SECRET, PURPOSE).open(rows[0]["sealed"])


async def test_it_is_changed_and_deleted(tenants: Tenants, registered: dict[str, Any]) -> None:
    owner, path = tenants.a.owner, f"{PATH}/{registered['id']}"
    changed = await tenants.call(
        owner, "PATCH", path, {"label": "docs", "allowed_tools": ["find"], "enabled": False}
    )
    posted = await tenants.call(owner, "POST", path, {"allowed_tools": None, "enabled": True})
    gone = await tenants.call(owner, "DELETE", path)
    after = await tenants.call(owner, "GET", path)

    assert (changed.json()["label"], changed.json()["enabled"]) == ("docs", False)
    assert changed.json()["allowed_tools"] == ["find"]
    assert changed.json()["header_names"] == ["authorization", "x-team"]
    assert (posted.json()["allowed_tools"], posted.json()["enabled"]) == (None, True)
    assert gone.json() == {"object": "mcp.server.deleted", "id": registered["id"], "deleted": True}
    assert after.status_code == 404


async def test_who_moves_it_elsewhere_does_not_get_its_credentials(
    tenants: Tenants, registered: dict[str, Any]
) -> None:
    owner, path = tenants.a.owner, f"{PATH}/{registered['id']}"
    same = await tenants.call(owner, "PATCH", path, {"url": "https://wiki.example.com/v2"})
    moved = await tenants.call(owner, "PATCH", path, {"url": "https://thief.example.com/mcp"})

    assert same.json()["header_names"] == ["authorization", "x-team"]
    assert moved.json()["header_names"] == []


async def test_a_row_that_was_altered_opens_nothing(
    tenants: Tenants, registered: dict[str, Any]
) -> None:
    (row,) = await fetch(servers.FIND, registered["id"])
    assert MEANS.headers(Registered.of(row))["authorization"] == "Bearer very-secret-token"
    await execute("UPDATE mcp_server SET url = 'https://thief.example.com/mcp'")
    (row,) = await fetch(servers.FIND, registered["id"])

    with pytest.raises(Exception, match="can't be read"):
        MEANS.headers(Registered.of(row))
    with pytest.raises(Exception, match="can't be read"):
        Servers(Policy(), "x" * 32).headers(Registered.of(row))


async def test_only_administrators_register(tenants: Tenants) -> None:
    a = tenants.a
    own = {"label": "own", "url": "https://wiki.example.com/"}
    in_project = own | {"project_id": a.project_id}
    said: dict[str, tuple[int, int]] = {}
    actors: dict[str, Person | Key] = {**a.people, "admin": a.admin_key, "project": a.project_key}
    for name, who in actors.items():
        wide = await tenants.call(who, "POST", PATH, own | {"label": f"w-{name}"})
        narrow = await tenants.call(who, "POST", PATH, in_project | {"label": f"n-{name}"})
        said[name] = (wide.status_code, narrow.status_code)

    assert said == {
        "owner": (200, 200),
        "admin": (200, 200),
        "reader": (403, 403),
        "member": (403, 404),
        "project_owner": (403, 200),
        "project_member": (403, 403),
        "project": (403, 403),
    }


async def test_members_see_what_their_project_can_use(
    tenants: Tenants, registered: dict[str, Any]
) -> None:
    a = tenants.a
    for label, project_id in (("mine", a.project_id), ("other", a.closed_project_id)):
        made = await tenants.call(
            a.owner, "POST", PATH, WIKI | {"label": label, "project_id": project_id}
        )
        assert made.status_code == 200
    seen = await tenants.call(a.project_member, "GET", f"{PATH}?project_id={a.project_id}")
    hidden = await tenants.call(a.project_member, "GET", f"{PATH}?project_id={a.closed_project_id}")
    one = await tenants.call(a.project_member, "GET", f"{PATH}/{made.json()['id']}")
    missing = await tenants.call(a.project_member, "GET", f"{PATH}/mcps_{'0' * 24}")
    deleted = await tenants.call(a.project_member, "DELETE", f"{PATH}/{registered['id']}")

    assert [each["label"] for each in seen.json()["data"]] == ["wiki", "mine"]
    assert hidden.status_code == 404
    assert (one.status_code, missing.status_code) == (404, 404)
    assert one.json()["error"]["code"] == missing.json()["error"]["code"]
    assert deleted.status_code == 403


async def test_a_projects_own_server_stands_before_the_organizations(
    tenants: Tenants, registered: dict[str, Any]
) -> None:
    a = tenants.a
    body = WIKI | {"project_id": a.project_id, "url": "https://own.example.com/"}
    made = await tenants.call(a.owner, "POST", PATH, body)
    await tenants.call(a.owner, "POST", PATH, WIKI | {"label": "off", "enabled": False})
    found = await servers.usable(await tenants.caller(a.project_key))
    elsewhere = await servers.usable(await tenants.caller(tenants.b.project_key))

    assert [(each.label, each.id) for each in found] == [("wiki", made.json()["id"])]
    assert registered["id"] != made.json()["id"]
    assert elsewhere == []


async def test_a_person_registers_for_their_own_project(tenants: Tenants) -> None:
    body = WIKI | {"project_id": tenants.loner.own_project_id}
    made = await tenants.call(tenants.loner, "POST", PATH, body)
    listed = await tenants.call(tenants.loner, "GET", PATH)
    stranger = await tenants.call(tenants.a.owner, "GET", f"{PATH}/{made.json()['id']}")

    assert made.status_code == 200, made.text
    assert made.json()["organization_id"] is None
    assert [each["label"] for each in listed.json()["data"]] == ["wiki"]
    assert stranger.status_code == 404


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"label": "1wiki"}, 400),
        ({"label": "a b"}, 400),
        ({"label": "x" * 65}, 400),
        ({"url": "ftp://wiki.example.com/"}, 400),
        ({"url": "https://user:secret@wiki.example.com/"}, 400),
        ({"url": "https://wiki.example.com:22/"}, 400),
        ({"url": "https://" + "x" * 3000}, 400),
        ({"url": "nonsense"}, 400),
        ({"headers": {"Host": "x"}}, 400),
        ({"headers": {"Mcp-Session-Id": "x"}}, 400),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, 400),
        ({"headers": {"X A": "1"}}, 400),
        ({"headers": {f"X-{number}": "1" for number in range(20)}}, 400),
        ({"headers": {"X-A": "1" * 9000}}, 400),
        ({"allowed_tools": [""]}, 400),
        ({"allowed_tools": ["x"] * 200}, 400),
        ({"require_approval": "perhaps"}, 400),
        ({"description": "x" * 2000}, 400),
        ({"description": "\0"}, 400),
        ({"project_id": "proj_none"}, 404),
    ],
)
async def test_what_does_not_fit_is_refused(
    tenants: Tenants, wrong: dict[str, Any], status: int
) -> None:
    answer = await tenants.call(tenants.a.owner, "POST", PATH, WIKI | wrong)

    assert answer.status_code == status, answer.text
    assert "secret" not in answer.text
    assert await fetch("SELECT 1 FROM mcp_server") == []


async def test_a_label_is_taken_once(tenants: Tenants, registered: dict[str, Any]) -> None:
    again = await tenants.call(tenants.a.owner, "POST", PATH, WIKI)
    other = await tenants.call(tenants.a.owner, "POST", PATH, WIKI | {"label": "docs"})
    renamed = await tenants.call(
        tenants.a.owner, "PATCH", f"{PATH}/{other.json()['id']}", {"label": registered["label"]}
    )
    elsewhere = await tenants.call(tenants.b.owner, "POST", PATH, WIKI)

    assert (again.status_code, renamed.status_code, elsewhere.status_code) == (409, 409, 200)


@pytest.fixture
async def peer_url() -> AsyncIterator[str]:
    """A real server on this machine."""
    async with serving(Peer()) as url:
        yield url


async def test_it_is_tested_and_its_tools_are_kept(
    tenants: Tenants, upstream: FakeUpstream, peer_url: str
) -> None:
    place = peer_url.split("/")[2]
    async with running_gateway(
        upstream.url, credentials=tenants.credentials, said={"outbound_allow": place}
    ) as gateway:
        headers = {"authorization": f"Bearer {tenants.a.owner.token}"}
        async with httpx.AsyncClient(
            base_url=gateway.url, headers=headers, timeout=4 * DEADLINE_S
        ) as client:
            made = (await client.post(PATH, json=WIKI | {"url": peer_url})).json()
            tested = (await client.post(f"{PATH}/{made['id']}/test")).json()
            listed = (await client.get(PATH)).json()["data"][0]
            moved = (
                await client.patch(f"{PATH}/{made['id']}", json={"url": peer_url + "x"})
            ).json()
            failed = (await client.post(f"{PATH}/{made['id']}/test")).json()

    assert (tested["status"], tested["last_error"]) == ("ok", None)
    assert tested["tool_names"] == ["add", "fail", "slow", "picture"]
    assert tested["tools"][0]["input_schema"]["properties"]["a"] == {"type": "integer"}
    assert "tools" not in listed
    assert (moved["status"], moved["tool_names"]) == ("unchecked", [])
    assert failed["status"] == "failing"
    assert "`wiki`" in failed["last_error"]


async def test_what_is_not_on_the_internet_is_not_reached(tenants: Tenants, peer_url: str) -> None:
    refused = await tenants.call(tenants.a.owner, "POST", PATH, WIKI | {"url": peer_url})
    made = await tenants.call(tenants.a.owner, "POST", PATH, WIKI | {"url": "http://127.0.0.1/mcp"})
    tested = await tenants.call(tenants.a.owner, "POST", f"{PATH}/{made.json()['id']}/test")

    assert refused.json()["error"]["code"] == "url_refused"
    assert tested.json()["status"] == "failing"
    assert "127.0.0.1" not in tested.json()["last_error"]


async def test_a_change_in_between_keeps_no_old_findings(
    tenants: Tenants, registered: dict[str, Any], peer_url: str
) -> None:
    (row,) = await fetch(servers.FIND, registered["id"])
    stale = Registered.of(row)
    await tenants.call(tenants.a.owner, "PATCH", f"{PATH}/{registered['id']}", {"label": "changed"})
    async with guard(peer_url) as way:
        await health.check(stale, guard=way, means=MEANS)
    (row,) = await fetch(servers.FIND, registered["id"])

    assert row["last_checked_at"] is None


async def test_the_job_checks_what_is_due(tenants: Tenants, registered: dict[str, Any]) -> None:
    await execute("UPDATE mcp_server SET url = 'http://127.0.0.1/mcp'")
    job = health.job(settings.load({}, environ={}).settings, MEANS)
    await job.handler(None)
    (first,) = await fetch(servers.FIND, registered["id"])
    await execute("UPDATE mcp_server SET last_error = 'kept'")
    await job.handler(None)
    (second,) = await fetch(servers.FIND, registered["id"])

    assert "can't be read" in first["last_error"]
    assert second["last_error"] == "kept"
