"""What a client is told when the model server refuses, dies or is not there."""

import json

import httpx
import pytest

from tests.fakes import (
    DONE,
    MODEL,
    FakeUpstream,
    Reply,
    Seen,
    chat_chunk,
    message_events,
)
from tests.gateways import Gateway, running_gateway, until

PATH = "/v1/chat/completions"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
STREAM = CHAT | {"stream": True}
MESSAGE = {"model": MODEL, "max_tokens": 5, "messages": CHAT["messages"]}


def parsed(text: str) -> list[object]:
    """The data of each event."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [PATH, "/v1/messages"])
async def test_a_refusal_keeps_its_status_and_words(
    client: httpx.AsyncClient, upstream: FakeUpstream, path: str, stream: bool
) -> None:
    said = {"message": "too long", "type": "BadRequestError", "param": "messages", "code": 400}

    async def refuse(_: Seen, reply: Reply) -> None:
        await reply.json({"error": said}, 400)

    upstream.script(path, refuse)
    answer = await client.post(path, json=MESSAGE | {"stream": stream})

    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["message"] == "too long"
    assert error["type"] == "invalid_request_error"
    if path == PATH:
        assert (error["param"], error["code"]) == ("messages", "invalid_request")


async def test_a_code_that_is_a_word_is_kept(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    async def refuse(_: Seen, reply: Reply) -> None:
        error = {"message": "m", "code": "context_length_exceeded"}
        await reply.json({"error": error}, 429, retry_after="7")

    upstream.script(PATH, refuse)
    answer = await client.post(PATH, json=CHAT)

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("said", "message", "param"),
    [
        ({"detail": "Not today"}, "Not today", None),
        (
            {
                "detail": [
                    {"loc": ["body", "messages", 0, "role"], "msg": "Field required", "input": "x"},
                    {"loc": ["body"], "msg": "Broken"},
                ]
            },
            "`messages[0].role`: Field required; Broken",
            "messages[0].role",
        ),
        ({"error": "model is busy"}, "model is busy", None),
        ({"error": {"message": "bad", "param": ["a", 1], "code": 422}}, "bad", None),
        ({"error": {"message": "bad", "param": {"a": 1}, "type": 3}}, "bad", None),
        ({"object": "error", "message": "flat", "param": "x", "code": 422}, "flat", "x"),
        ({"detail": [{"loc": 3}]}, "The model server answered with status 422.", None),
        ({"error": {"message": 3}}, "The model server answered with status 422.", None),
        ([], "The model server answered with status 422.", None),
    ],
)
async def test_whatever_shape_a_refusal_has_its_words_are_told(
    client: httpx.AsyncClient, upstream: FakeUpstream, said: object, message: str, param: str | None
) -> None:
    async def refuse(_: Seen, reply: Reply) -> None:
        await reply.json(said, 422)

    upstream.script(PATH, refuse)
    answer = await client.post(PATH, json=CHAT)

    error = answer.json()["error"]
    assert answer.status_code == 422
    assert (error["message"], error["param"]) == (message, param)
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_request")


@pytest.mark.parametrize(
    "said",
    [{"detail": "Not Found"}, {"error": {"message": "Not Found", "type": "NotFound", "code": 404}}],
)
async def test_what_the_model_is_not_made_for_is_said_clearly(
    client: httpx.AsyncClient, upstream: FakeUpstream, said: object
) -> None:
    async def know_no_such_path(_: Seen, reply: Reply) -> None:
        await reply.json(said, 404)

    upstream.script("/v1/embeddings", know_no_such_path)
    answer = await client.post("/v1/embeddings", json={"model": MODEL, "input": "hi"})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "not_found")
    assert error["message"] == "The model can't do this: its server has no `/v1/embeddings`."


async def test_an_error_that_is_not_json_becomes_one(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    async def break_down(_: Seen, reply: Reply) -> None:
        await reply.whole(b"<html>Traceback secret</html>", 500, "text/html")

    upstream.script(PATH, break_down)
    answer = await client.post(PATH, json=CHAT)

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "upstream_error"
    assert "secret" not in answer.text


async def test_while_the_model_loads_the_answer_comes_at_once(upstream: FakeUpstream) -> None:
    await upstream.kill()
    async with running_gateway(upstream.url) as gateway, gateway.client() as client:
        answer = await client.post(PATH, json=STREAM)

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "model_loading"
    assert int(answer.headers["retry-after"]) > 0
    assert [row.status for row in gateway.rows] == [503]


async def test_a_model_server_that_comes_back_is_used_again(
    client: httpx.AsyncClient, upstream: FakeUpstream, gateway: Gateway
) -> None:
    assert (await client.post(PATH, json=CHAT)).status_code == 200
    await upstream.kill()
    while_away = await client.post(PATH, json=CHAT)
    await until(lambda: not gateway.catalog.is_ready)
    await upstream.start()
    await until(lambda: gateway.catalog.is_ready)
    afterwards = await client.post(PATH, json=CHAT)

    assert while_away.status_code == 503
    assert afterwards.status_code == 200


async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    async def answer_and_close(_: Seen, reply: Reply) -> None:
        await reply.json({"choices": []})
        reply.close()

    upstream.script(PATH, answer_and_close)
    statuses = [(await client.post(PATH, json=CHAT)).status_code for _ in range(20)]

    assert statuses == [200] * 20
    assert len(upstream.requests) == 20


@pytest.mark.parametrize("how", ["die", "close"])
async def test_a_model_server_that_dies_before_its_answer_is_a_502(
    client: httpx.AsyncClient, upstream: FakeUpstream, how: str
) -> None:
    async def vanish(_: Seen, reply: Reply) -> None:
        getattr(reply, how)()

    upstream.script(PATH, vanish)
    answer = await client.post(PATH, json=STREAM)

    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_error"


@pytest.mark.parametrize("how", ["die", "close", "end"])
@pytest.mark.parametrize("path", [PATH, "/v1/messages"])
async def test_a_stream_that_breaks_ends_with_an_error_event(
    client: httpx.AsyncClient, upstream: FakeUpstream, gateway: Gateway, how: str, path: str
) -> None:
    whole = chat_chunk("a") if path == PATH else message_events()[0]

    async def break_off(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(whole)
        await reply.chunk(b'data: {"half')
        if how == "end":
            await reply.end()
        else:
            getattr(reply, how)()

    upstream.script(path, break_off)
    answer = await client.post(path, json=MESSAGE | {"stream": True})

    assert answer.status_code == 200
    assert answer.content.startswith(whole)
    last = answer.content.removeprefix(whole).decode()
    assert "[DONE]" not in last
    assert "half" not in last
    if path == PATH:
        [event] = parsed(last)
        assert isinstance(event, dict)
        assert event["error"]["code"] == "upstream_error"
    else:
        assert last.startswith("event: error\ndata: ")
        assert json.loads(last.split("data: ")[1])["error"]["type"] == "api_error"
    await until(lambda: gateway.rows)
    assert [(row.status, row.error_code) for row in gateway.rows] == [(502, "upstream_error")]


@pytest.mark.parametrize(
    ("path", "event", "status"),
    [
        (PATH, b'data: {"error":{"message":"oom","code":500}}\n\n', 500),
        (PATH, b'data: { "error": {"message": "bad", "code": 400}}\n\n', 400),
        (PATH, b'data: {"error":{"message":"oom","code":"server_error"}}\n\n', 502),
        (PATH, b'data: {"error":"oom"}\n\n', 502),
        (PATH, b'data: {"id":"1","choices":[],"error":{"code":1,"message":"oom"}}\n\n', 502),
        (
            "/v1/messages",
            b'event: error\ndata: {"type":"error","error":{"type":"internal_error"}}\n\n',
            502,
        ),
    ],
)
async def test_an_error_that_the_model_server_streams_is_passed_on_alone_and_booked(
    gateway: Gateway, upstream: FakeUpstream, path: str, event: bytes, status: int
) -> None:
    events = [chat_chunk("a") if path == PATH else message_events()[0], event]
    events += [DONE] * (status == 500)  # vLLM's way

    async def fail_in_words(_: Seen, reply: Reply) -> None:
        await reply.events(events)

    upstream.script(path, fail_in_words)
    async with gateway.client() as client:
        answer = await client.post(path, json=MESSAGE | {"stream": True})

    assert answer.content == b"".join(events)
    await until(lambda: gateway.rows)
    assert [(row.status, row.error_code) for row in gateway.rows] == [(status, "upstream_error")]


async def test_a_stream_that_speaks_of_errors_is_a_success(
    client: httpx.AsyncClient, upstream: FakeUpstream, gateway: Gateway
) -> None:
    events = [chat_chunk('{"error": {"code": 500}}', error=None), chat_chunk("error"), DONE]

    async def speak(_: Seen, reply: Reply) -> None:
        await reply.events(events)

    upstream.script(PATH, speak)
    await client.post(PATH, json=STREAM)

    await until(lambda: gateway.rows)
    assert [(row.status, row.error_code) for row in gateway.rows] == [(200, None)]
