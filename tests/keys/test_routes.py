"""Keys over HTTP: who may make, see, change and end which."""

from typing import Any

import pytest

from jan import clock
from jan.keys import text
from tests.box import Box
from tests.conftest import execute, fetch
from tests.fakes import MODEL

PROJECT_KEYS = "/organization/projects/proj_a/api_keys"
ADMIN_KEYS = "/organization/admin_api_keys"
ORGANIZATION_KEYS = "/organization/api_keys"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "admin": (ADMIN_KEYS, {}),
    "organization": (ORGANIZATION_KEYS, {}),
    "project": (PROJECT_KEYS, {}),
    "ephemeral": (PROJECT_KEYS, {"kind": "ephemeral"}),
    "service": (PROJECT_KEYS, {"kind": "service", "service_account_id": "acct_of_proj_a"}),
}
"""Where each kind is made, and with what."""

MAY_NOT: list[tuple[str, str, dict[str, Any], int]] = [
    ("reader_a", PROJECT_KEYS, {}, 403),
    ("outsider_a", PROJECT_KEYS, {}, 404),
    ("owner_b", PROJECT_KEYS, {}, 404),
    ("guest", PROJECT_KEYS, {}, 403),
    ("guest", "/organization/projects/proj_of_guest/api_keys", {}, 403),
    ("owner_a", "/organization/projects/proj_missing/api_keys", {}, 404),
    ("owner_a", "/organization/projects/proj_of_member_a/api_keys", {}, 404),
    ("member_a", PROJECT_KEYS, KINDS["service"][1], 403),
    ("member_a", ADMIN_KEYS, {}, 403),
    ("lead_a", ADMIN_KEYS, {}, 403),
    ("lead_a", ORGANIZATION_KEYS, {}, 403),
    ("reader_a", ADMIN_KEYS, {}, 403),
    ("lead_a", "/keys", {"kind": "admin"}, 403),
    ("owner_a", PROJECT_KEYS, {"kind": "service", "service_account_id": "acct_of_proj_b"}, 404),
    ("owner_a", PROJECT_KEYS, {"kind": "service", "service_account_id": "x"}, 404),
    ("owner_a", "/keys", {"project_id": "proj_b"}, 404),
]
"""Who tries to make what where, and is answered how."""

CAN_NOT_BE: list[tuple[str, dict[str, Any], str]] = [
    (PROJECT_KEYS, {}, "name"),
    (PROJECT_KEYS, {"name": ""}, "name"),
    (PROJECT_KEYS, {"name": 1}, "name"),
    (PROJECT_KEYS, {"name": "x" * 201}, "name"),
    (PROJECT_KEYS, {"name": "a\0b"}, "name"),
    (PROJECT_KEYS, {"name": "x", "kind": "admin"}, "kind"),
    (PROJECT_KEYS, {"name": "x", "kind": "service"}, "service_account_id"),
    (PROJECT_KEYS, {"name": "x", "service_account_id": "acct_of_proj_a"}, "service_account_id"),
    (PROJECT_KEYS, {"name": "x", "scopes": []}, "scopes"),
    (PROJECT_KEYS, {"name": "x", "scopes": ["keys:admin"]}, "scopes"),
    (PROJECT_KEYS, {"name": "x", "scopes": "chat:write"}, "scopes"),
    (PROJECT_KEYS, {"name": "x", "allowed_models": []}, "allowed_models"),
    (PROJECT_KEYS, {"name": "x", "allowed_models": [""]}, "allowed_models"),
    (PROJECT_KEYS, {"name": "x", "allowed_models": ["a\nb"]}, "allowed_models"),
    (
        PROJECT_KEYS,
        {"name": "x", "allowed_models": [str(n) for n in range(101)]},
        "allowed_models",
    ),
    (PROJECT_KEYS, {"name": "x", "expires_at": 1}, "expires_at"),
    (PROJECT_KEYS, {"name": "x", "expires_at": -(10**30)}, "expires_at"),
    (PROJECT_KEYS, {"name": "x", "expires_at": 253_402_300_799}, "expires_at"),
    (PROJECT_KEYS, {"name": "x", "expires_at": 10**17}, "expires_at"),
    (PROJECT_KEYS, {"name": "x", "expires_in_seconds": 0}, "expires_in_seconds"),
    (PROJECT_KEYS, {"name": "x", "expires_in_seconds": -5}, "expires_in_seconds"),
    (PROJECT_KEYS, {"name": "x", "expires_in_seconds": 10**18}, "expires_in_seconds"),
    (PROJECT_KEYS, {"name": "x", "expires_in_seconds": 9, "expires_at": 9**11}, "expires_at"),
    (
        PROJECT_KEYS,
        {"name": "x", "kind": "ephemeral", "expires_in_seconds": 86_401},
        "expires_in_seconds",
    ),
    (ADMIN_KEYS, {"name": "x", "allowed_models": ["m"]}, "allowed_models"),
    (ADMIN_KEYS, {"name": "x", "scopes": ["chat:write"]}, "scopes"),
    (ORGANIZATION_KEYS, {"name": "x", "scopes": ["audit:read"]}, "scopes"),
    ("/keys", {"name": "x", "kind": "admin", "project_id": "proj_a"}, "project_id"),
    ("/keys", {"name": "x", "kind": "root"}, "kind"),
]
"""What is asked for, and which field is to blame."""


async def made(box: Box, kind: str, by: str = "owner_a", **more: Any) -> dict[str, Any]:
    """Make a key over HTTP."""
    path, body = KINDS[kind]
    answer = await box.ask(by, "POST", path, {"name": "ci", **body, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_is_made_shown_once_and_works_for_what_its_kind_is_for(
    box: Box, kind: str
) -> None:
    new = await made(box, kind)
    value = new.pop("value")

    assert text.is_well_formed(value)
    assert new["redacted_value"] == f"sk-jan-...{value[-4:]}"
    assert (new["kind"], new["status"], new["name"]) == (kind, "active", "ci")
    shown = await box.ask("owner_a", "GET", f"{KINDS[kind][0]}/{new['id']}")
    assert shown.json() == new
    assert (await box.ask("owner_a", "GET", f"/keys/{new['id']}")).json() == new
    chat = await box.ask(value, "POST", "/chat/completions", CHAT)
    administration = await box.ask(value, "GET", "/keys")
    expected = (403, 200) if kind == "admin" else (200, 403)
    assert (chat.status_code, administration.status_code) == expected
    refusal = (chat if kind == "admin" else administration).json()["error"]
    assert refusal["code"] == "permission_denied"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deleted_key_is_gone_and_stops_working(box: Box, kind: str) -> None:
    new = await made(box, kind)
    path = f"{KINDS[kind][0]}/{new['id']}"
    await box.caller(new["value"])

    async with box.changing():
        answer = await box.ask("owner_a", "DELETE", path)

    assert answer.json() == {"id": new["id"], "object": f"{new['object']}.deleted", "deleted": True}
    refused = await box.ask(new["value"], "GET", "/models")
    assert (refused.status_code, refused.json()["error"]["message"]) == (
        401,
        "The API key was revoked.",
    )
    assert (await box.ask("owner_a", "GET", path)).status_code == 404
    assert (await box.ask("owner_a", "DELETE", path)).status_code == 404
    shown = await box.ask("owner_a", "GET", f"/keys/{new['id']}")
    assert shown.json()["status"] == "revoked"
    assert (await box.ask("owner_a", "DELETE", f"/keys/{new['id']}")).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
async def test_a_rotated_key_has_another_value_and_the_old_one_stops_working(
    box: Box, kind: str
) -> None:
    old = await made(box, kind)
    await box.caller(old["value"])

    async with box.changing():
        new = (await box.ask("owner_a", "POST", f"/keys/{old['id']}/rotate")).json()

    assert new["value"] != old["value"]
    assert {**new, "value": "", "redacted_value": ""} == {**old, "value": "", "redacted_value": ""}
    assert (await box.caller(new["value"])).key_id == old["id"]
    assert (await box.ask(old["value"], "GET", "/models")).status_code == 401


async def test_a_project_key_is_rotated_on_its_projects_path_too(box: Box) -> None:
    old = await made(box, "project", "member_a")

    new = await box.ask("member_a", "POST", f"{PROJECT_KEYS}/{old['id']}/rotate")

    assert text.is_well_formed(new.json()["value"])
    foreign = await box.ask(
        "member_a", "POST", f"/organization/projects/proj_a2/api_keys/{old['id']}/rotate"
    )
    assert foreign.status_code == 404


async def test_who_owns_a_key_is_told_as_openai_does(box: Box) -> None:
    mine = await made(box, "project", "member_a")
    account = await made(box, "service", "lead_a")
    admin = await made(box, "admin")
    by_operator = await box.key("operator", project_id="proj_a")
    shown = (await box.ask("owner_a", "GET", f"/keys/{by_operator.key.id}")).json()

    user = mine["owner"]["user"]
    assert user.pop("created_at") <= clock.now().timestamp()
    assert mine["owner"]["type"] == "user"
    assert user == {
        "id": "member_a",
        "name": "member_a",
        "email": "member_a@example.com",
        "role": "member",
    }
    assert account["owner"]["type"] == "service_account"
    assert account["owner"]["service_account"]["id"] == "acct_of_proj_a"
    assert "user" not in account["owner"]
    assert {**admin["owner"], "created_at": 0} == {
        "type": "user",
        "object": "organization.user",
        "id": "owner_a",
        "name": "owner_a",
        "role": "owner",
        "created_at": 0,
    }
    assert shown["owner"] == {"type": "operator"}


async def test_who_may_not_makes_no_key(box: Box) -> None:
    answers = [
        await box.ask(by, "POST", path, {"name": "x", **body}) for by, path, body, _ in MAY_NOT
    ]

    assert [answer.status_code for answer in answers] == [status for *_, status in MAY_NOT]
    assert await fetch("SELECT 1 FROM api_key") == []
    assert await fetch("SELECT 1 FROM audit_log") == []


async def test_what_a_key_can_not_be_is_refused_and_the_field_named(box: Box) -> None:
    answers = [await box.ask("owner_a", "POST", path, body) for path, body, _ in CAN_NOT_BE]

    errors = [answer.json()["error"] for answer in answers]
    assert [error["param"] for error in errors] == [param for *_, param in CAN_NOT_BE]
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {
        (400, "invalid_request")
    }
    assert await fetch("SELECT 1 FROM api_key") == []


async def test_a_body_that_is_none_is_refused(box: Box) -> None:
    bodies = (
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b'{"name": "\\ud800"}',
        b"\xff",
        b'{"name": "\xff"}',
    )
    async with box.client("owner_a") as client:
        answers = [await client.post(PROJECT_KEYS, content=body) for body in bodies]

    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [
        (400, "invalid_json")
    ] * len(bodies)


async def test_a_body_that_is_far_too_long_is_refused(box: Box) -> None:
    answer = await box.ask("owner_a", "POST", PROJECT_KEYS, {"name": "x" * 100_000})

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_key_is_renamed_narrowed_and_widened(box: Box, method: str) -> None:
    new = await made(box, "project", "member_a")
    path = f"{PROJECT_KEYS}/{new['id']}"
    await box.caller(new["value"])

    async with box.changing():
        narrowed = await box.ask(
            "member_a",
            method,
            path,
            {"name": "cd", "scopes": ["models:read"], "allowed_models": ["x"]},
        )
    chat = await box.ask(new["value"], "POST", "/chat/completions", CHAT)
    models = await box.ask(new["value"], "GET", "/models")
    async with box.changing():
        widened = await box.ask("member_a", method, path, {"scopes": [], "allowed_models": []})

    assert (narrowed.json()["scopes"], narrowed.json()["allowed_models"]) == (
        ["models:read"],
        ["x"],
    )
    assert (chat.status_code, models.json()["data"]) == (403, [])
    assert (widened.json()["scopes"], widened.json()["allowed_models"]) == (None, None)
    assert widened.json()["name"] == "cd"
    assert (await box.ask(new["value"], "POST", "/chat/completions", CHAT)).status_code == 200


async def test_a_keys_end_is_moved_but_an_ephemeral_one_never_lives_for_more_than_a_day(
    box: Box,
) -> None:
    project, ephemeral = await made(box, "project"), await made(box, "ephemeral")

    moved = await box.ask(
        "owner_a", "POST", f"{PROJECT_KEYS}/{project['id']}", {"expires_in_seconds": 60}
    )
    await execute(
        "UPDATE api_key SET created_at = created_at - interval '23 hours',"
        " expires_at = expires_at - interval '23 hours' WHERE id = $1",
        ephemeral["id"],
    )
    later = await box.ask(
        "owner_a", "POST", f"{PROJECT_KEYS}/{ephemeral['id']}", {"expires_in_seconds": 7200}
    )

    assert 0 < moved.json()["expires_at"] - clock.now().timestamp() <= 60
    assert 0 < ephemeral["expires_at"] - clock.now().timestamp() <= 86_400
    assert (later.status_code, later.json()["error"]["param"]) == (400, "expires_in_seconds")


async def test_a_change_that_can_not_be_is_refused(box: Box) -> None:
    new = await made(box, "project")
    changes: list[tuple[dict[str, Any], str]] = [
        ({}, "name"),
        ({"name": None}, "name"),
        ({"scopes": None}, "scopes"),
        ({"allowed_models": None}, "allowed_models"),
        ({"scopes": ["nonsense"]}, "scopes"),
        ({"expires_at": 1}, "expires_at"),
    ]

    answers = [await box.ask("owner_a", "PATCH", f"/keys/{new['id']}", body) for body, _ in changes]

    assert [(answer.status_code, answer.json()["error"]["param"]) for answer in answers] == [
        (400, param) for _, param in changes
    ]


async def test_what_no_longer_works_is_not_changed(box: Box) -> None:
    revoked, expired, archived = [await made(box, "project") for _ in range(3)]
    await box.ask("owner_a", "DELETE", f"/keys/{revoked['id']}")
    await execute("UPDATE api_key SET expires_at = now() WHERE id = $1", expired["id"])

    for key in (revoked, expired):
        for path, method in (
            (f"/keys/{key['id']}", "PATCH"),
            (f"/keys/{key['id']}/rotate", "POST"),
        ):
            assert (await box.ask("owner_a", method, path, {"name": "x"})).status_code == 409
    await execute("UPDATE project SET archived_at = now() WHERE id = 'proj_a'")
    changed = await box.ask("owner_a", "PATCH", f"/keys/{archived['id']}", {"name": "x"})
    another = await box.ask("owner_a", "POST", PROJECT_KEYS, {"name": "x"})
    ended = await box.ask("owner_a", "DELETE", f"/keys/{archived['id']}")
    assert (changed.status_code, another.status_code, ended.status_code) == (409, 409, 200)


async def test_everybody_sees_the_keys_that_they_may(box: Box) -> None:
    made_by = {
        person: (await made(box, "project", person))["id"]
        for person in ("owner_a", "lead_a", "member_a")
    }
    service = (await made(box, "service", "lead_a"))["id"]
    admin = (await made(box, "admin"))["id"]
    home = (await box.key("member_a", project_id="proj_of_member_a")).key.id
    elsewhere = (await box.key("owner_a", project_id="proj_a2")).key.id
    foreign = (await box.key("owner_b", project_id="proj_b")).key.id

    async def seen(person: str, path: str = "/keys") -> set[str]:
        answer = await box.ask(person, "GET", path)
        assert answer.status_code == 200, answer.text
        return {key["id"] for key in answer.json()["data"]}

    of_project = {*made_by.values(), service}
    of_organization = of_project | {admin, elsewhere}
    assert await seen("owner_a") == await seen("reader_a") == of_organization
    assert await seen("lead_a") == of_project
    assert await seen("member_a") == {made_by["member_a"], home}
    assert await seen("outsider_a") == set()
    assert await seen("owner_b") == {foreign}
    assert await seen("owner_a", PROJECT_KEYS) == await seen("lead_a", PROJECT_KEYS) == of_project
    assert await seen("member_a", PROJECT_KEYS) == {made_by["member_a"]}
    assert await seen("owner_a", ADMIN_KEYS) == {admin}
    assert await seen("owner_a", "/keys?project_id=proj_a2") == {elsewhere}
    assert await seen("owner_a", "/keys?kind=admin&kind=service") == {admin, service}
    for person, path in (("outsider_a", PROJECT_KEYS), ("owner_b", PROJECT_KEYS)):
        assert (await box.ask(person, "GET", path)).status_code == 404
    for person, path in (("member_a", ADMIN_KEYS), ("lead_a", ORGANIZATION_KEYS)):
        assert (await box.ask(person, "GET", path)).status_code == 403


@pytest.mark.parametrize(
    ("person", "sees", "ends", "changes", "rotates"),
    [
        ("owner_a", 200, 200, 200, 403),
        ("lead_a", 200, 200, 200, 403),
        ("reader_a", 200, 403, 403, 403),
        ("outsider_a", 404, 404, 404, 404),
        ("owner_b", 404, 404, 404, 404),
        ("member_a", 200, 200, 200, 200),
    ],
)
async def test_what_others_may_do_to_a_members_key(  # noqa: PLR0913, PLR0917
    box: Box, person: str, sees: int, ends: int, changes: int, rotates: int
) -> None:
    key = await made(box, "project", "member_a")
    path = f"/keys/{key['id']}"

    statuses = [
        (await box.ask(person, method, where, body)).status_code
        for method, where, body in (
            ("GET", path, None),
            ("PATCH", path, {"name": "y"}),
            ("POST", f"{path}/rotate", None),
            ("DELETE", path, None),
        )
    ]

    assert statuses == [sees, changes, rotates, ends]
    stored = await fetch("SELECT name, revoked_at IS NOT NULL AS is_revoked FROM api_key")
    assert tuple(stored[0]) == ("y" if changes == 200 else "ci", ends == 200)


async def test_people_end_their_own_keys_whatever_they_may_no_longer_do(box: Box) -> None:
    key, admin = await made(box, "project", "member_a"), await made(box, "admin")
    await execute("DELETE FROM project_member WHERE user_id = 'member_a'")
    await execute("INSERT INTO organization_member VALUES ('org_a', 'guest', 'owner')")
    async with box.changing():
        await execute("UPDATE organization_member SET role = 'member' WHERE user_id = 'owner_a'")

    assert (await box.ask("member_a", "GET", f"/keys/{key['id']}")).json()[
        "owner_project_access"
    ] == "inactive"
    assert (
        await box.ask("member_a", "PATCH", f"/keys/{key['id']}", {"name": "x"})
    ).status_code == 403
    assert (await box.ask("member_a", "DELETE", f"/keys/{key['id']}")).status_code == 200
    assert (await box.ask("owner_a", "POST", f"/keys/{admin['id']}/rotate")).status_code == 403
    assert (await box.ask("owner_a", "DELETE", f"/keys/{admin['id']}")).status_code == 200


async def test_keys_are_listed_by_whether_their_owner_has_access(box: Box) -> None:
    gone, here = await made(box, "project", "member_a"), await made(box, "project", "lead_a")
    idle = await made(box, "service")
    await execute("DELETE FROM project_member WHERE user_id = 'member_a'")
    await execute("UPDATE service_account SET role = 'none' WHERE id = 'acct_of_proj_a'")

    async def listed(access: str) -> list[str]:
        answer = await box.ask("owner_a", "GET", f"{PROJECT_KEYS}?owner_project_access={access}")
        return [key["id"] for key in answer.json()["data"]]

    assert await listed("active") == [here["id"]]
    assert await listed("inactive") == [gone["id"], idle["id"]]
    assert await listed("any") == [gone["id"], here["id"], idle["id"]]
    refused = await box.ask("owner_a", "GET", f"{PROJECT_KEYS}?owner_project_access=maybe")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "owner_project_access")


async def test_keys_are_listed_in_pages_both_ways(box: Box) -> None:
    ids = [(await made(box, "project"))["id"] for _ in range(5)]

    async def page(query: str) -> tuple[list[str], bool]:
        body = (await box.ask("owner_a", "GET", f"{PROJECT_KEYS}?{query}")).json()
        found = [key["id"] for key in body["data"]]
        assert (body["first_id"], body["last_id"]) == (found[0], found[-1])
        return found, body["has_more"]

    assert await page("limit=2") == (ids[:2], True)
    assert await page(f"limit=2&after={ids[1]}") == (ids[2:4], True)
    assert await page(f"limit=2&last={ids[3]}") == (ids[4:], False)
    assert await page(f"limit=2&before={ids[4]}") == (ids[2:4], True)
    assert await page("order=desc&limit=1000") == (ids[::-1], False)


async def test_a_page_that_can_not_be_is_refused(box: Box) -> None:
    queries = {
        "limit=0": "limit",
        "limit=x": "limit",
        "order=up": "order",
        "after=key_missing": "after",
        "before=%00": "before",
        "after=a&before=b": "before",
    }

    answers = [await box.ask("owner_a", "GET", f"{PROJECT_KEYS}?{query}") for query in queries]

    assert [(answer.status_code, answer.json()["error"]["param"]) for answer in answers] == [
        (400, param) for param in queries.values()
    ]


async def test_a_foreign_key_is_no_cursor(box: Box) -> None:
    foreign = await box.key("owner_b", project_id="proj_b")

    answer = await box.ask("owner_a", "GET", f"/keys?after={foreign.key.id}")

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")


async def test_revoked_keys_are_listed_on_request(box: Box) -> None:
    new = await made(box, "project")
    await box.ask("owner_a", "DELETE", f"/keys/{new['id']}")

    without = await box.ask("owner_a", "GET", "/keys")
    with_them = await box.ask("owner_a", "GET", "/keys?include_revoked=true")

    assert without.json()["data"] == []
    assert [key["status"] for key in with_them.json()["data"]] == ["revoked"]


async def test_an_unknown_key_is_not_found(box: Box) -> None:
    for key_id in ("key_missing", "x" * 5000, "a%2Fb", "'; --"):
        for path in (f"/keys/{key_id}", f"{PROJECT_KEYS}/{key_id}", f"{ADMIN_KEYS}/{key_id}"):
            for method in ("GET", "DELETE"):
                answer = await box.ask("owner_a", method, path)
                assert answer.status_code == 404, (method, path, answer.text)
    assert (await box.ask("owner_a", "GET", "/keys/%00")).status_code == 400


async def test_a_key_is_only_on_the_paths_of_its_kind(box: Box) -> None:
    made_keys = {kind: (await made(box, kind))["id"] for kind in KINDS}

    for kind, key_id in made_keys.items():
        for path in {path for path, _ in KINDS.values()} - {KINDS[kind][0]}:
            assert (await box.ask("owner_a", "GET", f"{path}/{key_id}")).status_code == 404
            assert (await box.ask("owner_a", "DELETE", f"{path}/{key_id}")).status_code == 404
