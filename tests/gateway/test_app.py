"""The gateway as a client sees it: paths, keys, errors, ids."""

import httpx
import pytest

from tests.fakes import MODEL, FakeUpstream, Reply, Seen
from tests.gateways import CALLER, KEY, Gateway, running_gateway, until

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "temperature": 0}


async def test_a_chat_is_answered(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json=CHAT)

    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "Hello there!"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_of_a_bearer_key_may_be_written_anyhow(
    gateway: Gateway, scheme: str
) -> None:
    async with gateway.client(None) as client:
        answer = await client.get("/v1/models", headers={"authorization": f"{scheme} {KEY}"})

    assert answer.status_code == 200


async def test_a_key_may_come_as_x_api_key(gateway: Gateway) -> None:
    async with gateway.client(None) as client:
        answer = await client.get("/v1/models", headers={"x-api-key": KEY})

    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/models"])
async def test_without_a_key_there_is_no_way_in(gateway: Gateway, path: str) -> None:
    async with gateway.client(None) as client:
        method = "GET" if path == "/v1/models" else "POST"
        answer = await client.request(method, path, content=b"{}" if method == "POST" else None)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "invalid_api_key"


async def test_a_wrong_key_is_refused_before_the_body_is_looked_at(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    async with gateway.client("sk-jan-bad") as client:
        answer = await client.post("/v1/chat/completions", content=b"not json")

    assert answer.status_code == 401
    assert not upstream.requests
    assert not gateway.rows


async def test_errors_on_anthropics_paths_have_anthropics_shape(gateway: Gateway) -> None:
    async with gateway.client(None) as client:
        answer = await client.post("/v1/messages", json={})

    body = answer.json()
    assert body["type"] == "error"
    assert body["error"]["type"] == "authentication_error"
    assert body["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/v1/nowhere", 404, "not_found"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/livez", 405, "method_not_allowed"),
        ("PROPFIND", "/livez", 405, "method_not_allowed"),
        ("TRACE", "/v1/embeddings", 405, "method_not_allowed"),
        ("GET", "/v1/models/other", 404, "model_not_found"),
    ],
)
async def test_every_refusal_has_the_one_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)

    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == code
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
async def test_a_wrong_method_on_the_data_plane_leaves_a_row(
    gateway: Gateway, client: httpx.AsyncClient, method: str
) -> None:
    await client.request(method, "/v1/embeddings")

    await until(lambda: gateway.rows)
    [row] = gateway.rows
    assert (row.status, row.error_code) == (405, "method_not_allowed")
    assert (row.caller, row.path) == (CALLER, "/v1/embeddings")


async def test_what_is_refused_while_draining_leaves_a_row_on_the_data_plane_alone(
    gateway: Gateway, client: httpx.AsyncClient
) -> None:
    gateway.front.passages.is_draining = True
    answers = [
        await client.post("/v1/chat/completions", json=CHAT),
        await client.get("/v1/models"),
        await client.post("/v1/nowhere"),
    ]

    assert [answer.status_code for answer in answers] == [503] * 3
    assert {answer.json()["error"]["code"] for answer in answers} == {"shutting_down"}
    assert {answer.headers["connection"] for answer in answers} == {"close"}
    assert [(row.path, row.status) for row in gateway.rows] == [("/v1/chat/completions", 503)]


@pytest.mark.parametrize("path", ["/livez", "/nowhere", "/v1/models", "/v1/chat/completions"])
async def test_a_sane_request_id_is_kept_on_every_answer(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(path, headers={"x-request-id": "trace-1.a_B"})

    assert answer.headers["x-request-id"] == "trace-1.a_B"


@pytest.mark.parametrize("request_id", ["", "a b", "a" * 129, "a/b", "<script>"])
async def test_a_strange_request_id_is_replaced(client: httpx.AsyncClient, request_id: str) -> None:
    answer = await client.get("/livez", headers={"x-request-id": request_id})

    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("path", ["/healthcheck", "/livez", "/v1/version"])
async def test_probes_answer_without_a_key_and_without_anything_else(path: str) -> None:
    async with running_gateway("http://127.0.0.1:1") as gateway, gateway.client(None) as client:
        gateway.is_database_up = False
        answer = await client.get(path)
        head = await client.head(path)

    assert answer.status_code == head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == str(len(answer.content))


async def test_the_health_check_says_ok_in_json(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthcheck")).text == '"ok"'


async def test_readiness_follows_the_model_server(upstream: FakeUpstream) -> None:
    await upstream.kill()
    async with running_gateway(upstream.url) as gateway, gateway.client(None) as client:
        before = await client.get("/readyz")
        await upstream.start()
        await until(lambda: gateway.catalog.is_ready)
        after = await client.get("/readyz")

    assert before.status_code == 503
    inference = before.json()["dependencies"]["inference"]
    assert not inference["ok"]
    assert inference["last_error"]
    assert after.status_code == 200
    assert after.json()["dependencies"]["inference"]["models"] == [MODEL]


async def test_a_model_server_without_a_model_is_not_ready(
    upstream: FakeUpstream, gateway: Gateway, client: httpx.AsyncClient
) -> None:
    async def nothing(_: Seen, reply: Reply) -> None:
        await reply.json({"object": "list", "data": []})

    upstream.script("/v1/models", nothing)
    gateway.fleet.doubted("ep_1")
    await until(lambda: not gateway.catalog.is_ready)
    ready = await client.get("/readyz")
    chat = await client.post("/v1/chat/completions", json=CHAT)

    state = ready.json()["dependencies"]["inference"]
    assert ready.status_code == 503
    assert (state["last_error"], state["models"]) == ("the model server has no model", [])
    assert (chat.status_code, chat.json()["error"]["code"]) == (503, "model_loading")


async def test_a_replica_that_is_away_is_told_and_done_without(
    gateway: Gateway, client: httpx.AsyncClient
) -> None:
    answer = await client.get("/readyz")

    assert answer.status_code == 200
    state = answer.json()["dependencies"]["replica_1"]
    assert (state["ok"], state["last_error"]) == (False, "The replica does not answer.")


async def test_readiness_names_a_database_that_is_away(
    gateway: Gateway, client: httpx.AsyncClient
) -> None:
    gateway.is_database_up = False
    answer = await client.get("/readyz")

    assert answer.status_code == 503
    state = answer.json()["dependencies"]["database"]
    assert (state["ok"], state["last_error"]) == (False, "The database does not answer.")
