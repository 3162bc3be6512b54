"""What can't be asked for is refused, with the place, before anything is done."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from jan import permissions
from jan.caller import Caller
from jan.conv.schemas import WorkspaceCreate
from jan.conv.service import create as create_workspace
from jan.conversations import items, record
from jan.permissions import Scope
from tests.conv.conftest import ANN, Two
from tests.conv.talks import PATH, asks, rows, told, user
from tests.fakes import MODEL, FakeUpstream
from tests.gateways import Gateway, until

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def says(content: Any, role: str = "user", **more: Any) -> dict[str, Any]:
    """Write a request with one message."""
    return {"messages": [{"role": role, "content": content, **more}]}


async def refused(
    client: httpx.AsyncClient, body: dict[str, Any] | str | bytes
) -> tuple[int, str, str | None]:
    """Ask, and tell status, code and place of the refusal."""
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    answer = await client.post(PATH, content=content)
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        (b'{"model":"\xff"}', "invalid_json"),
        ("[]", "invalid_request"),
        ("null", "invalid_request"),
        ("[" * 100_000, "invalid_request"),
        ('{"model":"m","messages":' + "[" * 100_000, "invalid_json"),
    ],
)
async def test_what_is_no_request_is_refused(
    client: httpx.AsyncClient, upstream: FakeUpstream, body: str | bytes, code: str
) -> None:
    assert await refused(client, body) == (400, code, None)
    assert upstream.requests == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": 7}, "model"),
    ({"messages": None}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": {}}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [user("a"), 7]}, "messages[1]"),
    ({"messages": [{}]}, "messages[0].role"),
    (says("hi", "robot"), "messages[0].role"),
    (says("hi", "function", name="f"), "messages[0].role"),
    (says(None), "messages[0].content"),
    (says(7), "messages[0].content"),
    (says(["hi"]), "messages[0].content[0]"),
    (says([{"type": "text"}]), "messages[0].content[0].text"),
    (says([{"text": "hi"}]), "messages[0].content[0]"),
    (says([{"type": "video_url", "video_url": {"url": "x"}}]), "messages[0].content[0]"),
    (says([{"type": "image_url"}]), "messages[0].content[0]"),
    (
        says([{"type": "image_url", "image_url": {"url": "x", "detail": "ultra"}}]),
        "messages[0].content[0].detail",
    ),
    (
        says([{"type": "file", "file": {"file_id": "file_1"}}]),
        "messages[0].content[0].file_id",
    ),
    (says("2", "tool"), "messages[0].tool_call_id"),
    (says("a\x00b"), "messages[0].content"),
    ({"messages": [user("a"), user("a\x00b")]}, "messages[1].content"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"type": "function"}]}]},
        "messages[0].tool_calls[0].id",
    ),
    ({"conversation": 7}, "conversation"),
    ({"conversation": {"id": "conv_1"}}, "conversation"),
    ({"store": "yes"}, "store"),
    ({"store": 1}, "store"),
    ({"store_reasoning": []}, "store_reasoning"),
    ({"history": "both"}, "history"),
    ({"stream": "yes"}, "stream"),
    (
        {"stream": True, "stream_options": {"include_usage": "no"}},
        "stream_options.include_usage",
    ),
    ({"stream": True, "stream_options": 7}, "stream_options"),
]
"""What is sent beside or in place of what is right, and what is to be named."""


async def test_what_is_wrong_is_named_and_leaves_nothing(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    for wrong, param in WRONG:
        status, code, place = await refused(client, asks() | wrong)
        assert (status, place) == (400, param), wrong
        assert code in {"invalid_request", "unsupported"}, wrong

    assert upstream.requests == []
    assert await rows() == (0, 0)


async def test_half_a_character_is_refused_with_its_place(client: httpx.AsyncClient) -> None:
    body = json.dumps(asks(user("a"), user("\ud800")))

    assert await refused(client, body) == (400, "invalid_json", "messages[1].content")


@pytest.mark.parametrize("depth", [10, 400, 700, 900])
async def test_what_is_nested_deeply_is_refused_or_can_be_gone_on_from(
    client: httpx.AsyncClient, depth: int
) -> None:
    nested = "[" * depth + "]" * depth
    messages = f'[{{"role":"user","content":[{{"type":"text","text":"a","x":{nested}}}]}}]'
    body = f'{{"model":"{MODEL}","store":true,"messages":{messages}}}'

    answer = await client.post(PATH, content=body)

    if answer.status_code == 200:
        metadata = answer.json()["metadata"]
        await told(client, asks(conversation=metadata["conversation_id"]))
    else:
        assert answer.json()["error"]["code"] == "invalid_json"
        assert await rows() == (0, 0)
    assert depth > 10 or answer.status_code == 200


async def test_nul_passes_where_nothing_is_stored(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    answer = await client.post(PATH, json=asks(user("a\x00b"), store=False))

    assert answer.status_code == 200
    assert upstream.requests[0].json["messages"] == [user("a\x00b")]


async def test_an_output_that_answers_no_call_is_named(client: httpx.AsyncClient) -> None:
    metadata = await told(client, asks(user("one")))
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "tool", "tool_call_id": "call_x", "content": "2"},
    ]

    said = await refused(client, asks(*messages, conversation=metadata["conversation_id"]))

    assert said == (400, "invalid_request", "messages[1].tool_call_id")
    assert await rows() == (1, 2)


async def test_a_body_that_is_too_long_is_refused(client: httpx.AsyncClient) -> None:
    assert await refused(client, asks(user("x" * 1_000_001))) == (413, "request_too_large", None)
    assert await rows() == (0, 0)


async def test_a_long_message_is_kept_whole(client: httpx.AsyncClient) -> None:
    metadata = await told(client, asks(user("x" * 900_000)))

    assert len(metadata["conversation_title"]) == 50
    assert await rows() == (1, 2)


@pytest.mark.parametrize("store", [True, False])
async def test_what_is_somebody_elses_is_not_there(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, upstream: FakeUpstream, store: bool
) -> None:
    metadata = await told(client, asks(user("secret")))
    before = await rows()

    said = [
        await refused(stranger, asks(conversation=conversation_id, store=store))
        for conversation_id in (metadata["conversation_id"], "conv_0", "a\x00b", "x" * 1000)
    ]

    assert {(status, code) for status, code, _ in said} == {(404, "not_found")}
    assert await rows() == before
    assert len(upstream.requests) == 1


async def test_a_conversation_of_another_project_is_not_there(
    client: httpx.AsyncClient, two: Two
) -> None:
    metadata = await told(client, asks(user("secret")))
    two.callers[ANN] = replace(two.callers[ANN], project_id="proj_other")

    said = await refused(client, asks(conversation=metadata["conversation_id"], store=False))

    assert said[:2] == (404, "not_found")


async def test_what_no_model_can_be_given_is_said_to_be_the_conversations(
    client: httpx.AsyncClient, ann: Caller
) -> None:
    metadata = await told(client, asks())
    image = {"type": "input_image", "file_id": "file_1", "detail": "auto"}
    item = items.with_id({"role": "user", "content": [image]})
    await record.append(ann, metadata["conversation_id"], [item])

    said = await refused(client, asks(conversation=metadata["conversation_id"]))

    assert said == (400, "unsupported", "conversation")
    assert await rows() == (1, 3)


async def test_a_foreign_workspaces_instruction_is_not_told(
    client: httpx.AsyncClient, ben: Caller, upstream: FakeUpstream
) -> None:
    await create_workspace(ben, WorkspaceCreate(name="Ben's", instruction="secret"))

    await told(client, asks())

    assert "secret" not in upstream.requests[0].body.decode()


async def test_an_unknown_model_is_refused_before_anything_is_kept(
    client: httpx.AsyncClient,
) -> None:
    assert await refused(client, asks(model="other")) == (404, "model_not_found", "model")
    assert await rows() == (0, 0)


async def test_a_model_that_the_caller_may_not_use_is_not_there(
    client: httpx.AsyncClient, two: Two
) -> None:
    two.callers[ANN] = replace(two.callers[ANN], allowed_models=frozenset({"other"}))

    assert await refused(client, asks()) == (404, "model_not_found", "model")
    assert (await client.get("/v1/conv/models")).json()["data"] == []
    assert await rows() == (0, 0)


@pytest.mark.parametrize(
    ("lacking", "body", "status"),
    [
        (Scope.CHAT_WRITE, {"store": False}, 403),
        (Scope.CONVERSATIONS_WRITE, {}, 403),
        (Scope.CONVERSATIONS_READ, {"store": False, "conversation": "conv_0"}, 403),
        (Scope.CONVERSATIONS_WRITE, {"store": False, "conversation": "conv_0"}, 404),
        (Scope.CONVERSATIONS_READ, {}, 200),
        (Scope.CONVERSATIONS_WRITE, {"store": False}, 200),
    ],
)
async def test_who_may_not_is_refused(
    client: httpx.AsyncClient, two: Two, lacking: Scope, body: dict[str, Any], status: int
) -> None:
    two.callers[ANN] = replace(two.callers[ANN], scopes=permissions.DATA_PLANE - {lacking})

    answer = await client.post(PATH, json=asks() | body)

    assert answer.status_code == status


@pytest.mark.parametrize(("body", "status"), [({}, 400), ({"store": False}, 200)])
async def test_who_has_no_project_is_only_refused_what_would_be_kept(
    client: httpx.AsyncClient, two: Two, body: dict[str, Any], status: int
) -> None:
    two.callers[ANN] = replace(two.callers[ANN], project_id=None)

    assert (await client.post(PATH, json=asks() | body)).status_code == status


async def test_only_post_is_taken_and_a_refusal_leaves_a_usage_row(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    answer = await client.get(PATH)

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    await until(lambda: gateway.rows)
    assert (gateway.rows[0].path, gateway.rows[0].status) == (PATH, 405)


async def test_while_draining_nothing_is_begun(client: httpx.AsyncClient, gateway: Gateway) -> None:
    gateway.front.passages.is_draining = True

    assert (await refused(client, asks()))[:2] == (503, "shutting_down")
    assert await rows() == (0, 0)
    await until(lambda: gateway.rows)
    assert (gateway.rows[0].path, gateway.rows[0].status) == (PATH, 503)
