"""Requests that can't be read, and what is made of those that can."""

import json
from typing import Any

import pytest

from jan.conversations import items
from jan.errors import JanError, Unsupported
from jan.responses import reading
from tests.responses.chats import ASK

STORED = ASK | {"store": True}
USER = {"role": "user", "content": "hi"}


def refused(parameters: dict[str, Any] | bytes) -> JanError:
    """Give the error that a request is refused with."""
    body = parameters if isinstance(parameters, bytes) else json.dumps(parameters).encode()
    with pytest.raises(JanError) as caught:
        reading.read(body)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"model": None}, "model"),
        ({"input": 3}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [USER, {"type": "nonsense"}]}, "input[1].type"),
        ({"input": [{"type": 3}]}, "input[0].type"),
        ({"input": [{"role": "nobody", "content": "hi"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"text": "a"}]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input[0].content[0].text",
        ),
        (
            {
                "input": [
                    USER,
                    USER,
                    {"role": "user", "content": [{"type": "input_image", "detail": "?"}]},
                ]
            },
            "input[2].content[0].detail",
        ),
        (
            {"input": [{"type": "function_call", "name": "a", "arguments": "{}"}]},
            "input[0].call_id",
        ),
        ({"input": [{"type": "function_call_output", "call_id": "a"}]}, "input[0].output"),
        (
            {"input": [{"type": "custom_tool_call", "name": "a", "call_id": "c"}]},
            "input[0].input",
        ),
        ({"input": [{"type": "mcp_approval_response", "approve": True}]}, None),
        ({"instructions": ["a"]}, "instructions"),
        ({"metadata": {"a": 1}}, "metadata[...]"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: ""}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_tool_calls": 0}, "max_tool_calls"),
        ({"truncation": "some"}, "truncation"),
        ({"reasoning": {"effort": "much"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"text": {"verbosity": "loud"}}, "text.verbosity"),
        ({"stream": "yes"}, "stream"),
        ({"background": True}, "background"),
        ({"previous_response_id": "resp_1", "conversation": "conv_1"}, "previous_response_id"),
        ({"conversation": {"name": "x"}}, "conversation.id"),
        ({"tools": [3]}, "tools[0]"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], param: str | None) -> None:
    error = refused(ASK | wrong)

    assert error.param == (param or "input[0].approval_request_id")
    assert error.code == "invalid_request"
    assert (param or "").rpartition(".")[2] in error.message


def test_stored_prompts_are_not_had_here() -> None:
    error = refused(ASK | {"prompt": {"id": "pmpt_1"}})

    assert isinstance(error, Unsupported)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "line 1"),
        (b'{"model":"a",\n"x":}', "line 2"),
        (b'{"model":"\xff"}', "byte 10"),
        (b'{"model":"a","input":' + b"[" * 9999 + b"]" * 9999 + b"}", "deep"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(body: bytes, word: str) -> None:
    error = refused(body)

    assert error.code == "invalid_json"
    assert word in error.message


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("half", [b"\\ud800", b"\\udc00x", b"\\ud83d\\u0041"])
def test_half_a_surrogate_pair_is_refused_with_its_place(half: bytes, store: bool) -> None:
    body = json.dumps(ASK | {"store": store, "input": [USER, USER | {"content": "HERE"}]}).encode()
    error = refused(body.replace(b"HERE", half))

    assert (error.code, error.param) == ("invalid_json", "input[1].content")


def test_a_whole_surrogate_pair_is_a_character() -> None:
    asked = reading.read(b'{"model":"m","input":"\\ud83c\\udf0d"}')

    assert asked.input[0]["content"][0]["text"] == "🌍"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"input": [USER, USER | {"content": "a\0b"}]}, "input[1].content"),
        ({"metadata": {"a\0": "b"}}, "metadata.a\0"),
        ({"instructions": "\0"}, "instructions"),
    ],
)
def test_a_nul_character_is_refused_where_it_would_be_stored(
    wrong: dict[str, Any], param: str
) -> None:
    assert refused(STORED | wrong).param == param
    assert reading.read(json.dumps(ASK | wrong).encode())


def test_what_only_looks_like_a_nul_character_is_none() -> None:
    asked = reading.read(json.dumps(STORED | {"input": "a\\u0000"}).encode())

    assert asked.input[0]["content"][0]["text"] == "a\\u0000"


def test_any_parameter_may_be_null() -> None:
    nothing = dict.fromkeys(reading.schemas.NAMES - {"model", "input", "store"})

    assert reading.read(json.dumps(ASK | nothing).encode()).extras == {}


def test_parameters_of_the_model_servers_own_are_kept_apart() -> None:
    own = {"top_k": 5, "min_p": 0.1, "stop": ["a"], "seed": 1, "repetition_penalty": 1.1}
    foreign = {"n": 3, "messages": [], "stream_options": {}, "moderation": None, "image": {}}
    asked = reading.read(json.dumps(ASK | own | foreign).encode())

    assert asked.extras == own
    assert asked.parameters == ASK | own | foreign


EVERY_ITEM = [
    USER,
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "a"}]},
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": "a", "annotations": [{"type": "url_citation"}]},
            {"type": "refusal", "refusal": "no"},
        ],
    },
    {
        "role": "user",
        "content": [{"type": "input_image", "image_url": "http://x", "detail": "low"}],
    },
    {"role": "user", "content": [{"type": "input_file", "file_data": "data:text/plain,a"}]},
    {"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]},
    {
        "role": "user",
        "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}],
    },
    {"type": "function_call", "call_id": "c", "name": "a", "arguments": "{}", "id": "fc_1"},
    {"type": "function_call_output", "call_id": "c", "output": "a"},
    {
        "type": "function_call_output",
        "call_id": "c",
        "output": [{"type": "input_text", "text": "a"}],
    },
    {"type": "custom_tool_call", "call_id": "c", "name": "a", "input": "x"},
    {"type": "custom_tool_call_output", "call_id": "c", "output": "a"},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None},
    {"type": "item_reference", "id": "msg_1"},
    {"id": "msg_1"},
    {"type": "mcp_call", "id": "mcp_1", "name": "a", "arguments": "{}", "server_label": "s"},
    {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": []},
    {
        "type": "mcp_approval_request",
        "id": "mcpr_1",
        "name": "a",
        "arguments": "",
        "server_label": "s",
    },
    {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": False},
    {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    {"type": "local_shell_call", "id": "lsh_1"},
]


@pytest.mark.parametrize("item", EVERY_ITEM, ids=lambda item: item.get("type", "easy"))
def test_every_type_of_item_is_read(item: dict[str, Any]) -> None:
    [read] = reading.read(json.dumps(ASK | {"input": [item]}).encode()).input

    assert read.pop("content", None) or True
    assert read == {key: value for key, value in item.items() if key != "content"} | {
        "type": items.type_of(item)
    }


def test_content_is_always_given_back_in_parts() -> None:
    said = [USER, {"role": "assistant", "content": "ho"}]
    asked = reading.read(json.dumps(ASK | {"input": said}).encode())

    assert [item["content"][0] for item in asked.input] == [
        {"type": "input_text", "text": "hi"},
        {"type": "output_text", "text": "ho", "annotations": []},
    ]


def test_items_get_ids_by_their_types_and_keep_those_that_they_have() -> None:
    kept = items.with_id({"type": "reasoning", "id": "rs_1", "summary": []})
    made = [items.with_id(item)["id"] for item in (USER, EVERY_ITEM[8])]

    assert kept["id"] == "rs_1"
    assert [name.partition("_")[0] for name in made] == ["msg", "fco"]
