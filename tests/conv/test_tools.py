"""Chats whose tools Jan carries out: a model server that follows scripts, tools that obey."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion

from jan.caller import Caller
from jan.responses.server_calls import Outcome
from tests.conv.conftest import ANN, Two
from tests.conv.talks import CHAT, PATH, asks, brief, kept, parsed, rows, streams, told, user
from tests.fakes import MODEL, FakeUpstream, Reply, Seen
from tests.gateways import Gateway, running_gateway, until
from tests.responses.chats import as_event, as_events, call, delta, end
from tests.responses.test_loop import PAGE, SERVER, TRUSTED, WEB, FakeTools, Round, called, says

FUNCTION = {
    "type": "function",
    "function": {"name": "mine", "description": "Mine.", "parameters": {"type": "object"}},
}
SPEAKS = [delta(content="Let me see."), *called("add", '{"a":1}')]
ANSWERS = [delta(content="42"), end()]


class Lent(FakeTools):
    """Tools that are lent to everybody."""

    def of(self, caller: Caller) -> "Lent":
        """Lend them."""
        assert caller.user_id
        return self


@pytest.fixture
def tools() -> Lent:
    return Lent()


@pytest.fixture
async def gateway(upstream: FakeUpstream, two: Two, tools: Lent) -> AsyncIterator[Gateway]:
    async with running_gateway(upstream.url, credentials=two, carriers=tools) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        yield gateway


@pytest.fixture
async def sdk(gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        api_key=ANN, base_url=f"{gateway.url}/v1/conv", max_retries=0, timeout=5
    ) as sdk:
        yield sdk


def deltas(events: list[Any]) -> list[dict[str, Any]]:
    """What each chunk of a stream adds."""
    return [event["choices"][0]["delta"] for event in events[1:-1] if event["choices"]]


def text(events: list[Any], name: str = "content") -> str:
    return "".join(delta.get(name) or "" for delta in deltas(events))


def stalls(*rounds: Round) -> Any:
    """Script rounds of which the last does not go on."""
    left = list(rounds)

    async def script(_: Seen, reply: Reply) -> None:
        said = left.pop(0)
        if left:
            await reply.events(as_events(*said))
            return
        await reply.begin_events()
        for chunk in said:
            await reply.chunk(as_event(chunk))
        await reply.stall()

    return script


async def test_a_stream_tells_the_answer_and_the_conversation_keeps_the_calls(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, tools: Lent
) -> None:
    says(upstream, [delta(reasoning="hm"), *SPEAKS], ANSWERS)

    answer = await client.post(PATH, json=streams(tools=[TRUSTED], top_k=3))

    assert answer.headers["content-type"].startswith("text/event-stream")
    events = parsed(answer.content)
    metadata, *chunks, done = events
    assert (metadata["object"], done) == ("chat.completion.metadata", "[DONE]")
    assert {chunk["id"] for chunk in chunks} == {metadata["completion_item_id"]}
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert not any("usage" in chunk for chunk in chunks)
    assert deltas(events)[0] == {"role": "assistant", "content": ""}
    assert text(events) == "Let me see.\n\n42"
    assert text(events, "reasoning_content") == "hm"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-2:] == [None, "stop"]
    assert tools.called == [("add", '{"a":1}')]
    said = await kept(ann, metadata)
    assert [item["type"] for item in said] == ["message", "message", "mcp_call", "message"]
    assert (said[2]["name"], said[2]["output"], said[2]["status"]) == ("add", "42", "completed")
    assert said[3]["id"] == metadata["completion_item_id"]
    assert said[3]["finish_reason"] == "stop"
    first, second = (seen.json for seen in upstream.requests)
    assert first["top_k"] == 3
    assert "store" not in first
    assert [tool["function"]["name"] for tool in first["tools"]] == ["add", "drop"]
    assert second["messages"][0] == user("hi")
    assert second["messages"][-1]["content"] == "42"


async def test_a_whole_answer_tells_the_same(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, gateway: Gateway
) -> None:
    says(upstream, SPEAKS, ANSWERS)

    answer = (await client.post(PATH, json=asks(tools=[TRUSTED]))).json()

    [choice] = answer["choices"]
    assert (answer["object"], choice["finish_reason"]) == ("chat.completion", "stop")
    assert choice["message"]["content"] == "Let me see.\n\n42"
    assert answer["usage"]["total_tokens"] == 28
    assert answer["id"] == answer["metadata"]["completion_item_id"]
    assert [item["type"] for item in await kept(ann, answer["metadata"])][1:] == [
        *("message", "mcp_call", "message"),
    ]
    await until(lambda: gateway.rows)
    assert (gateway.rows[0].prompt_tokens, gateway.rows[0].completion_tokens) == (22, 6)


async def test_thoughts_are_kept_if_they_are_wanted(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    says(upstream, [delta(reasoning="hm"), *SPEAKS], [delta(reasoning="so"), *ANSWERS])

    answer = (await client.post(PATH, json=asks(tools=[TRUSTED], store_reasoning=True))).json()

    assert answer["choices"][0]["message"]["reasoning_content"] == "hm\n\nso"
    assert [item["type"] for item in await kept(ann, answer["metadata"])][1:] == [
        *("reasoning", "message", "mcp_call", "reasoning", "message"),
    ]


async def test_usage_of_all_rounds_is_told_if_asked_for(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    says(upstream, SPEAKS, ANSWERS)

    answer = await client.post(
        PATH, json=streams(tools=[TRUSTED], stream_options={"include_usage": True})
    )

    *_, last, _ = parsed(answer.content)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 28)


async def test_a_turn_with_tools_can_be_gone_on_from(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    says(upstream, SPEAKS, ANSWERS)
    metadata = await told(client, asks(tools=[TRUSTED]))
    says(upstream, ANSWERS)

    await told(
        client, streams(user("Sure?"), conversation=metadata["conversation_id"], tools=[TRUSTED])
    )

    asked, assistant, output, answer, again = upstream.requests[-1].json["messages"]
    assert (asked, again) == (user("hi"), user("Sure?"))
    assert assistant["content"] == "Let me see."
    assert assistant["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a":1}'}
    assert (output["role"], output["content"]) == ("tool", "42")
    assert answer["content"] == "42"


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_function_of_the_client_s_comes_back_beside_a_server_s_tool(
    client: httpx.AsyncClient,
    ann: Caller,
    upstream: FakeUpstream,
    tools: Lent,
    is_stream: bool,
) -> None:
    both = [call(0, "{}", "add"), call(1, '{"x":', "mine"), call(1, "2}"), end("tool_calls")]
    says(upstream, both)

    answer = await client.post(PATH, json=asks(tools=[TRUSTED, FUNCTION], stream=is_stream))

    if is_stream:
        events = parsed(answer.content)
        metadata = events[0]
        pieces = [piece for delta in deltas(events) for piece in delta.get("tool_calls", ())]
        assert (pieces[0]["id"], pieces[0]["function"]["name"]) == ("call_mine", "mine")
        assert {piece["index"] for piece in pieces} == {0}
        assert "".join(piece["function"]["arguments"] for piece in pieces) == '{"x":2}'
        finish_reason = events[-2]["choices"][0]["finish_reason"]
    else:
        metadata = answer.json()["metadata"]
        [choice] = answer.json()["choices"]
        [made] = choice["message"]["tool_calls"]
        assert made == {
            "id": "call_mine",
            "type": "function",
            "function": {"name": "mine", "arguments": '{"x":2}'},
        }
        finish_reason = choice["finish_reason"]
    assert finish_reason == "tool_calls"
    assert tools.called == [("add", "{}")]
    said = await kept(ann, metadata)
    assert [item["type"] for item in said[1:]] == ["mcp_call", "function_call", "message"]
    assert said[-1]["id"] == metadata["completion_item_id"]

    says(upstream, ANSWERS)
    output = {"role": "tool", "tool_call_id": "call_mine", "content": "done"}
    await told(
        client, asks(output, conversation=metadata["conversation_id"], tools=[TRUSTED, FUNCTION])
    )
    given = upstream.requests[-1].json["messages"]
    assert [message["role"] for message in given] == ["user", "assistant", "tool", "tool"]


async def test_pages_are_cited_by_their_place_in_all_of_the_text(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, tools: Lent
) -> None:
    tools.does = lambda _: Outcome("found", sources=[PAGE])
    link = f"[A page]({PAGE.url})"
    found = [delta(content="Searching."), *called("web_search", '{"query":"jan"}')]
    says(upstream, found, [delta(content=f"See {link}."), end()])
    streamed = parsed((await client.post(PATH, json=streams(tools=[WEB]))).content)
    says(upstream, found, [delta(content=f"See {link}."), end()])
    whole = (await client.post(PATH, json=asks(tools=[WEB]))).json()["choices"][0]["message"]

    annotations = [a for delta in deltas(streamed) for a in delta.get("annotations", ())]
    assert whole["annotations"] == annotations
    [annotation] = annotations
    citation = annotation["url_citation"]
    assert (annotation["type"], citation["url"]) == ("url_citation", PAGE.url)
    assert text(streamed)[citation["start_index"] : citation["end_index"]] == link
    assert whole["content"] == text(streamed)
    _, _, search, message = await kept(ann, streamed[0])
    assert (search["type"], search["action"]["query"]) == ("web_search_call", "jan")
    part = message["content"][0]
    [cited] = part["annotations"]
    assert part["text"][cited["start_index"] : cited["end_index"]] == link


async def test_a_tool_that_fails_is_told_to_the_model_and_kept(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, tools: Lent
) -> None:
    error = {"type": "http_error", "code": 500, "message": "Oops\x00"}
    tools.does = lambda _: Outcome("Error: Oops", error)
    says(upstream, called("add"), [delta(content="It failed."), end()])

    metadata = await told(client, streams(tools=[TRUSTED]))

    assert upstream.requests[-1].json["messages"][-1]["content"] == "Error: Oops"
    failed = (await kept(ann, metadata))[1]
    assert (failed["status"], failed["error"]["message"]) == ("failed", "Oops\ufffd")


async def test_a_server_that_does_not_answer_is_done_without_and_remembered(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, tools: Lent
) -> None:
    tools.refuses_to_list = True
    says(upstream, ANSWERS)

    metadata = await told(client, streams(tools=[TRUSTED]))

    _, listed, message = await kept(ann, metadata)
    assert listed["error"] == "sums does not answer."
    assert message["content"][0]["text"] == "42"


async def test_who_leaves_ends_the_tools_and_finds_what_had_come(
    client: httpx.AsyncClient,
    ann: Caller,
    upstream: FakeUpstream,
    tools: Lent,
    gateway: Gateway,
) -> None:
    tools.hangs = True
    says(upstream, SPEAKS)

    async with client.stream("POST", PATH, json=streams(tools=[TRUSTED])) as answer:
        heard = b""
        async for part in answer.aiter_bytes():
            heard += part
            if b"see." in heard:
                await until(lambda: tools.running)
                break
    await until(lambda: not tools.running)
    await until(lambda: gateway.rows)

    said = await kept(ann, parsed(heard)[0])
    assert brief(said)[1:] == [
        ("assistant", "Let me see.", "completed"),
        ("mcp_call", '{"a":1}', "incomplete"),
    ]
    assert (gateway.rows[0].status, gateway.rows[0].error_code) == (499, "client_closed_request")


async def test_who_leaves_mid_word_finds_it(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.script(CHAT, stalls(called("add"), [delta(content="Fort")]))

    async with client.stream("POST", PATH, json=streams(tools=[TRUSTED])) as answer:
        heard = b""
        async for part in answer.aiter_bytes():
            heard += part
            if b"Fort" in heard:
                break
    await until(lambda: gateway.rows)

    said = await kept(ann, parsed(heard)[0])
    assert brief(said)[-1] == ("assistant", "Fort", "incomplete")
    assert said[-1]["id"] == parsed(heard)[0]["completion_item_id"]
    assert upstream.aborts_s


async def test_a_model_server_that_fails_in_the_middle_is_told_and_kept_as_failed(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    left = [as_events(*called("add")), as_events(delta(content="Fort"), is_whole=False)]

    async def script(_: Seen, reply: Reply) -> None:
        await reply.events(left.pop(0))

    upstream.script(CHAT, script)

    events = parsed((await client.post(PATH, json=streams(tools=[TRUSTED]))).content)

    assert events[-1]["error"]["code"] == "upstream_error"
    assert brief(await kept(ann, events[0]))[-1] == ("assistant", "Fort", "failed")


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_refusal_before_the_model_begins_has_its_status_and_keeps_nothing(
    client: httpx.AsyncClient, upstream: FakeUpstream, is_stream: bool
) -> None:
    async def refuse(_: Seen, reply: Reply) -> None:
        error = {"message": "No.", "type": "BadRequestError", "param": "messages", "code": 400}
        await reply.json({"error": error}, status=400)

    upstream.script(CHAT, refuse)

    answer = await client.post(PATH, json=asks(tools=[TRUSTED], stream=is_stream))

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")
    assert await rows() == (0, 0)


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_model_that_says_nothing_is_told_so(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, is_stream: bool
) -> None:
    says(upstream, [end()])

    answer = await client.post(PATH, json=asks(tools=[TRUSTED], stream=is_stream))

    metadata = parsed(answer.content)[0] if is_stream else answer.json()["metadata"]
    assert brief(await kept(ann, metadata))[-1] == ("assistant", "", "completed")


async def test_out_of_tokens_is_said(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    says(upstream, [delta(content="Fort"), end("length")])

    answer = (await client.post(PATH, json=asks(tools=[WEB]))).json()

    assert answer["choices"][0]["finish_reason"] == "length"
    message = (await kept(ann, answer["metadata"]))[-1]
    assert (message["status"], message["finish_reason"]) == ("incomplete", "length")


async def test_nothing_is_kept_where_nothing_is_to_be(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    says(upstream, SPEAKS, ANSWERS)

    answer = (await client.post(PATH, json=asks(tools=[TRUSTED], store=False))).json()

    assert answer["id"].startswith("chatcmpl_")
    assert answer["choices"][0]["message"]["content"] == "Let me see.\n\n42"
    assert await rows() == (0, 0)


@pytest.mark.parametrize(
    ("more", "param", "words"),
    [
        ({"tools": [SERVER]}, "tools[0].require_approval", "Responses API"),
        ({"tools": [WEB, {"type": "custom"}]}, "tools[1].type", "functions alone"),
        ({"tools": [WEB, {"type": "function"}]}, "tools[1].function", "must provide"),
        ({"tools": [WEB, FUNCTION, FUNCTION]}, "tools[2].name", "two tools"),
        ({"tools": [{"type": "mcp"}]}, "tools[0].server_label", "must provide"),
        ({"tools": [WEB], "n": 2}, "n", "one answer"),
        (
            {"tools": [WEB], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            *("tool_choice", "not among"),
        ),
    ],
)
async def test_what_can_t_be_is_refused_and_keeps_nothing(
    client: httpx.AsyncClient,
    upstream: FakeUpstream,
    more: dict[str, Any],
    param: str,
    words: str,
) -> None:
    answer = await client.post(PATH, json=streams(**more))

    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert words in error["message"]
    assert await rows() == (0, 0)
    assert upstream.requests == []


async def test_a_choice_in_the_words_of_chats_is_understood(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    says(upstream, ANSWERS)
    choice = {"type": "function", "function": {"name": "mine"}}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [choice]}}

    await told(client, asks(tools=[TRUSTED, FUNCTION], tool_choice=choice))
    forced = upstream.requests[-1].json
    await told(client, asks(tools=[TRUSTED, FUNCTION], tool_choice=allowed))
    narrowed = upstream.requests[-1].json

    assert forced["tool_choice"] == choice
    assert forced["tools"][0] == FUNCTION
    assert narrowed["tool_choice"] == "required"
    assert narrowed["tools"] == [FUNCTION]


async def test_without_tools_of_jan_s_they_are_refused(upstream: FakeUpstream, two: Two) -> None:
    async with running_gateway(upstream.url, credentials=two) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        async with gateway.client(ANN) as client:
            answer = await client.post(PATH, json=asks(tools=[TRUSTED]))

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools")


@pytest.mark.parametrize("said", [[FUNCTION, {"type": "unknown"}], [WEB, 1], {"type": "mcp"}, None])
async def test_tools_that_are_not_jan_s_are_for_the_model_server(
    client: httpx.AsyncClient, upstream: FakeUpstream, tools: Lent, said: Any
) -> None:
    body = asks(tools=said)

    answer = await client.post(PATH, json=body)

    assert answer.json()["id"] == answer.json()["metadata"]["completion_item_id"]
    assert upstream.requests[-1].json["tools"] == body["tools"]
    assert tools.listings == 0


async def test_the_official_sdk_reads_both(
    sdk: openai.AsyncOpenAI, upstream: FakeUpstream, tools: Lent
) -> None:
    tools.does = lambda _: Outcome("found", sources=[PAGE])
    search = called("web_search", '{"query":"jan"}')
    last = [delta(content=f"See {PAGE.url}"), call(0, "{}", "mine"), end("tool_calls")]
    asked: Any = {
        "model": MODEL,
        "messages": [user("hi")],
        "tools": [WEB, FUNCTION],
        "store": True,
    }
    says(upstream, search, last)
    whole: ChatCompletion = await sdk.chat.completions.create(**asked)
    says(upstream, search, last)
    async with sdk.chat.completions.stream(
        **asked | {"tools": [FUNCTION]}, extra_body={"tools": [WEB, FUNCTION]}
    ) as stream:
        async for _ in stream:
            pass
        streamed = await stream.get_final_completion()

    for answer in (whole, streamed):
        [choice] = answer.choices
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content == f"See {PAGE.url}"
        assert choice.message.tool_calls
        assert choice.message.tool_calls[0].id == "call_mine"
    assert whole.choices[0].message.annotations
    assert whole.choices[0].message.annotations[0].url_citation.url == PAGE.url
    assert whole.usage
    assert whole.usage.total_tokens == 28


async def test_a_process_that_ends_tells_it_and_keeps_what_had_come(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, gateway: Gateway, tools: Lent
) -> None:
    tools.hangs = True
    says(upstream, SPEAKS)
    asking = asyncio.create_task(client.post(PATH, json=streams(tools=[TRUSTED])))
    await until(lambda: tools.running)

    gateway.front.passages.cut()
    events = parsed((await asking).content)

    assert events[-1]["error"]["code"] == "shutting_down"
    assert brief(await kept(ann, events[0]))[-1] == ("mcp_call", '{"a":1}', "incomplete")
    assert not tools.running
