"""What keys can do: no more than who made them, no more than their owner, no more than they say."""

from datetime import timedelta
from typing import Any

import pytest

from jan import clock
from jan.permissions import Scope
from tests.box import Box
from tests.conftest import execute, fetch
from tests.fakes import MODEL

ADMIN_KEYS = "/organization/admin_api_keys"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


async def narrow(box: Box, *scopes: str) -> str:
    """Make an admin key that has these scopes."""
    return (await box.key(kind="admin", scopes=frozenset(scopes))).secret


async def test_a_narrowed_admin_key_makes_none_that_is_wider(box: Box) -> None:
    key = await narrow(box, "keys:admin", "keys:read", "keys:write")

    same = await box.ask(key, "POST", ADMIN_KEYS, {"name": "x"})
    part = await box.ask(key, "POST", ADMIN_KEYS, {"name": "x", "scopes": ["keys:read"]})
    more = await box.ask(key, "POST", ADMIN_KEYS, {"name": "x", "scopes": ["audit:read"]})

    assert same.json()["scopes"] == ["administration:use", "keys:admin", "keys:read", "keys:write"]
    assert part.json()["scopes"] == ["keys:read"]
    assert (more.status_code, more.json()["error"]["code"]) == (403, "permission_denied")
    assert (
        await box.ask(same.json()["value"], "GET", "/organization/audit_logs")
    ).status_code == 403


async def test_a_narrowed_admin_key_neither_widens_itself_nor_takes_over_a_wider_one(
    box: Box,
) -> None:
    key = await narrow(box, "keys:admin", "keys:read")
    own_id = (await box.caller(key)).key_id
    wide = (await box.key(kind="admin")).key.id
    by_operator = (await box.key("operator", kind="admin")).key.id

    widened = await box.ask(key, "PATCH", f"/keys/{own_id}", {"scopes": ["audit:read"]})
    unbound = await box.ask(key, "PATCH", f"/keys/{own_id}", {"scopes": []})
    taken = [await box.ask(key, "POST", f"/keys/{k}/rotate") for k in (wide, by_operator)]

    assert widened.status_code == 403
    assert unbound.json()["scopes"] == ["administration:use", "keys:admin", "keys:read"]
    assert [answer.status_code for answer in taken] == [403, 403]
    assert (await box.ask(key, "POST", f"/keys/{own_id}/rotate")).status_code == 200


@pytest.mark.parametrize(
    ("scope", "path"),
    [("audit:read", "/organization/audit_logs"), ("keys:read", ADMIN_KEYS), ("keys:read", "/keys")],
)
async def test_a_narrowed_admin_key_does_what_it_says_and_no_more(
    box: Box, scope: str, path: str
) -> None:
    right, wrong = await narrow(box, scope), await narrow(box, "usage:read")

    assert (await box.ask(right, "GET", path)).status_code == 200
    refused = await box.ask(wrong, "GET", path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
    made = await box.ask(right, "POST", "/keys", {"name": "x"})
    assert made.status_code in {403, 404}


async def test_an_admin_key_does_not_reach_into_its_owners_own_project(box: Box) -> None:
    home = await box.key(project_id="proj_of_owner_a")
    admin = (await box.key(kind="admin")).secret

    listed = (await box.ask(admin, "GET", "/keys")).json()["data"]

    assert home.key.id not in {key["id"] for key in listed}
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
        assert (await box.ask(admin, method, f"/keys/{home.key.id}{path}")).status_code == 404
    made = await box.ask(admin, "POST", "/keys", {"name": "x", "project_id": "proj_of_owner_a"})
    assert made.status_code in {403, 404}


async def test_an_admin_key_does_less_when_its_owner_may_do_less(box: Box) -> None:
    await execute("INSERT INTO organization_member VALUES ('org_a', 'guest', 'owner')")
    admin, member = (
        (await box.key(kind="admin")).secret,
        await box.key("member_a", project_id="proj_a"),
    )
    assert (await box.ask(admin, "GET", ADMIN_KEYS)).status_code == 200

    async with box.changing():
        await execute("UPDATE organization_member SET role = 'reader' WHERE user_id = 'owner_a'")

    assert (await box.ask(admin, "GET", ADMIN_KEYS)).status_code == 200
    for method, path in (("DELETE", ""), ("PATCH", ""), ("POST", "/rotate")):
        refused = await box.ask(admin, method, f"/keys/{member.key.id}{path}", {"name": "x"})
        assert refused.status_code == 403
    assert (await box.ask(admin, "POST", ADMIN_KEYS, {"name": "x"})).status_code == 403


async def test_an_admin_key_of_one_organization_knows_nothing_of_another(box: Box) -> None:
    admin = (await box.key(kind="admin")).secret
    foreign = await box.key("owner_b", project_id="proj_b")
    foreign_admin = await box.key("owner_b", kind="admin")

    for key in (foreign.key.id, foreign_admin.key.id, "key_missing"):
        for method, path in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/rotate")):
            answer = await box.ask(admin, method, f"/keys/{key}{path}", {"name": "x"})
            assert answer.status_code == 404
            assert answer.json()["error"]["message"] == f"There is no key `{key}`."
    named = await box.ask(admin, "GET", "/keys", **{"openai-organization": "org_b"})
    assert named.status_code == 404
    rows = await fetch("SELECT 1 FROM api_key WHERE revoked_at IS NOT NULL OR name <> 'test'")
    assert rows == []


async def test_the_platform_is_not_administered_with_a_key_of_another_organization(
    box: Box,
) -> None:
    new = await box.key(kind="admin", scopes=frozenset({"platform:admin", "keys:read"}))
    default = await fetch("SELECT id FROM organization WHERE is_default")

    assert Scope.PLATFORM_ADMIN not in (await box.caller(new.secret)).scopes
    assert default[0]["id"] != "org_a"


async def test_the_allowed_models_hold_for_chats_and_lists(box: Box) -> None:
    none = (await box.key(project_id="proj_a", allowed_models=frozenset({"other"}))).secret
    this = (await box.key(project_id="proj_a", allowed_models=frozenset({MODEL, "other"}))).secret

    assert (await box.ask(this, "POST", "/chat/completions", CHAT)).status_code == 200
    assert [m["id"] for m in (await box.ask(this, "GET", "/models")).json()["data"]] == [MODEL]
    refused = await box.ask(none, "POST", "/chat/completions", CHAT)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert (await box.ask(none, "GET", "/models")).json()["data"] == []
    assert (await box.ask(none, "GET", f"/models/{MODEL}")).status_code == 404


@pytest.mark.parametrize("kind", ["project", "organization", "service", "ephemeral"])
async def test_the_scopes_of_a_key_hold_on_the_data_plane(box: Box, kind: Any) -> None:
    where: dict[str, Any] = {} if kind == "organization" else {"project_id": "proj_a"}
    if kind == "service":
        where["service_account_id"] = "acct_of_proj_a"
    key = (await box.key(kind=kind, scopes=frozenset({"models:read"}), **where)).secret

    assert (await box.ask(key, "GET", "/models")).status_code == 200
    for path in ("/chat/completions", "/completions", "/embeddings", "/messages"):
        assert (await box.ask(key, "POST", path, CHAT)).status_code == 403


async def test_an_organization_key_acts_in_the_project_that_is_named(box: Box) -> None:
    key = (await box.key(kind="organization")).secret

    async def project_of(**headers: str) -> tuple[int, str | None]:
        answer = await box.ask(key, "POST", "/chat/completions", CHAT, **headers)
        caller = box.gateway.rows[-1].caller if answer.status_code == 200 else None
        return answer.status_code, caller and caller.project_id

    assert await project_of() == (200, "proj_a")
    assert await project_of(**{"openai-project": "proj_a2"}) == (200, "proj_a2")
    for missing in ("proj_b", "proj_missing", "proj_of_owner_a"):
        assert await project_of(**{"openai-project": missing}) == (404, None)
    async with box.changing():
        await execute("UPDATE project SET archived_at = now() WHERE id = 'proj_a2'")
    assert await project_of(**{"openai-project": "proj_a2"}) == (404, None)


REFUSALS = {
    "was revoked": "UPDATE api_key SET revoked_at = now()",
    "has expired": "UPDATE api_key SET expires_at = created_at + interval '1 microsecond'",
    "account is disabled": "UPDATE users SET is_enabled = false",
    "project is archived": "UPDATE project SET archived_at = now()",
    "no longer in its project": "DELETE FROM project_member",
    "is incorrect": "DELETE FROM api_key",
}


@pytest.mark.parametrize(("sentence", "change"), REFUSALS.items(), ids=list(REFUSALS))
async def test_a_key_that_no_longer_works_is_refused_with_the_reason(
    box: Box, sentence: str, change: str
) -> None:
    key = (await box.key("member_a", project_id="proj_a")).secret
    assert (await box.ask(key, "GET", "/models")).status_code == 200

    async with box.changing():
        await execute(change)

    for path in ("/models", "/keys"):
        refused = await box.ask(key, "GET", path)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (401, "invalid_api_key")
        assert sentence in error["message"]


async def test_who_owns_an_organization_no_more_has_no_key_to_all_of_it(box: Box) -> None:
    await execute("INSERT INTO organization_member VALUES ('org_a', 'guest', 'owner')")
    key = (await box.key(kind="organization")).secret
    assert (await box.ask(key, "GET", "/models")).status_code == 200

    async with box.changing():
        await execute("UPDATE organization_member SET role = 'member' WHERE user_id = 'owner_a'")

    refused = await box.ask(key, "GET", "/models")
    assert (refused.status_code, refused.json()["error"]["message"]) == (
        401,
        "The API key's owner no longer owns its organization.",
    )


async def test_who_leaves_the_organization_leaves_no_key_behind(box: Box) -> None:
    key = (await box.key("member_a", project_id="proj_a")).secret
    home = (await box.key("member_a", project_id="proj_of_member_a")).secret
    await box.caller(key)

    async with box.changing():
        await execute("DELETE FROM organization_member WHERE user_id = 'member_a'")

    assert (await box.ask(key, "GET", "/models")).status_code == 401
    assert (await box.ask(home, "GET", "/models")).status_code == 200


async def test_a_service_account_without_a_role_can_do_nothing(box: Box) -> None:
    key = (
        await box.key(kind="service", project_id="proj_a", service_account_id="acct_of_proj_a")
    ).secret
    assert (await box.ask(key, "GET", "/models")).status_code == 200

    async with box.changing():
        await execute("UPDATE service_account SET role = 'none'")

    assert (await box.ask(key, "GET", "/models")).status_code == 403


async def test_a_key_ends_at_its_time(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    key = (await box.key(kind="ephemeral", project_id="proj_a")).secret
    assert (await box.ask(key, "GET", "/models")).status_code == 200
    later = clock.now() + timedelta(hours=24)

    monkeypatch.setattr(clock, "now", lambda: later)

    refused = await box.ask(key, "GET", "/models")
    assert (refused.status_code, refused.json()["error"]["message"]) == (
        401,
        "The API key has expired.",
    )


async def test_a_known_key_costs_the_database_nothing(box: Box) -> None:
    """Whatever a connection of the pool is asked changes what the server says of it."""
    keys = [
        (await box.key(kind="organization", allowed_models=frozenset({MODEL}))).secret,
        (await box.key("member_a", project_id="proj_a")).secret,
    ]
    for key in keys:
        await box.ask(key, "POST", "/chat/completions", CHAT)

    async def connections() -> set[tuple[Any, ...]]:
        async with box.watching() as watcher:
            rows = await watcher.fetch(
                "SELECT pid, backend_start, query_start, state_change FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'test'"
            )
        return {tuple(row) for row in rows}

    before = await connections()
    for key in keys * 20:
        assert (await box.ask(key, "POST", "/chat/completions", CHAT)).status_code == 200
        assert (await box.ask(key, "GET", "/models")).status_code == 200
        assert (await box.ask(key, "GET", "/keys")).status_code == 403
    assert await connections() == before
    await box.ask("member_a", "GET", "/keys")
    assert await connections() != before
