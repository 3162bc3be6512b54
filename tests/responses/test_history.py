"""What came before: chains of responses, references to items, tokens counted with them."""

import json
from typing import Any

import pytest

from jan.conversations import record
from jan.responses import history
from tests.conftest import execute
from tests.conversations.owners import new_conversation, user
from tests.fakes import Reply, Seen, chat_events
from tests.responses import rules
from tests.responses.chats import as_events, call, end, usage
from tests.responses.stored import PATH, Served, rows

CHAT = "/v1/chat/completions"
HELLO = ("assistant", "Hello there!")

PLANT = """
WITH planted AS (
    INSERT INTO response (id, project_id, owner_id, previous_response_id, status, is_background,
        is_stream, parameters, object, caller, ended_at)
    SELECT 'resp_' || n, $1, $2, 'resp_' || n - 1, 'completed', false, false, '{}', '{}', '{}',
        now()
    FROM generate_series(1, $3::int) AS n
)
INSERT INTO response_item (response_id, position, is_output, id, project_id, owner_id, item)
SELECT 'resp_' || n, 1, false, 'msg_' || n, $1, $2,
    json_build_object('type', 'message', 'role', 'user', 'content', n::text)
FROM generate_series(1, $3::int) AS n
"""


async def plant(served: Served, length: int) -> str:
    """Plant a chain of responses, and tell the last one's id. The first goes on from none."""
    await execute(PLANT, *served.ann.require_place(), length)
    return f"resp_{length}"


async def test_a_chain_is_read_from_its_beginning(served: Served) -> None:
    first = await served.ask("one", instructions="Be brief.")
    second = await served.ask("two", previous_response_id=first["id"])
    third = await served.ask(
        "three", previous_response_id=second["id"], instructions="Be long.", store=False
    )

    assert served.read == [
        ("system", "Be long."),
        ("user", "one"),
        HELLO,
        ("user", "two"),
        HELLO,
        ("user", "three"),
    ]
    assert third["previous_response_id"] == second["id"]
    assert (await served.get(second["id"]))["previous_response_id"] == first["id"]


async def test_a_chain_may_part(served: Served) -> None:
    first = await served.ask("one")
    await served.ask("left", previous_response_id=first["id"])
    await served.ask("right", previous_response_id=first["id"])

    assert served.read == [("user", "one"), HELLO, ("user", "right")]


async def test_a_turn_with_tools_goes_on_by_the_outputs_alone(served: Served) -> None:
    async def call_two(_: Seen, reply: Reply) -> None:
        chunks = (call(0, '{"a": 1}', "add"), call(1, "{}", "sub"), end("tool_calls"), usage())
        await reply.events(as_events(*chunks))

    served.upstream.script(CHAT, call_two)
    answer = await served.post("add", stream=True)
    first = rules.check(rules.parsed(answer.content))
    served.upstream.script(CHAT, chat_two)
    outputs = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "4"}
        for item in first["output"]
    ]
    await served.ask(outputs, previous_response_id=first["id"])

    messages = served.upstream.requests[-1].json["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]
    assert [one["id"] for one in messages[1]["tool_calls"]] == ["call_add", "call_sub"]


async def chat_two(_: Seen, reply: Reply) -> None:
    """Answer in few words."""
    choice = {"message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}
    await reply.json({"choices": [choice]})


@pytest.mark.parametrize("stream", [True, False])
async def test_a_predecessor_that_is_not_there_is_told_in_openais_words(
    served: Served, stream: bool
) -> None:
    deleted = await served.ask()
    await served.client.delete(f"{PATH}/{deleted['id']}")
    theirs = (
        await served.stranger.post(PATH, json={"model": deleted["model"], "input": "hi"})
    ).json()
    made = len(served.upstream.requests)

    for response_id in (deleted["id"], theirs["id"], "resp_none", "x" * 500):
        answer = await served.post(previous_response_id=response_id, stream=stream)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (404, "previous_response_not_found")
        assert error["param"] == "previous_response_id"
    assert len(served.upstream.requests) == made
    assert len(await rows()) == 1


async def test_a_predecessor_that_was_deleted_further_back_ends_the_chain(served: Served) -> None:
    ids: list[str] = []
    for said in ("one", "two", "three"):
        previous = ids[-1] if ids else None
        ids.append((await served.ask(said, previous_response_id=previous))["id"])
    await served.client.delete(f"{PATH}/{ids[0]}")
    await served.ask("four", previous_response_id=ids[2])

    assert served.read[0] == ("user", "two")
    assert served.read[-1] == ("user", "four")


@pytest.mark.parametrize("status", ["queued", "in_progress", "failed", "cancelled"])
async def test_only_what_has_ended_well_can_be_gone_on_from(served: Served, status: str) -> None:
    made = await served.ask()
    await execute(
        "UPDATE response SET status = $1,"
        " ended_at = CASE WHEN $1 IN ('failed', 'cancelled') THEN now() END,"
        " lease_expires_at = CASE WHEN $1 = 'in_progress' THEN now() END",
        status,
    )
    answer = await served.post(previous_response_id=made["id"])

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (409, "conflict")
    assert status.replace("_", " ") in error["message"]


async def test_an_incomplete_response_can_be_gone_on_from(served: Served) -> None:
    async def cut(_: Seen, reply: Reply) -> None:
        await reply.json({"choices": [{"message": {"content": "Hel"}, "finish_reason": "length"}]})

    served.upstream.script(CHAT, cut)
    made = await served.ask()
    await served.ask("on", previous_response_id=made["id"])

    assert made["status"] == "incomplete"
    assert served.read == [("user", "hi"), ("assistant", "Hel"), ("user", "on")]


@pytest.mark.parametrize("length", [1, 2, 7])
async def test_a_circle_of_predecessors_is_read_once(served: Served, length: int) -> None:
    last = await plant(served, length)
    await execute("UPDATE response SET previous_response_id = $1 WHERE id = 'resp_1'", last)
    await served.ask("end", previous_response_id=last)

    said = [content for _, content in served.read]
    assert said == [*(f"{n}" for n in range(1, length + 1)), "end"]


async def test_a_chain_may_be_very_long(served: Served) -> None:
    last = await plant(served, 3000)
    await served.ask("end", previous_response_id=last)

    assert [content for _, content in served.read] == [*(f"{n}" for n in range(1, 3001)), "end"]


async def test_a_chain_that_is_too_long_is_refused_in_words(served: Served) -> None:
    last = await plant(served, history.MAX_LINKS + 5)
    answer = await served.post(previous_response_id=last)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_request")
    assert f"{history.MAX_LINKS}" in error["message"]
    assert served.upstream.requests == []


async def test_history_that_is_too_long_for_the_model_is_refused_or_cut(served: Served) -> None:
    async def read_little(seen: Seen, reply: Reply) -> None:
        length = sum(len(message["content"]) for message in seen.json["messages"])
        if length > 100:
            words = f"maximum context length is 100 tokens. It contains {length} input tokens"
            await reply.json({"error": {"message": words, "code": 400}}, 400)
            return
        await reply.events(chat_events("ok", usage=True))

    last = await plant(served, 200)
    served.upstream.script(CHAT, read_little)
    refused = await served.post(previous_response_id=last, stream=True)
    cut = await served.post(previous_response_id=last, stream=True, truncation="auto")

    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert rules.check(rules.parsed(cut.content))["status"] == "completed"
    assert served.read[-1] == ("user", "hi")


async def test_both_kinds_of_history_at_once_are_refused(served: Served) -> None:
    answer = await served.post(previous_response_id="resp_1", conversation="conv_1")

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "previous_response_id")


async def test_a_reference_stands_for_an_item_wherever_it_is(served: Served) -> None:
    made = await served.ask("one")
    conversation_id = await new_conversation(served.ann)
    [kept] = await record.append(served.ann, conversation_id, [user("from a conversation")])
    said: list[dict[str, Any]] = [
        {"role": "user", "content": "before"},
        {"type": "item_reference", "id": made["output"][0]["id"]},
        {"id": kept["id"]},
        {"role": "user", "content": "after"},
    ]
    second = await served.ask(said)

    assert served.read == [
        ("user", "before"),
        HELLO,
        ("user", "from a conversation"),
        ("user", "after"),
    ]
    given = (await served.get(second["id"], "/input_items?order=asc"))["data"]
    assert given[1] == made["output"][0]
    assert given[2]["content"] == kept["content"]


async def test_input_items_of_earlier_responses_can_be_referred_to(served: Served) -> None:
    made = await served.ask("one")
    [given] = (await served.get(made["id"], "/input_items"))["data"]
    await served.ask([{"type": "item_reference", "id": given["id"]}], store=False)

    assert served.read == [("user", "one")]


async def test_a_reference_to_nothing_or_to_a_strangers_item_is_not_found(served: Served) -> None:
    body = {"model": "fake/model-1", "input": "secret"}
    theirs = (await served.stranger.post(PATH, json=body)).json()
    conversation_id = await new_conversation(served.keys.callers["bob"])
    await record.append(served.keys.callers["bob"], conversation_id, [user("a", id="msg_theirs")])
    made = len(served.upstream.requests)

    for item_id in (theirs["output"][0]["id"], "msg_theirs", "msg_none"):
        said = [{"role": "user", "content": "a"}, {"type": "item_reference", "id": item_id}]
        answer = await served.post(said)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (404, "input[1].id")
        assert error["code"] == "not_found"
    assert len(served.upstream.requests) == made


async def test_a_reference_to_an_item_of_the_same_conversation_is_added_anew(
    served: Served,
) -> None:
    conversation_id = await new_conversation(served.ann)
    first = await served.ask("one", conversation=conversation_id)
    reference = {"type": "item_reference", "id": first["output"][0]["id"]}
    await served.ask([reference, {"role": "user", "content": "two"}], conversation=conversation_id)

    kept = await record.history(served.ann, conversation_id)
    assert len(kept) == 5
    assert len({item["id"] for item in kept}) == 5


async def test_ids_that_a_client_repeats_are_told_apart(served: Served) -> None:
    said = [{"role": "user", "content": f"{n}", "id": "msg_same"} for n in range(3)]
    made = await served.ask(said)

    seen: list[str] = []
    after = ""
    while page := (await served.get(made["id"], f"/input_items?limit=1&order=asc{after}"))["data"]:
        seen.append(page[0]["content"][0]["text"])
        after = f"&after={page[0]['id']}"
    assert seen == ["0", "1", "2"]


async def test_tokens_are_counted_with_what_came_before(served: Served) -> None:
    made = await served.ask("one")
    conversation_id = await new_conversation(served.ann)
    await served.ask("one", conversation=conversation_id)
    body = {"model": made["model"], "input": "two"}

    async def count(**more: Any) -> Any:
        answer = await served.client.post(f"{PATH}/input_tokens", json=body | more)
        return answer.json()

    assert (await count(previous_response_id=made["id"]))["input_tokens"] == 3
    assert (await count(conversation=conversation_id))["input_tokens"] == 3
    assert (await count(previous_response_id="resp_no"))["error"]["code"] == (
        "previous_response_not_found"
    )
    both = await count(previous_response_id=made["id"], conversation=conversation_id)
    assert both["error"]["param"] == "previous_response_id"
    assert len(await rows()) == 2


async def test_an_upstream_that_is_told_history_is_told_it_in_order(served: Served) -> None:
    """Several items of one response keep their places, more than ten of them too."""
    said = [{"role": "user", "content": f"{n}"} for n in range(15)]
    made = await served.ask(said)
    await served.ask("end", previous_response_id=made["id"])

    body = json.loads(served.upstream.requests[-1].body)
    words = [message["content"] for message in body["messages"]]
    assert words == [*(f"{n}" for n in range(15)), "Hello there!", "end"]
