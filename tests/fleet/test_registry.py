"""Providers, endpoints, models and aliases: what operators may say, and who is refused."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from jan.db.engine import Database
from jan.fleet.credentials import ProviderKeys
from tests.conftest import execute, fetch
from tests.fakes import MODEL, FakeUpstream
from tests.fleets import process
from tests.gateways import CALLER, KEY_SECRET
from tests.tenants import Key, Person, Tenants

PROVIDERS = "/v1/admin/providers"
MODELS = "/v1/admin/models"
ALIASES = "/v1/admin/aliases"
SECRET = "sk-very-secret-of-a-provider"
KEYS = ProviderKeys(KEY_SECRET)


@pytest.fixture
async def admin(tenants: Tenants) -> AsyncIterator[httpx.AsyncClient]:
    """Whoever administers this Jan."""
    async with tenants.client(tenants.platform_key) as client:
        yield client


async def added(admin: httpx.AsyncClient, url: str, name: str = "far", **more: Any) -> Any:
    """Name a provider."""
    body = {"name": name, "url": url, "api_key": SECRET, **more}
    answer = await admin.post(PROVIDERS, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def sealed_for(provider_id: str, url: str) -> str:
    """Open a key as the connection to a URL would."""
    (row,) = await fetch("SELECT sealed FROM provider WHERE id = $1", provider_id)
    return KEYS.read_for(provider_id, row["sealed"], url)


async def serves(provider_id: str, *names: str) -> None:
    """Have a provider's endpoints list models, as the leader writes it."""
    served = json.dumps([{"id": name} for name in names])
    await execute("UPDATE endpoint SET served = $2 WHERE provider_id = $1", provider_id, served)


async def test_a_provider_from_its_naming_to_its_end(admin: httpx.AsyncClient) -> None:
    made = await added(admin, "https://far.example.com/v1/", prefix="far/", models=["a", "a", "b"])
    one = f"{PROVIDERS}/{made['id']}"

    listed = (await admin.get(PROVIDERS)).json()["data"]
    renamed = await admin.patch(one, json={"name": "further", "enabled": False})
    more = await admin.post(f"{one}/endpoints", json={"url": "http://near:8000/", "weight": 3})
    near = f"{one}/endpoints/{more.json()['id']}"
    seals = [await sealed_for(made["id"], "http://near:8000")]
    changed = await admin.post(near, json={"max_running": 2, "enabled": False})
    endpoints = (await admin.get(one)).json()["endpoints"]
    gone = await admin.delete(near)
    seals += [await sealed_for(made["id"], "https://far.example.com")]
    deleted = await admin.delete(one)

    assert listed == [made]
    assert (made["name"], made["kind"], made["has_api_key"]) == ("far", "openai", True)
    assert (made["models"], made["prefix"]) == (["a", "b"], "far/")
    assert [endpoint["url"] for endpoint in made["endpoints"]] == ["https://far.example.com"]
    assert (renamed.json()["name"], renamed.json()["enabled"]) == ("further", False)
    assert (changed.json()["max_running"], changed.json()["weight"]) == (2, 3)
    assert changed.json()["enabled"] is False
    assert seals == [SECRET] * 2
    assert len(endpoints) == 2
    assert gone.json()["object"] == "provider.endpoint.deleted"
    assert deleted.json() == {"object": "provider.deleted", "id": made["id"], "deleted": True}
    assert (await admin.get(one)).status_code == 404
    acts = await fetch("SELECT type FROM audit_log WHERE type LIKE 'provider%' ORDER BY sequence")
    assert [row["type"] for row in acts] == [
        *("provider.created", "provider.updated", "provider.endpoint.created"),
        *("provider.endpoint.updated", "provider.endpoint.deleted", "provider.deleted"),
    ]


async def test_no_answer_no_row_and_no_log_tells_a_key(
    admin: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    made = await added(admin, "http://127.0.0.1:1")
    one = f"{PROVIDERS}/{made['id']}"
    answers = [
        await admin.get(PROVIDERS),
        await admin.get(one),
        await admin.patch(one, json={"api_key": SECRET + "-2"}),
        await admin.post(f"{one}/check"),
        await admin.post(PROVIDERS, json={"name": "x", "url": "http://x", "api_key": "a b"}),
        await admin.post(PROVIDERS, json={"name": "x", "url": f"http://u:{SECRET}@x"}),
        await admin.patch(one, json={"api_key": {SECRET: 1}}),
        await admin.delete(one),
    ]
    rows = await fetch("SELECT a::text AS row FROM audit_log AS a")
    said = caplog.text + "".join(capsys.readouterr())

    statuses = [answer.status_code for answer in answers]
    assert statuses == [200, 200, 200, 200, 400, 400, 400, 200]
    assert SECRET not in "".join(answer.text for answer in answers)
    assert SECRET not in "".join(row["row"] for row in rows)
    assert SECRET not in said
    assert (await fetch("SELECT FROM provider")) == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"url": ""}, "url"),
        ({"url": "ftp://host"}, "url"),
        ({"url": "unix:///run/engine.sock"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "host:80"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://host:0"}, "url"),
        ({"url": "http://host:99999"}, "url"),
        ({"url": "http://[::1"}, "url"),
        ({"url": "http://user@host"}, "url"),
        ({"url": "http://user:password@host"}, "url"),
        ({"url": "http://host/?key=secret"}, "url"),
        ({"url": "http://host/#there"}, "url"),
        ({"url": "http://host/a b"}, "url"),
        ({"url": "http://host/\r\nX: y"}, "url"),
        ({"url": "http://host/\0"}, "url"),
        ({"url": "http://host\\evil"}, "url"),
        ({"url": "http://host/" + "x" * 3000}, "url"),
        ({"url": ["http://host"]}, "url"),
        ({"unknown": 1}, ""),
        ({"name": ""}, "name"),
        ({"name": "Far"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a\0"}, "name"),
        ({"name": "configured"}, "name"),
        ({"name": "runner-box"}, "name"),
        ({"name": None}, "name"),
        ({"kind": "runner"}, "kind"),
        ({"api_key": "a\nb"}, "api_key"),
        ({"api_key": "schlüssel"}, "api_key"),
        ({"api_key": "x" * 9000}, "api_key"),
        ({"prefix": "a b"}, "prefix"),
        ({"prefix": "\0"}, "prefix"),
        ({"prefix": "x" * 65}, "prefix"),
        ({"models": [""]}, "models"),
        ({"models": ["a\0"]}, "models"),
        ({"models": ["x" * 300]}, "models"),
        ({"enabled": "yes"}, "enabled"),
    ],
)
async def test_a_provider_that_does_not_fit_is_refused(
    admin: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    answer = await admin.post(PROVIDERS, json={"name": "far", "url": "http://host", **fields})

    assert answer.status_code == 400, answer.text
    assert (answer.json()["error"]["param"] or "").startswith(param)
    assert await fetch("SELECT FROM provider") == []


@pytest.mark.parametrize(
    "fields",
    [
        {"unknown": 1},
        {"url": "http://user:pw@host"},
        {"url": "unix:///run/engine.sock"},
        {"weight": 0},
        {"weight": 101},
        {"weight": 2**70},
        {"max_running": 0},
        {"max_running": 2**31},
        {"max_running": 1.5},
        {"url": None},
    ],
)
async def test_an_endpoint_that_does_not_fit_is_refused(
    admin: httpx.AsyncClient, fields: dict[str, Any]
) -> None:
    made = await added(admin, "http://host")
    place = f"{PROVIDERS}/{made['id']}/endpoints"
    one = f"{place}/{made['endpoints'][0]['id']}"

    changed = await admin.patch(one, json=fields)
    new = await admin.post(place, json={"url": "http://new", **fields})

    assert changed.status_code == 400, changed.text
    assert new.status_code == 400, new.text


async def test_what_is_there_is_not_there_twice(admin: httpx.AsyncClient) -> None:
    made = await added(admin, "http://host")
    place = f"{PROVIDERS}/{made['id']}/endpoints"
    await admin.post(place, json={"url": "http://other"})

    again = await admin.post(PROVIDERS, json={"name": "far", "url": "http://host"})
    twice = await admin.post(place, json={"url": "http://host/v1"})

    assert [answer.status_code for answer in (again, twice)] == [409, 409]
    assert await sealed_for(made["id"], "http://other") == SECRET


async def test_of_many_at_once_each_has_its_way_or_is_told(admin: httpx.AsyncClient) -> None:
    names = await asyncio.gather(
        *(admin.post(PROVIDERS, json={"name": "far", "url": "http://host"}) for _ in range(6))
    )
    made = await added(admin, "http://0", name="many")
    place = f"{PROVIDERS}/{made['id']}/endpoints"
    urls = [f"http://{number}" for number in range(1, 9)]
    await asyncio.gather(*(admin.post(place, json={"url": url}) for url in urls))
    aliases = await asyncio.gather(
        admin.post(ALIASES, json={"alias": "a", "model": "b"}),
        admin.post(ALIASES, json={"alias": "b", "model": "a"}),
        *(admin.patch(f"{MODELS}/m", json={"prompt_price": n}) for n in range(4)),
    )

    assert sorted(answer.status_code for answer in names) == [200] + [409] * 5
    assert [await sealed_for(made["id"], url) for url in urls] == [SECRET] * 8  # none got lost
    assert sorted(answer.status_code for answer in aliases[:2]) == [200, 400]
    assert {answer.status_code for answer in aliases[2:]} == {200}


@pytest.mark.parametrize(
    ("kind", "managed_by"), [("openai", "settings"), ("runner", "settings"), ("runner", "operator")]
)
async def test_what_settings_and_engines_say_is_not_changed_by_hand(
    admin: httpx.AsyncClient, kind: str, managed_by: str
) -> None:
    await execute(
        "INSERT INTO provider (id, name, kind, managed_by) VALUES ('prov_1', 'own', $1, $2)",
        *(kind, managed_by),
    )
    await execute("INSERT INTO endpoint (id, provider_id, url) VALUES ('ep_1', 'prov_1', 'unix:/')")
    one = f"{PROVIDERS}/prov_1"

    answers = [
        await admin.patch(one, json={"enabled": False}),
        await admin.delete(one),
        await admin.post(f"{one}/endpoints", json={"url": "http://host"}),
        await admin.patch(f"{one}/endpoints/ep_1", json={"weight": 2}),
        await admin.delete(f"{one}/endpoints/ep_1"),
    ]

    assert [answer.status_code for answer in answers] == [409] * 5
    for answer in answers:
        words = answer.json()["error"]["message"]
        assert "inference_model_url" in words
    assert (await admin.get(one)).status_code == 200


async def test_a_key_that_can_not_be_read_is_asked_for_anew(admin: httpx.AsyncClient) -> None:
    made = await added(admin, "http://host")
    one = f"{PROVIDERS}/{made['id']}"
    other = ProviderKeys("another" * 8).close(made["id"], ["http://host"], SECRET)
    await execute("UPDATE provider SET sealed = $2 WHERE id = $1", made["id"], other)

    stuck = await admin.post(f"{one}/endpoints", json={"url": "http://new"})
    looked = (await admin.post(f"{one}/check")).json()
    await admin.patch(one, json={"api_key": SECRET})
    freed = await admin.post(f"{one}/endpoints", json={"url": "http://new"})

    assert stuck.status_code == 409
    assert "anew" in looked["data"][0]["error"]
    assert freed.status_code == 200


async def test_a_look_tells_of_each_endpoint(
    admin: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    made = await added(admin, upstream.url, api_key="upstream-secret")
    one = f"{PROVIDERS}/{made['id']}"
    well = (await admin.post(f"{one}/check")).json()
    await admin.post(f"{one}/endpoints", json={"url": "http://127.0.0.1:1"})
    mixed = (await admin.post(f"{one}/check")).json()

    assert [each["models"] for each in well["data"]] == [[MODEL]]
    assert [each["ok"] for each in mixed["data"]] == [True, False]
    assert mixed["data"][1]["error"]


async def test_what_is_said_of_a_model_stands_beside_who_serves_it(
    admin: httpx.AsyncClient,
) -> None:
    made = await added(admin, "http://host", prefix="far/", models=["org/big", "small"])
    await serves(made["id"], "org/big", "small", "left-out")

    said = await admin.patch(
        f"{MODELS}/far/org/big",
        json={"capabilities": ["chat", "tools"], "fallbacks": ["far/small"], "prompt_price": 5},
    )
    by_post = await admin.post(f"{MODELS}/far%2Forg%2Fbig", json={"context_length": 4096})
    await admin.patch(f"{MODELS}/not/there", json={"owned_by": "me", "enabled": False})
    await admin.post(ALIASES, json={"alias": "best", "model": "far/org/big"})
    first = (await admin.get(MODELS, params={"limit": 2})).json()
    rest = (await admin.get(MODELS, params={"after": first["last_id"]})).json()
    back = (await admin.get(MODELS, params={"before": rest["last_id"], "limit": 1})).json()
    deleted = await admin.delete(f"{MODELS}/far/org/big")
    after = (await admin.get(f"{MODELS}/far/org/big")).json()

    assert said.status_code == 200, said.text
    assert by_post.json()["prompt_price"] == 5
    assert by_post.json()["providers"] == ["far"]
    assert [each["id"] for each in first["data"]] == ["far/org/big", "far/small"]
    assert first["has_more"]
    assert [each["id"] for each in rest["data"]] == ["not/there"]
    assert [each["id"] for each in back["data"]] == ["far/small"]
    assert deleted.json()["id"] == "far/org/big"
    assert (after["providers"], after["prompt_price"]) == (["far"], None)
    assert (await admin.delete(f"{MODELS}/far/org/big")).status_code == 404
    assert (await admin.get(f"{MODELS}/nobody")).status_code == 404


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"unknown": 1}, None),
        ({"capabilities": ["flying"]}, "capabilities"),
        ({"context_length": 0}, "context_length"),
        ({"context_length": 2**31}, "context_length"),
        ({"fallbacks": ["m"]}, "fallbacks"),
        ({"fallbacks": ["a\0"]}, "fallbacks"),
        ({"fallbacks": [str(n) for n in range(17)]}, "fallbacks"),
        ({"prompt_price": -1}, "prompt_price"),
        ({"cached_price": 10**13}, "cached_price"),
        ({"completion_price": 0.5}, "completion_price"),
        ({"completion_price": "much"}, "completion_price"),
        ({"owned_by": "a\0"}, "owned_by"),
        ({"owned_by": "x" * 200}, "owned_by"),
        ({"enabled": None}, "enabled"),
    ],
)
async def test_what_can_not_be_said_of_a_model_is_refused(
    admin: httpx.AsyncClient, fields: dict[str, Any], param: str | None
) -> None:
    answer = await admin.patch(f"{MODELS}/m", json=fields)

    assert answer.status_code == 400, answer.text
    assert (answer.json()["error"]["param"] or "").startswith(param or "")
    assert await fetch("SELECT FROM model") == []


async def test_an_alias_leads_to_a_model_and_nowhere_else(admin: httpx.AsyncClient) -> None:
    made = await added(admin, "http://host")
    await serves(made["id"], "big")

    new = await admin.post(ALIASES, json={"alias": "team/best", "model": "big"})
    changed = await admin.post(ALIASES, json={"alias": "team/best", "model": "other"})
    refused = [
        await admin.post(ALIASES, json={"alias": alias, "model": model})
        for alias, model in (
            ("x", "team/best"),  # to an alias
            ("other", "big"),  # what one stands for
            ("x", "x"),
            ("x", "\0"),
            ("", "big"),
            ("x" * 200, "big"),
        )
    ]
    listed = (await admin.get(ALIASES)).json()["data"]
    gone = await admin.delete(f"{ALIASES}/team/best")

    assert new.status_code == 200
    assert changed.json()["model"] == "other"
    assert [answer.status_code for answer in refused] == [400] * 6
    assert [(each["id"], each["model"]) for each in listed] == [("team/best", "other")]
    assert gone.status_code == 200
    assert (await admin.delete(f"{ALIASES}/team/best")).status_code == 404


ROUTES = [
    ("GET", PROVIDERS, None),
    ("POST", PROVIDERS, {"name": "x", "url": "http://x"}),
    ("GET", PROVIDERS + "/prov_1", None),
    ("PATCH", PROVIDERS + "/prov_1", {"enabled": False}),
    ("POST", PROVIDERS + "/prov_1", {"enabled": False}),
    ("DELETE", PROVIDERS + "/prov_1", None),
    ("POST", PROVIDERS + "/prov_1/check", None),
    ("POST", PROVIDERS + "/prov_1/endpoints", {"url": "http://x"}),
    ("PATCH", PROVIDERS + "/prov_1/endpoints/ep_1", {"weight": 2}),
    ("DELETE", PROVIDERS + "/prov_1/endpoints/ep_1", None),
    ("GET", MODELS, None),
    ("GET", MODELS + "/m", None),
    ("PATCH", MODELS + "/m", {"enabled": False}),
    ("DELETE", MODELS + "/m", None),
    ("GET", ALIASES, None),
    ("POST", ALIASES, {"alias": "a", "model": "m"}),
    ("DELETE", ALIASES + "/a", None),
    ("GET", "/v1/admin/organizations/{organization}/models", None),
    ("POST", "/v1/admin/organizations/{organization}/models", {"model_ids": []}),
    ("POST", "/v1/admin/projects/{project}/queue_weight", {"queue_weight": 2}),
]


async def test_only_who_administers_all_of_this_jan_comes_in(tenants: Tenants) -> None:
    a = tenants.a
    everybody: dict[str, Person | Key] = {
        **a.people,
        "admin key": a.admin_key,
        "organization key": a.organization_key,
        "project key": a.project_key,
        "service key": a.service_key,
        "loner": tenants.loner,
        "guest": tenants.guest,
    }
    wrong: list[str] = []
    before = await fetch("SELECT o::text FROM organization AS o ORDER BY id")
    for method, path, body in ROUTES:
        place = path.format(organization=a.id, project=a.project_id)
        for name, who in everybody.items():
            answer = await tenants.call(who, method, place, body)
            if answer.status_code != 403:
                wrong.append(f"{name}: {method} {path} -> {answer.status_code}")
        answer = await tenants.call(None, method, place, body)
        if answer.status_code != 401:
            wrong.append(f"nobody: {method} {path} -> {answer.status_code}")

    assert wrong == []
    for table in ("provider", "endpoint", "model", "model_alias"):
        assert await fetch(f"SELECT FROM {table}") == []
    assert await fetch("SELECT o::text FROM organization AS o ORDER BY id") == before


async def test_a_second_process_knows_within_a_second(
    admin: httpx.AsyncClient, database: Database, upstream: FakeUpstream
) -> None:
    async with process(database.dsn) as other:
        made = await added(admin, upstream.url, api_key=None)
        await admin.patch(f"{MODELS}/{MODEL}", json={"prompt_price": 7})
        await admin.post(ALIASES, json={"alias": "best", "model": MODEL})
        with anyio.fail_after(1):
            while not (
                other.fleet.instances
                and MODEL in [model.id for model in other.fleet.catalog.models]
                and (said := other.fleet.described(MODEL))
                and said.prompt_price == 7
                and other.fleet.catalog.described("best", CALLER).id == MODEL
            ):
                await asyncio.sleep(0.01)
        await admin.delete(f"{PROVIDERS}/{made['id']}")
        with anyio.fail_after(1):
            while other.fleet.instances:
                await asyncio.sleep(0.01)
