"""Chats that are kept: what the client is told, what the model is told, what stays."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from jan.caller import Caller
from jan.conversations import items, record
from jan.db.engine import Database
from tests.conftest import execute, fetch, locking, until_blocked
from tests.conv.conftest import PROJECT
from tests.conv.talks import (
    CHAT,
    PATH,
    answers,
    asks,
    brief,
    kept,
    parsed,
    rows,
    says,
    streams,
    told,
    user,
)
from tests.fakes import DONE, MODEL, USAGE, FakeUpstream, Reply, Seen, chat_chunk, chat_events
from tests.gateways import Gateway, running_gateway, until
from tests.responses.chats import as_events, call, delta, end

IMAGE: dict[str, Any] = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"},
}
ADD = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}


async def workspace(instruction: str | None) -> str:
    """Make a workspace of Ann's."""
    await execute(
        "INSERT INTO workspace (id, project_id, owner_id, name, instruction)"
        " VALUES ('ws_1', $1, 'user_ann', 'Work', $2)",
        *(PROJECT, instruction),
    )
    return "ws_1"


async def conversation(*said: items.Item, caller: Caller, workspace_id: str | None = None) -> str:
    """Make a conversation in which that was said."""
    await execute(
        "INSERT INTO conversation (id, project_id, owner_id, workspace_id) VALUES ($1, $2, $3, $4)",
        *("conv_1", PROJECT, caller.owner_id, workspace_id),
    )
    if said:
        await record.append(caller, "conv_1", [items.with_id(item) for item in said])
    return "conv_1"


def sent(upstream: FakeUpstream) -> list[dict[str, Any]]:
    """The messages that the model server got last."""
    return upstream.requests[-1].json["messages"]


# What the client is told


async def test_a_whole_answer_has_metadata_and_the_id_of_its_item(
    client: httpx.AsyncClient, ann: Caller
) -> None:
    answer = (await client.post(PATH, json=asks())).json()

    metadata = answer.pop("metadata")
    ask, answered = await kept(ann, metadata)
    assert metadata == {
        "conversation_id": metadata["conversation_id"],
        "conversation_created": True,
        "conversation_title": "hi",
        "ask_item_id": ask["id"],
        "completion_item_id": answered["id"],
        "store": True,
        "store_reasoning": False,
    }
    assert answer == {
        "id": answered["id"],
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello there!",
                    "vllm_says": {"a": 1.0},
                },
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
        "kv_transfer_params": None,
    }


async def test_what_is_not_read_of_a_whole_answer_stays_as_it_came(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    async def answer_oddly(_: Seen, reply: Reply) -> None:
        await reply.whole(
            b'{"id": "x", "choices":[{"message":{"content":"a"}, "b": 1.0}], "unknown": 1e400}'
        )

    upstream.script(CHAT, answer_oddly)
    answer = await client.post(PATH, json=asks())

    assert b'[{"message":{"content":"a"}, "b": 1.0}]' in answer.content
    assert b'"unknown":1e400' in answer.content


async def test_a_stream_begins_with_metadata_and_goes_on_byte_for_byte(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, gateway: Gateway
) -> None:
    answer = await client.post(PATH, json=streams())

    first, _, rest = answer.content.partition(b"\n\n")
    metadata = json.loads(first.removeprefix(b"data: "))
    ask, answered = await kept(ann, metadata)
    assert metadata == {
        "object": "chat.completion.metadata",
        "conversation_id": metadata["conversation_id"],
        "conversation_created": True,
        "conversation_title": "hi",
        "ask_item_id": ask["id"],
        "completion_item_id": answered["id"],
        "store": True,
        "store_reasoning": False,
        "choices": [],
    }
    assert rest == b"".join(chat_events("Hello", " there", "!", usage=False))
    assert rest.endswith(b"data: [DONE]\n\n")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert upstream.requests[0].json["stream_options"] == {"include_usage": True}
    await until(lambda: gateway.rows)
    [row] = gateway.rows
    assert (row.path, row.status, row.model, row.is_stream) == (PATH, 200, MODEL, True)
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (11, 3, 4)
    assert row.time_to_first_token_ms


async def test_usage_is_told_where_it_is_asked_for(client: httpx.AsyncClient) -> None:
    body = streams(stream_options={"include_usage": True})

    answer = await client.post(PATH, json=body)

    assert answer.content.endswith(b"".join(chat_events("Hello", " there", "!", usage=True)))


@pytest.mark.parametrize("split_every", [1, 7, 50])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
async def test_characters_are_whole_however_a_stream_is_split(
    client: httpx.AsyncClient,
    ann: Caller,
    upstream: FakeUpstream,
    split_every: int,
    newline: bytes,
) -> None:
    events = as_events(delta(content="Grüße "), delta(content="🌍世"), delta(content="界"), end())
    events = [event.replace(b"\n", newline) for event in events]

    async def dribble(_: Seen, reply: Reply) -> None:
        await reply.events(events, split_every=split_every)

    upstream.script(CHAT, dribble)
    answer = await client.post(PATH, json=streams())

    assert answer.content.endswith(b"".join(events))
    metadata = json.loads(answer.content.partition(b"\n\n")[0].removeprefix(b"data: "))
    assert brief(await kept(ann, metadata))[1] == ("assistant", "Grüße 🌍世界", "completed")


async def test_bytes_that_are_no_text_pass_and_are_kept_as_replacements(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    [event] = as_events(delta(content="a?b"), is_whole=False)
    event = event.replace(b"?", b"\xe4\xb8")

    async def stream(_: Seen, reply: Reply) -> None:
        await reply.events([event, *as_events(delta(content="\x00c"), end())], split_every=1)

    upstream.script(CHAT, stream)
    answer = await client.post(PATH, json=streams())

    assert event in answer.content
    metadata = json.loads(answer.content.partition(b"\n\n")[0].removeprefix(b"data: "))
    assert brief(await kept(ann, metadata))[1] == ("assistant", "a\ufffdb\ufffdc", "completed")


async def test_what_the_first_event_names_can_be_fetched_when_it_is_seen(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    may_speak = asyncio.Event()

    async def wait(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await may_speak.wait()
        await reply.chunk(b"".join(chat_events("Hello", usage=False)))
        await reply.end()

    upstream.script(CHAT, wait)
    async with client.stream("POST", PATH, json=streams(user("one"))) as answer:
        parts = answer.aiter_bytes()
        [metadata] = parsed(await anext(parts))
        path = f"/v1/conversations/{metadata['conversation_id']}"
        ask = await client.get(f"{path}/items/{metadata['ask_item_id']}")
        early = await client.get(f"{path}/items/{metadata['completion_item_id']}")
        may_speak.set()
        while not (await anext(parts)).endswith(DONE):
            pass
        answered = await client.get(f"{path}/items/{metadata['completion_item_id']}")

    assert ask.json()["content"] == [{"type": "input_text", "text": "one"}]
    assert early.status_code == 404
    assert answered.json()["content"][0]["text"] == "Hello"
    assert (await client.get(path)).json()["metadata"] == {"model": MODEL}


async def test_the_request_is_committed_before_the_model_is_called(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    seen: list[tuple[int, int]] = []

    async def look(_: Seen, reply: Reply) -> None:
        seen.append(await rows())
        await reply.json({"choices": [{"message": {"content": "a"}}]})

    upstream.script(CHAT, look)
    await client.post(PATH, json=asks(user("one")))

    assert seen == [(1, 1)]


async def test_a_conversation_is_called_after_what_was_said_first(
    client: httpx.AsyncClient,
) -> None:
    said = [{"role": "system", "content": "Be brief."}, user("  How  are\nyou? " + "é" * 60)]

    metadata = await told(client, asks(*said))

    title = metadata["conversation_title"]
    assert title.startswith("How are you? é")
    assert len(title) == 50
    [row] = await fetch("SELECT title, metadata FROM conversation")
    assert row["title"] == title
    assert json.loads(row["metadata"]) == {"model": MODEL}
    again = await told(client, asks(user("x"), conversation=metadata["conversation_id"]))
    assert again["conversation_title"] == title
    assert again["conversation_created"] is False


# What the model is told


async def test_the_request_passes_but_for_what_is_ours(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    body = (
        b'{"model":"fake\\/model-1","temperature":0,"seed":123456789012345678901234567890,'
        b'"store":false,"store_reasoning":true,"history":"stored","conversation":"",'
        b'"top_p":1e400,"x":1.0,"messages":[{"role":"user","name":"a","content":"\\u00e9" }]}'
    )

    await client.post(PATH, content=body)

    assert upstream.requests[0].body == (
        b'{"model":"fake\\/model-1","temperature":0,"seed":123456789012345678901234567890,'
        b'"top_p":1e400,"x":1.0,"messages":[{"role":"user","name":"a","content":"\\u00e9" }]}'
    )


async def test_the_model_is_given_the_history(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    first = await told(client, asks(user("one")))
    odd = user("two") | {"name": "ann", "unknown": [1]}

    await told(client, asks(odd, conversation=first["conversation_id"]))

    assert sent(upstream) == [user("one"), {"role": "assistant", "content": "Hello there!"}, odd]


@pytest.mark.parametrize("history", ["stored", "sent"])
async def test_the_model_is_given_the_instruction_in_one_leading_system_message(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, history: str
) -> None:
    workspace_id = await workspace("Be brief.")
    conversation_id = await conversation(
        {"role": "user", "content": "old"}, caller=ann, workspace_id=workspace_id
    )
    said = [
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": [{"type": "text", "text": "Be true."}]},
        user("new"),
    ]

    await told(client, asks(*said, conversation=conversation_id, history=history))

    old = [user("old")] if history == "stored" else []
    system = {"role": "system", "content": "Be brief.\n\nBe kind.\n\nBe true."}
    assert sent(upstream) == [system, *old, user("new")]
    assert brief(await record.history(ann, conversation_id)) == [
        ("user", "old", "completed"),
        ("user", "new", "completed"),
        ("assistant", "Hello there!", "completed"),
    ]


async def test_the_instruction_alone_leads_too(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    conversation_id = await conversation(caller=ann, workspace_id=await workspace("Be brief."))

    await told(client, asks(conversation=conversation_id))

    assert sent(upstream) == [{"role": "system", "content": "Be brief."}, user("hi")]


async def test_a_conversation_that_is_filed_gets_the_instruction_and_loses_it_again(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    made = await client.post("/v1/conv/workspaces", json={"name": "W", "instruction": "Be brief."})
    conversation_id = (await told(client, asks()))["conversation_id"]
    path = f"/v1/conversations/{conversation_id}/workspace"
    leading: list[dict[str, Any]] = []

    for workspace_id in (made.json()["id"], None):
        await client.patch(path, json={"workspace_id": workspace_id})
        await told(client, asks(conversation=conversation_id))
        leading.append(sent(upstream)[0])

    assert leading == [{"role": "system", "content": "Be brief."}, user("hi")]


async def test_a_conversation_begins_with_instructions_that_later_ones_replace(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    system = {"role": "system", "content": "Be kind."}
    metadata = await told(client, asks(system, user("a")))
    more = {"conversation": metadata["conversation_id"]}

    await told(client, asks(user("b"), **more))
    with_first = sent(upstream)[0]
    await told(client, asks({"role": "system", "content": "Be cruel."}, user("c"), **more))
    with_other = [message for message in sent(upstream) if message["role"] == "system"]

    assert with_first == system
    assert with_other == [{"role": "system", "content": "Be cruel."}]
    roles = [item["role"] for item in await kept(ann, metadata)]
    assert roles == ["system", *["user", "assistant"] * 3]


async def test_a_client_that_sends_the_history_is_taken_at_its_word(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    first = await told(client, asks(user("one")))
    said = [user("one"), {"role": "assistant", "content": "Hello there!"}, user("two")]
    more = {"conversation": first["conversation_id"], "history": "sent"}

    second = await told(client, asks(*said, **more))

    assert sent(upstream) == said
    kept_items = await kept(ann, first)
    assert brief(kept_items) == [
        ("user", "one", "completed"),
        ("assistant", "Hello there!", "completed"),
        ("user", "two", "completed"),
        ("assistant", "Hello there!", "completed"),
    ]
    assert second["ask_item_id"] == kept_items[2]["id"]


async def test_a_new_conversation_keeps_all_of_the_history_that_was_sent(
    client: httpx.AsyncClient, ann: Caller
) -> None:
    said = [
        {"role": "system", "content": "Be kind."},
        user("one"),
        {"role": "assistant", "content": "1", "reasoning_content": "hm", "tool_calls": [ADD]},
        {"role": "tool", "tool_call_id": "call_1", "content": "2"},
    ]

    metadata = await told(client, asks(*said, history="sent", store_reasoning=True))

    assert brief(await kept(ann, metadata)) == [
        ("system", "Be kind.", "completed"),
        ("user", "one", "completed"),
        ("reasoning", "hm", None),
        ("assistant", "1", "completed"),
        ("function_call", '{"a":1}', "completed"),
        ("function_call_output", "2", "completed"),
        ("assistant", "Hello there!", "completed"),
    ]


# What stays


async def test_parts_of_messages_are_kept_and_given_again(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    data = {"file_data": "data:application/pdf;base64,AA", "filename": "f"}
    file = {"type": "file", "file": data}
    content = [{"type": "text", "text": "What is this?"}, IMAGE, audio, file]
    metadata = await told(client, asks({"role": "user", "content": content}))

    await told(client, asks(conversation=metadata["conversation_id"]))

    assert (await kept(ann, metadata))[0]["content"] == [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": IMAGE["image_url"]["url"], "detail": "low"},
        audio,
        {"type": "input_file"} | data,
    ]
    assert sent(upstream)[0]["content"] == content


@pytest.mark.parametrize("is_stream", [True, False])
async def test_calls_are_kept_in_their_order_and_their_outputs_follow(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, is_stream: bool
) -> None:
    calls = [
        ADD | {"id": f"call_{name}", "function": {"name": name, "arguments": f'{{"{name}":1}}'}}
        for name in ("add", "sub", "mul")
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    if is_stream:
        upstream.script(
            CHAT,
            says(
                delta(role="assistant", content=""),
                delta(tool_calls=[piece | {"index": i} for i, piece in enumerate(calls[:2])]),
                call(2, '{"mu', "mul"),
                call(2, 'l":1}'),
                end("tool_calls"),
            ),
        )
    else:
        upstream.script(CHAT, answers(message, "tool_calls"))
    metadata = await told(client, asks(user("one"), stream=is_stream))
    outputs = [
        {"role": "tool", "tool_call_id": piece["id"], "content": piece["id"]} for piece in calls
    ]
    upstream.script(CHAT, says(delta(content="ok"), end()))

    await client.post(PATH, json=streams(*outputs, conversation=metadata["conversation_id"]))

    said = await kept(ann, metadata)
    assert brief(said) == [
        ("user", "one", "completed"),
        ("assistant", "", "completed"),
        *(("function_call", f'{{"{name}":1}}', "completed") for name in ("add", "sub", "mul")),
        *(("function_call_output", piece["id"], "completed") for piece in calls),
        ("assistant", "ok", "completed"),
    ]
    assert [item["call_id"] for item in said[2:5]] == ["call_add", "call_sub", "call_mul"]
    assert said[1]["id"] == metadata["completion_item_id"]
    assert said[1]["finish_reason"] == "tool_calls"
    assert sent(upstream) == [user("one"), message, *outputs]


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("store_reasoning", [True, False])
async def test_thoughts_are_kept_if_that_is_asked_for(  # noqa: PLR0913, PLR0917 - as many as there are cases
    client: httpx.AsyncClient,
    ann: Caller,
    upstream: FakeUpstream,
    is_stream: bool,
    name: str,
    store_reasoning: bool,
) -> None:
    if is_stream:
        thinks = says(delta(**{name: "h"}), delta(**{name: "m"}), delta(content="a"), end())
    else:
        thinks = answers({"content": "a", name: "hm"})
    upstream.script(CHAT, thinks)

    metadata = await told(client, asks(stream=is_stream, store_reasoning=store_reasoning))

    thought = [("reasoning", "hm", "completed")] if store_reasoning else []
    assert metadata["store_reasoning"] is store_reasoning
    assert brief(await kept(ann, metadata)) == [
        ("user", "hi", "completed"),
        *thought,
        ("assistant", "a", "completed"),
    ]


async def test_a_refusal_is_kept_as_one(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, says(delta(refusal="I "), delta(refusal="won't."), end()))

    metadata = await told(client, streams())

    assert (await kept(ann, metadata))[1]["content"] == [{"type": "refusal", "refusal": "I won't."}]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize("is_stream", [True, False])
async def test_an_answer_that_the_model_did_not_finish_is_incomplete(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, reason: str, is_stream: bool
) -> None:
    upstream.script(
        CHAT,
        says(delta(content="a"), end(reason)) if is_stream else answers({"content": "a"}, reason),
    )

    metadata = await told(client, asks(stream=is_stream))

    answered = (await kept(ann, metadata))[1]
    assert brief([answered]) == [("assistant", "a", "incomplete")]
    assert answered["finish_reason"] == reason


async def test_of_several_alternatives_the_first_is_kept(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    def of(index: int, content: str) -> dict[str, Any]:
        chunk = delta(content=content)
        chunk["choices"][0]["index"] = index
        return chunk

    upstream.script(CHAT, says(of(1, "b"), of(0, "a"), of(1, "b"), of(0, "a"), end()))

    metadata = await told(client, streams(n=2))

    assert brief(await kept(ann, metadata))[1] == ("assistant", "aa", "completed")


@pytest.mark.parametrize("is_stream", [True, False])
async def test_what_is_not_to_be_stored_is_not(
    client: httpx.AsyncClient, upstream: FakeUpstream, is_stream: bool
) -> None:
    metadata = await told(client, asks(store=False, stream=is_stream, store_reasoning=True))

    names = ("conversation_id", "conversation_title", "ask_item_id", "completion_item_id")
    assert {metadata[name] for name in names} == {None}
    assert (metadata["store"], metadata["conversation_created"]) == (False, False)
    assert await rows() == (0, 0)


async def test_nothing_is_stored_unless_it_is_asked_for(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json={"model": MODEL, "messages": [user("hi")]})

    assert answer.json()["id"] == "chatcmpl-1"
    assert await rows() == (0, 0)


async def test_a_conversation_is_read_though_nothing_is_stored(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    conversation_id = await conversation(
        user("old"), caller=ann, workspace_id=await workspace("Be brief.")
    )

    metadata = await told(client, asks(store=False, conversation=conversation_id))

    assert metadata["conversation_id"] == conversation_id
    assert metadata["completion_item_id"] is None
    system = {"role": "system", "content": "Be brief."}
    assert sent(upstream) == [system, user("old"), user("hi")]
    assert await rows() == (1, 1)


async def test_chats_at_once_lose_nothing(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream
) -> None:
    first = await told(client, asks(user("0")))
    more = {"conversation": first["conversation_id"]}

    await asyncio.gather(*(told(client, streams(user(str(n)), **more)) for n in range(1, 9)))

    said = brief(await kept(ann, first))
    assert sorted(text for role, text, _ in said if role == "user") == [str(n) for n in range(9)]
    assert sum(role == "assistant" for role, _, _ in said) == 9
    order = [text for role, text, _ in said if role == "user"]
    for seen in upstream.requests:
        spoken = [m["content"] for m in seen.json["messages"] if m["role"] == "user"]
        assert spoken == order[: len(spoken)]


async def test_who_waits_for_another_is_told_what_they_said(
    client: httpx.AsyncClient, ann: Caller, upstream: FakeUpstream, database: Database
) -> None:
    conversation_id = await conversation(caller=ann)
    said = json.dumps(items.with_id(user("first")))

    async with locking(database, "SELECT FROM conversation FOR UPDATE") as other:
        asking = asyncio.create_task(client.post(PATH, json=asks(conversation=conversation_id)))
        await until_blocked(other)
        await other.execute(
            "INSERT INTO conversation_item (conversation_id, id, project_id, owner_id, type, item)"
            " VALUES ($1, 'msg_1', $2, $3, 'message', $4)",
            *(conversation_id, PROJECT, ann.owner_id, said),
        )
    await asking

    assert sent(upstream) == [user("first"), user("hi")]


async def test_silence_is_filled(two: Any, upstream: FakeUpstream) -> None:
    async def think_long(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await asyncio.sleep(0.3)
        await reply.chunk(chat_chunk("slow") + DONE)
        await reply.end()

    upstream.script(CHAT, think_long)
    async with running_gateway(upstream.url, credentials=two, heartbeat_s=0.05) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        async with gateway.client("ann") as client:
            answer = await client.post(PATH, json=streams())

    assert answer.content.count(b": keep-alive\n\n") >= 2
    assert answer.content.endswith(chat_chunk("slow") + DONE)


async def test_models_are_listed_here_too(client: httpx.AsyncClient) -> None:
    here = await client.get("/v1/conv/models")

    assert here.json() == (await client.get("/v1/models")).json()
    one = await client.get(f"/v1/conv/models/{MODEL}")
    assert one.json() == here.json()["data"][0]
