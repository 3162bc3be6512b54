"""Conversations made shorter: a sealed summary that only its owner can give back."""

import base64
from dataclasses import replace
from typing import Any

import httpx
import pytest

from jan.conversations import record
from jan.errors import InvalidRequest
from jan.responses.compaction import INTRODUCTION, Seal
from tests.conversations.owners import new_conversation, user
from tests.fakes import MODEL, Reply, Script, Seen
from tests.gateways import CALLER, KEY_SECRET, until
from tests.responses.stored import PATH, Served, rows

CHAT = "/v1/chat/completions"
TOLD = f"{INTRODUCTION}\n\nIn short."


def says(text: str | None) -> Script:
    """Script a whole answer."""

    async def script(_: Seen, reply: Reply) -> None:
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        await reply.json({"choices": [choice], "usage": usage})

    return script


async def compact(served: Served, **body: Any) -> httpx.Response:
    """Have something made shorter."""
    served.upstream.script(CHAT, says("In short."))
    return await served.client.post(f"{PATH}/compact", json={"model": MODEL} | body)


def test_what_is_sealed_opens_for_its_owner_alone() -> None:
    seal = Seal("s" * 32)
    item = seal.close(CALLER, "é")

    [opened] = seal.opened(CALLER, [item], "input")

    assert opened["content"][0]["text"].endswith("é")
    assert "é" not in item["encrypted_content"]
    for caller in (replace(CALLER, project_id="proj_2"), replace(CALLER, key_id="key_2")):
        with pytest.raises(InvalidRequest) as refused:
            seal.opened(caller, [user("a"), item], "input")
        assert refused.value.param == "input[1].encrypted_content"
    with pytest.raises(InvalidRequest):
        Seal("t" * 32).opened(CALLER, [item], "input")


def test_nothing_but_what_was_sealed_opens() -> None:
    seal = Seal("s" * 32)
    good = base64.urlsafe_b64decode(seal.close(CALLER, "a")["encrypted_content"])
    altered = [good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :] for index in (0, 20)]
    broken: list[Any] = [base64.urlsafe_b64encode(each).decode() for each in altered]
    broken += ["", "a", "é", "====", None, 3, {}, base64.urlsafe_b64encode(good[:12]).decode()]

    for content in broken:
        with pytest.raises(InvalidRequest):
            seal.opened(CALLER, [{"type": "compaction", "encrypted_content": content}], "input")
    with pytest.raises(InvalidRequest):
        seal.opened(CALLER, [{"type": "compaction"}], "input")


async def test_a_chain_is_made_shorter_and_gone_on_from(served: Served) -> None:
    first = await served.ask("one")
    second = await served.ask("two", previous_response_id=first["id"])
    answer = await compact(
        served, previous_response_id=second["id"], input="three", instructions="Be brief."
    )

    said = answer.json()
    assert (answer.status_code, said["object"]) == (200, "response.compaction")
    assert [item["type"] for item in said["output"]] == ["message"] * 3 + ["compaction"]
    assert [item["content"][0]["text"] for item in said["output"][:3]] == ["one", "two", "three"]
    assert said["usage"]["total_tokens"] == 7
    asked = served.read
    assert [role for role, _ in asked] == [
        *("system", "user", "assistant", "user", "assistant", "user", "user")
    ]
    assert len(await rows()) == 2  # nothing is stored of it

    third = await served.ask([*said["output"], {"role": "user", "content": "four"}])
    assert [content for _, content in served.read] == ["one", "two", "three", TOLD, "four"]
    await served.ask("five", previous_response_id=third["id"])
    assert [content for _, content in served.read][3:] == [TOLD, "four", "In short.", "five"]
    given = (await served.get(third["id"], "/input_items?order=asc"))["data"]
    assert given[3] == said["output"][3]


async def test_a_compaction_is_metered(served: Served) -> None:
    await compact(served, input="one")

    await until(lambda: served.gateway.rows)
    [row] = served.gateway.rows
    assert (row.path, row.prompt_tokens, row.completion_tokens) == (f"{PATH}/compact", 5, 2)


async def test_only_the_users_own_words_are_kept(served: Served) -> None:
    said = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "input_text", "text": "u"}], "id": "msg_mine"},
        {"role": "assistant", "content": "a"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "o"},
    ]
    output = (await compact(served, input=said)).json()["output"]

    assert [item["id"] for item in output[:-1]] == ["msg_mine"]
    assert output[0]["content"] == [{"type": "input_text", "text": "u"}]


async def test_what_is_compacted_can_be_compacted_again(served: Served) -> None:
    output = (await compact(served, input="one")).json()["output"]
    again = (await compact(served, input=output)).json()["output"]

    assert [content for _, content in served.read][:2] == ["one", TOLD]
    assert [item["type"] for item in again] == ["message", "compaction"]


async def test_a_summary_that_is_not_the_callers_is_refused_with_the_place(served: Served) -> None:
    output = (await compact(served, input="one")).json()["output"]
    theirs = await served.stranger.post(PATH, json={"model": MODEL, "input": output})
    made = len(served.upstream.requests)

    said = [{"role": "user", "content": "a"}, {"type": "compaction", "encrypted_content": "gAAA"}]
    broken = [
        await served.post(said),
        await served.post(said, store=False),
        await compact(served, input=said),
        await served.client.post(f"{PATH}/input_tokens", json={"model": MODEL, "input": said}),
    ]

    for answer in (theirs, *broken):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "invalid_request")
        assert error["param"] == "input[1].encrypted_content"
    assert len(served.upstream.requests) == made
    assert await rows() == []


async def test_a_foreign_summary_in_a_conversation_is_refused_too(served: Served) -> None:
    bob = served.keys.callers["bob"]
    conversation_id = await new_conversation(served.ann)
    await record.append(served.ann, conversation_id, [Seal(KEY_SECRET).close(bob, "a")])
    answer = await served.post(conversation=conversation_id)

    param = "conversation[0].encrypted_content"
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "input"),
        ({"input": [], "instructions": "x"}, 400, "input"),
        ({"input": "a", "model": None}, 400, "model"),
        ({"input": "a", "model": "other"}, 404, "model"),
        ({"input": 3}, 400, "input"),
        ({"input": [{"role": "user", "content": 3}]}, 400, "input[0].content"),
        ({"previous_response_id": "resp_none"}, 404, "previous_response_id"),
    ],
)
async def test_a_compaction_that_is_wrong_is_refused(
    served: Served, body: dict[str, Any], status: int, param: str
) -> None:
    answer = await compact(served, **body)

    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert served.upstream.requests == []


@pytest.mark.parametrize("text", [None, "", " \n"])
async def test_a_model_that_sums_up_nothing_has_failed(served: Served, text: str | None) -> None:
    served.upstream.script(CHAT, says(text))
    answer = await served.client.post(f"{PATH}/compact", json={"model": MODEL, "input": "a"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")


async def test_what_is_too_long_to_be_summed_up_is_told_so(served: Served) -> None:
    async def refuse(_: Seen, reply: Reply) -> None:
        words = "maximum context length is 100 tokens. It contains 120 input tokens."
        error = {"message": words, "code": 400, "param": "input_tokens"}
        await reply.json({"error": error}, 400)

    served.upstream.script(CHAT, refuse)
    answer = await served.client.post(f"{PATH}/compact", json={"model": MODEL, "input": "a"})

    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input")
