"""Responses over HTTP: whole, streamed, refused, broken off, left."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from tests.fakes import MODEL, FakeUpstream, Reply, Script, Seen, chat_events
from tests.gateways import Gateway, running_gateway, until
from tests.responses import rules
from tests.responses.chats import ASK, STREAM, as_event, as_events, call, delta, end, usage

PATH = "/v1/responses"
CHAT = "/v1/chat/completions"
LIMIT_S = 0.1
"""From a hang-up to the model server knowing it."""


def says(*chunks: dict[str, Any], is_whole: bool = True) -> Script:
    """Script a stream."""

    async def script(_: Seen, reply: Reply) -> None:
        await reply.events(as_events(*chunks, is_whole=is_whole))

    return script


def refuses(status: int, message: str, **more: Any) -> Script:
    """Script a refusal, as vLLM writes it."""

    async def script(_: Seen, reply: Reply) -> None:
        error = {"message": message, "type": "BadRequestError", "param": None, "code": status}
        await reply.json({"error": error | more}, status)

    return script


async def test_a_whole_response(client: httpx.AsyncClient, upstream: FakeUpstream) -> None:
    answer = await client.post(PATH, json=ASK)

    assert answer.status_code == 200
    response = rules.validate_response(answer.content)
    assert response.output_text == "Hello there!"
    assert response.usage
    assert response.usage.total_tokens == 14
    assert upstream.requests[0].json == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "hi"}],
    }


async def test_a_response_has_every_field_that_openais_definition_requires(
    client: httpx.AsyncClient,
) -> None:
    answer = (await client.post(PATH, json=ASK)).json()

    nullable = {"completed_at", "error", "incomplete_details", "instructions", "max_output_tokens"}
    nullable |= {"max_tool_calls", "previous_response_id", "prompt_cache_key", "usage"}
    nullable |= {"safety_identifier", "reasoning"}
    required = {"id", "object", "created_at", "status", "model", "output", "tools", "tool_choice"}
    required |= {"truncation", "parallel_tool_calls", "text", "top_p", "presence_penalty"}
    required |= {"frequency_penalty", "top_logprobs", "temperature", "store", "background"}
    required |= {"service_tier", "metadata"}
    assert len(nullable | required) == 31
    assert (nullable | required) <= set(answer)
    assert all(answer[name] is not None for name in required)


async def test_a_response_repeats_what_it_was_asked(client: httpx.AsyncClient) -> None:
    tool = {"type": "function", "name": "add", "parameters": {"type": "object"}}
    asked = ASK | {
        "instructions": "Be brief.",
        "tools": [tool],
        "tool_choice": "auto",
        "temperature": 0,
        "top_p": 0.5,
        "max_output_tokens": 20,
        "max_tool_calls": 3,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "service_tier": "auto",
        "truncation": "auto",
        "user": "u",
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
    }
    answer = await client.post(PATH, json=asked)

    rules.validate_response(answer.content)
    said = answer.json()
    del asked["input"], asked["service_tier"], asked["tools"], asked["reasoning"]
    assert {name: said[name] for name in asked} == asked
    assert said["tools"] == [tool | {"strict": True, "description": None}]
    assert said["service_tier"] == "default"
    assert said["reasoning"]["effort"] == "low"


async def test_a_streamed_response(
    client: httpx.AsyncClient, upstream: FakeUpstream, gateway: Gateway
) -> None:
    answer = await client.post(PATH, json=STREAM)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    response = rules.check(rules.parsed(answer.content))
    assert response["output"][0]["content"][0]["text"] == "Hello there!"
    assert response["usage"]["input_tokens"] == 11
    assert upstream.requests[0].json["stream_options"] == {"include_usage": True}
    await until(lambda: gateway.rows)
    [row] = gateway.rows
    assert (row.status, row.model, row.is_stream) == (200, MODEL, True)
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (11, 3, 4)
    assert row.time_to_first_token_ms


@pytest.mark.parametrize("split_every", [1, 7, 50])
async def test_a_stream_may_come_in_any_pieces(
    client: httpx.AsyncClient, upstream: FakeUpstream, split_every: int
) -> None:
    async def dribble(_: Seen, reply: Reply) -> None:
        events = chat_events("Grüße ", "🌍", "世界", usage=True)
        await reply.events(events, split_every=split_every)

    upstream.script(CHAT, dribble)
    answer = await client.post(PATH, json=STREAM)

    response = rules.check(rules.parsed(answer.content))
    assert response["output"][0]["content"][0]["text"] == "Grüße 🌍世界"


async def test_events_come_as_the_model_speaks(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    heard = asyncio.Event()

    async def wait_to_be_heard(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(as_event(delta(content="a")))
        await heard.wait()
        for event in as_events(end(), usage()):
            await reply.chunk(event)
        await reply.end()

    upstream.script(CHAT, wait_to_be_heard)
    received = b""
    async with client.stream("POST", PATH, json=STREAM) as answer:
        async for part in answer.aiter_bytes():
            received += part
            if b"output_text.delta" in received:
                heard.set()

    rules.check(rules.parsed(received))


async def test_connections_to_the_model_server_are_used_again(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    for asked in (STREAM, ASK, STREAM, ASK):
        await client.post(PATH, json=asked)

    assert upstream.connections <= 3  # one for the list of models, which may coincide with another


async def test_calls_and_thoughts_are_items(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.script(
        CHAT, says(delta(reasoning="hm"), call(0, "{}", "add"), end("tool_calls"), usage())
    )
    answer = await client.post(PATH, json=STREAM)

    response = rules.check(rules.parsed(answer.content))
    assert [item["type"] for item in response["output"]] == ["reasoning", "function_call"]


@pytest.mark.parametrize("how", ["die", "close", "end"])
async def test_a_stream_that_breaks_in_the_middle_of_a_call_has_failed(
    client: httpx.AsyncClient, upstream: FakeUpstream, gateway: Gateway, how: str
) -> None:
    async def break_off(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(as_event(call(0, '{"a', "add")))
        await reply.chunk(b'data: {"half')
        if how == "end":
            await reply.end()
        else:
            getattr(reply, how)()

    upstream.script(CHAT, break_off)
    answer = await client.post(PATH, json=STREAM)

    response = rules.check(rules.parsed(answer.content))
    assert (answer.status_code, response["status"]) == (200, "failed")
    assert response["error"]["code"] == "server_error"
    assert response["output"][0]["status"] == "incomplete"
    await until(lambda: gateway.rows)
    assert [(row.status, row.error_code) for row in gateway.rows] == [(502, "upstream_error")]


async def test_an_error_that_the_model_server_streams_is_a_failure(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    error = {"error": {"message": "out of memory", "type": "InternalServerError", "code": 500}}
    upstream.script(CHAT, says(delta(content="a"), error))
    answer = await client.post(PATH, json=STREAM)

    response = rules.check(rules.parsed(answer.content))
    assert response["error"] == {"code": "server_error", "message": "out of memory"}
    assert response["output"][0]["content"][0]["text"] == "a"


async def test_nonsense_in_a_stream_is_a_failure(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    async def babble(_: Seen, reply: Reply) -> None:
        await reply.events([as_event(delta(content="a")), b"data: {]\n\n"])

    upstream.script(CHAT, babble)
    answer = await client.post(PATH, json=STREAM)

    assert rules.check(rules.parsed(answer.content))["status"] == "failed"


async def test_a_stream_without_its_marker_at_the_end_is_whole_if_the_model_has_finished(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, says(delta(content="a"), end(), is_whole=False))
    answer = await client.post(PATH, json=STREAM)

    assert rules.check(rules.parsed(answer.content))["status"] == "completed"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refusal_keeps_its_status(
    client: httpx.AsyncClient, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.script(CHAT, refuses(400, "no such schema", param="response_format"))
    answer = await client.post(PATH, json=ASK | {"stream": stream})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_request")
    assert (error["message"], error["param"]) == ("no such schema", "text.format")


@pytest.mark.parametrize("stream", [True, False])
async def test_while_the_model_loads_the_answer_comes_at_once(
    upstream: FakeUpstream, stream: bool
) -> None:
    await upstream.kill()
    async with running_gateway(upstream.url) as gateway, gateway.client() as client:
        answer = await client.post(PATH, json=ASK | {"stream": stream})

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "model_loading"
    assert [row.status for row in gateway.rows] == [503]


async def test_an_answer_that_is_no_answer_is_a_502(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    async def answer_nothing(_: Seen, reply: Reply) -> None:
        await reply.json({"choices": []})

    upstream.script(CHAT, answer_nothing)
    whole = await client.post(PATH, json=ASK)
    streamed = await client.post(PATH, json=STREAM)

    assert (whole.status_code, streamed.status_code) == (502, 502)


async def test_a_model_server_that_was_away_is_noticed(
    client: httpx.AsyncClient, upstream: FakeUpstream, gateway: Gateway
) -> None:
    await upstream.kill()
    answer = await client.post(PATH, json=ASK)

    assert answer.status_code == 503
    await until(lambda: not gateway.catalog.is_ready)


TOO_LONG = (
    "This model's maximum context length is 100 tokens. However, your prompt contains {} input"
    " tokens, which exceeds this limit even without any output tokens."
)


@pytest.mark.parametrize("stream", [True, False])
async def test_too_long_a_prompt_has_openais_code(
    client: httpx.AsyncClient, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.script(CHAT, refuses(400, TOO_LONG.format(120), param="input_tokens"))
    answer = await client.post(PATH, json=ASK | {"stream": stream})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "context_length_exceeded")
    assert error["param"] == "input"
    assert len(upstream.requests) == 1


def reads_at_most(characters: int) -> Script:
    """Script a server with a small context, in which each character is a token."""

    async def script(seen: Seen, reply: Reply) -> None:
        length = sum(len(message["content"]) for message in seen.json["messages"])
        if length > characters:
            await refuses(400, TOO_LONG.format(length))(seen, reply)
            return
        await reply.events(chat_events("ok", usage=True))

    return script


async def test_truncation_drops_the_oldest_until_it_fits(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, reads_at_most(100))
    past = [{"role": "user", "content": f"{number:02}" + "x" * 18} for number in range(20)]
    asked = STREAM | {"truncation": "auto", "input": past, "instructions": "Be brief."}
    answer = await client.post(PATH, json=asked)

    rules.check(rules.parsed(answer.content))
    read = upstream.requests[-1].json["messages"]
    assert read[0] == {"role": "system", "content": "Be brief."}
    assert read[-1]["content"].startswith("19")
    assert len(upstream.requests) < 5


async def test_truncation_gives_up_when_there_is_nothing_more_to_drop(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, reads_at_most(10))
    past = [{"role": "user", "content": "x" * 20} for _ in range(50)]
    answer = await client.post(PATH, json=STREAM | {"truncation": "auto", "input": past})

    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert 2 <= len(upstream.requests) <= 6


async def test_truncation_is_tried_a_few_times_only(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, refuses(400, "This model's maximum context length is a secret."))
    past = [{"role": "user", "content": "x" * 20} for _ in range(500)]
    answer = await client.post(PATH, json=STREAM | {"truncation": "auto", "input": past})

    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert len(upstream.requests) == 6


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{", "invalid_json", None),
        (b"[]", "invalid_request", None),
        (b'{"input":"a","store":false}', "invalid_request", "model"),
        (json.dumps(ASK | {"model": "other"}).encode(), "model_not_found", "model"),
        (json.dumps(ASK | {"input": None}).encode(), "invalid_request", "input"),
        (
            json.dumps(ASK | {"input": [{"role": "user", "content": [{"type": "x"}]}]}).encode(),
            "invalid_request",
            "input[0].content[0].type",
        ),
    ],
)
async def test_a_request_that_is_wrong_is_refused(
    client: httpx.AsyncClient, upstream: FakeUpstream, body: bytes, code: str, param: str | None
) -> None:
    answer = await client.post(PATH, content=body)

    error = answer.json()["error"]
    assert answer.status_code == (404 if code == "model_not_found" else 400)
    assert error["code"] == code
    assert error["param"] == param
    assert not upstream.requests


@pytest.mark.parametrize("name", ["custom", "metadata", "text", "tools"])
async def test_no_depth_of_nesting_is_a_fault_of_the_server(
    client: httpx.AsyncClient, upstream: FakeUpstream, name: str
) -> None:
    async def answer(_: Seen, reply: Reply) -> None:  # without looking at what it can't decode
        await reply.json({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]})

    upstream.script(CHAT, answer)
    statuses: set[int] = set()
    for depth in (10, *range(930, 1000, 5)):
        nested = "[" * depth + "]" * depth
        if name == "tools":
            nested = f'[{{"type":"function","name":"a","parameters":{{"a":{nested}}}}}]'
        elif name == "text":
            schema = f'{{"type":"json_schema","name":"a","schema":{{"a":{nested}}}}}'
            nested = f'{{"format":{schema}}}'
        content = json.dumps(ASK)[:-1] + f', "{name}": {nested}}}'
        statuses.add((await client.post(PATH, content=content)).status_code)

    assert statuses <= {200, 400}


async def test_a_wrong_key_is_refused(gateway: Gateway) -> None:
    async with gateway.client("sk-jan-bad") as client:
        answer = await client.post(PATH, json=ASK)

    assert answer.status_code == 401


async def test_other_methods_are_refused(client: httpx.AsyncClient) -> None:
    answer = await client.put(PATH, json=ASK)

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


async def test_silence_is_filled_between_events_only(upstream: FakeUpstream) -> None:
    async def think_long(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await asyncio.sleep(0.2)
        for event in as_events(delta(content="a"), end(), usage()):
            await reply.chunk(event)
        await reply.end()

    upstream.script(CHAT, think_long)
    async with running_gateway(upstream.url, heartbeat_s=0.05) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        async with gateway.client() as client:
            answer = await client.post(PATH, json=STREAM)

    rules.check(rules.parsed(answer.content))
    assert answer.content.count(b": keep-alive\n\n") >= 2


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_client_that_leaves_ends_the_work(
    gateway: Gateway, upstream: FakeUpstream, stream: bool, has_begun: bool
) -> None:
    async def think_for_ever(_: Seen, reply: Reply) -> None:
        if has_begun and stream:
            await reply.begin_events()
            await reply.chunk(as_event(delta(content="a")))
        await reply.stall()

    upstream.script(CHAT, think_for_ever)
    async with gateway.client() as client:
        request = asyncio.create_task(client.post(PATH, json=ASK | {"stream": stream}))
        await until(lambda: upstream.running)
        left_s = time.monotonic()
        request.cancel()
        await asyncio.wait([request])
        await until(lambda: upstream.aborts_s)

    assert upstream.aborts_s[0] - left_s < LIMIT_S
    await until(lambda: gateway.rows)
    assert [row.status for row in gateway.rows] == [499]


async def test_a_client_that_does_not_read_slows_the_model_server_down(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    written = 0

    async def flood(_: Seen, reply: Reply) -> None:
        nonlocal written
        await reply.begin_events()
        while True:
            await reply.chunk(as_event(delta(content="x" * 100_000)))
            written += 100_000

    upstream.script(CHAT, flood)
    async with gateway.client() as client, client.stream("POST", PATH, json=STREAM):
        before = -1
        while written != before or not written:  # until it stands still
            before = written
            await asyncio.sleep(0.2)

    assert written < 20_000_000


async def test_shutting_down_ends_a_stream_with_a_failure(
    gateway: Gateway, client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    async def begin_and_think(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(as_event(delta(content="a")))
        await reply.stall()

    upstream.script(CHAT, begin_and_think)
    received = b""
    async with client.stream("POST", PATH, json=STREAM) as answer:
        async for part in answer.aiter_bytes():
            received += part
            if b"output_text.delta" in received:
                gateway.front.passages.cut()

    response = rules.check(rules.parsed(received))
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert response["output"][0]["content"][0]["text"] == "a"
    await until(lambda: upstream.aborts_s)


async def test_input_tokens_are_counted_without_an_answer(
    client: httpx.AsyncClient, upstream: FakeUpstream, gateway: Gateway
) -> None:
    tool = {"type": "function", "name": "add", "parameters": {}}
    asked = {"model": MODEL, "input": "hi", "instructions": "Be brief.", "tools": [tool]}
    answer = await client.post(f"{PATH}/input_tokens", json=asked)

    assert answer.json() == {"object": "response.input_tokens", "input_tokens": 2}
    assert upstream.requests[0].target == "/tokenize"
    assert [tool["function"]["name"] for tool in upstream.requests[0].json["tools"]] == ["add"]
    assert gateway.rows == []


async def test_where_tokens_cant_be_counted_it_is_said(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.script("/tokenize", refuses(404, "Not Found"))
    answer = await client.post(f"{PATH}/input_tokens", json={"model": MODEL, "input": "hi"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported")


@pytest.mark.parametrize(
    ("asked", "param"), [({"input": "a"}, "model"), ({"model": MODEL}, "input")]
)
async def test_counting_needs_a_model_and_something_to_count(
    client: httpx.AsyncClient, asked: dict[str, str], param: str
) -> None:
    answer = await client.post(f"{PATH}/input_tokens", json=asked)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
