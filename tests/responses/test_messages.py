"""Items become the messages of a chat."""

from typing import Any

import pytest

from jan.conversations.items import Item
from jan.errors import InvalidRequest, Unsupported
from jan.responses import messages

USER = {"role": "user", "content": "hi"}
PICTURE = "data:image/png;base64,AAAA"


def translated(*given: Item, instructions: str | None = None, history: Any = ()) -> list[Any]:
    return messages.translated(instructions, list(history), list(given))


def call(call_id: str, name: str = "add", **more: Any) -> Item:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}"} | more


def output(call_id: str, text: Any = "4") -> Item:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def says(text: str) -> Item:
    return {"role": "assistant", "content": [{"type": "output_text", "text": text}]}


def thinks(text: str, **more: Any) -> Item:
    return {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": text}],
    } | more


def roles(read: list[Any]) -> list[str]:
    return [message["role"] for message in read]


def test_instructions_come_first_and_are_one_message_with_those_that_follow() -> None:
    developer = {"role": "developer", "content": "b"}
    system = {"role": "system", "content": [{"type": "input_text", "text": "c"}]}
    read = translated(developer, system, USER, developer, instructions="a")

    assert read[0] == {"role": "system", "content": "a\n\nb\n\nc"}
    assert roles(read) == ["system", "user", "system"]


def test_history_stands_between_instructions_and_input() -> None:
    read = translated(USER, instructions="a", history=[USER, says("ho")])

    assert roles(read) == ["system", "user", "assistant", "user"]


def test_calls_made_at_once_are_one_message_with_the_words_before_them() -> None:
    read = translated(USER, says("Let me."), call("1"), call("2"), output("2"), output("1"), USER)

    assert roles(read) == ["user", "assistant", "tool", "tool", "user"]
    assert read[1]["content"] == "Let me."
    assert [one["id"] for one in read[1]["tool_calls"]] == ["1", "2"]
    assert [message["tool_call_id"] for message in read[2:4]] == ["1", "2"]


def test_calls_made_one_after_the_other_are_messages_of_their_own() -> None:
    read = translated(USER, call("1"), output("1"), call("2"), output("2"))

    assert roles(read) == ["user", "assistant", "tool", "assistant", "tool"]


def test_an_output_follows_its_call_wherever_it_was_sent() -> None:
    read = translated(USER, call("1"), USER, output("1"))

    assert roles(read) == ["user", "assistant", "tool", "user"]


def test_calls_that_are_numbered_anew_in_each_turn_keep_their_outputs() -> None:
    read = translated(call("1"), output("1", "a"), call("1"), output("1", "b"))

    assert [message["content"] for message in read if message["role"] == "tool"] == ["a", "b"]


def test_a_call_that_was_never_answered_is_left_out() -> None:
    read = translated(USER, call("1"), call("2"), output("2"), USER, call("3"))

    assert roles(read) == ["user", "assistant", "tool", "user"]
    assert [one["id"] for one in read[1]["tool_calls"]] == ["2"]


@pytest.mark.parametrize("nothing", ["", []])
def test_the_assistants_words_are_left_out_where_there_are_none(nothing: Any) -> None:
    silent = {"role": "assistant", "content": nothing}
    read = translated(USER, silent, USER, silent, call("1"), output("1"), silent)

    assert roles(read) == ["user", "user", "assistant", "tool"]
    assert read[2]["content"] is None


def test_an_output_without_its_call_is_refused_by_place() -> None:
    with pytest.raises(InvalidRequest) as caught:
        translated(USER, output("1"))

    assert caught.value.param == "input[1].call_id"


def test_an_output_may_answer_a_call_of_the_past() -> None:
    read = translated(output("1"), history=[USER, call("1")])

    assert roles(read) == ["user", "assistant", "tool"]


def test_an_output_in_the_past_whose_call_is_gone_is_left_out() -> None:
    assert roles(translated(USER, history=[output("1")])) == ["user"]


def test_thoughts_go_with_what_they_led_to() -> None:
    read = translated(USER, thinks("a"), says("x"), thinks("b"), call("1"), output("1"))

    assert read[1] == {"role": "assistant", "content": "x", "reasoning": "a"}
    assert read[2]["reasoning"] == "b"


def test_thoughts_that_led_to_nothing_are_left_out() -> None:
    read = translated(thinks("a"), USER, says("x"))

    assert "reasoning" not in read[1]


def test_where_thoughts_are_a_summary_the_summary_is_read() -> None:
    summary = [{"type": "summary_text", "text": "a"}]
    read = translated(thinks("", content=None, summary=summary), says("x"))

    assert read[0]["reasoning"] == "a"


def test_a_custom_call_is_a_function_call_with_one_text() -> None:
    item = {"type": "custom_tool_call", "call_id": "1", "name": "patch", "input": 'a"b'}
    answer = {"type": "custom_tool_call_output", "call_id": "1", "output": "ok"}
    read = translated(item, answer)

    function = read[0]["tool_calls"][0]["function"]
    assert function == {"name": "patch", "arguments": '{"input":"a\\"b"}'}
    assert read[1]["content"] == "ok"


def test_a_call_in_a_namespace_has_the_name_that_the_model_knows() -> None:
    read = translated(call("1", namespace="math"), output("1"))

    assert read[0]["tool_calls"][0]["function"]["name"] == "math__add"


def test_an_mcp_call_brings_its_own_output() -> None:
    item = {"type": "mcp_call", "id": "mcp_1", "name": "a", "arguments": "{}", "server_label": "s"}
    read = translated(item | {"output": "ok"}, item | {"error": "down"})

    assert [message["content"] for message in read if message["role"] == "tool"] == [
        "ok",
        "Error: down",
    ]


def test_text_is_a_plain_string_and_pictures_are_parts() -> None:
    content: list[Any] = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": PICTURE, "detail": "high"},
        {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "auto"},
    ]
    [plain] = translated({"role": "user", "content": [content[0], content[0]]})
    [mixed] = translated({"role": "user", "content": content})

    assert plain["content"] == "look\nlook"
    assert mixed["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": PICTURE, "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
    ]


def test_the_models_words_are_joined_as_they_were_said() -> None:
    parts = [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]

    assert translated({"role": "assistant", "content": parts})[0]["content"] == "ab"


def test_a_picture_may_be_the_output_of_a_tool() -> None:
    read = translated(call("1"), output("1", [{"type": "input_image", "image_url": PICTURE}]))

    assert read[1]["content"] == [{"type": "image_url", "image_url": {"url": PICTURE}}]


@pytest.mark.parametrize(
    "data", ["data:text/csv;base64,YSxi", "data:text/csv,a%2Cb", "data:application/json,a%2Cb"]
)
def test_a_file_that_is_text_is_read_as_text(data: str) -> None:
    part = {"type": "input_file", "file_data": data, "filename": "t.csv"}

    assert translated({"role": "user", "content": [part]})[0]["content"] == "t.csv:\na,b"


def test_a_file_of_another_kind_is_for_the_model_server_to_take_or_to_refuse() -> None:
    data = "data:application/pdf;base64,AAAA"
    part = {"type": "input_file", "file_data": data, "filename": "a.pdf"}
    [read] = translated({"role": "user", "content": [part]})

    assert read["content"] == [{"type": "file", "file": {"file_data": data, "filename": "a.pdf"}}]


@pytest.mark.parametrize(
    ("part", "field", "kind"),
    [
        ({"type": "input_image", "file_id": "file_1"}, "file_id", Unsupported),
        ({"type": "input_image"}, "image_url", InvalidRequest),
        ({"type": "input_file", "file_id": "file_1"}, "file_id", Unsupported),
        ({"type": "input_file", "file_url": "http://x.test"}, "file_url", Unsupported),
        ({"type": "input_file"}, "file_data", InvalidRequest),
        (
            {"type": "input_file", "file_data": "data:text/plain;base64,?"},
            "file_data",
            InvalidRequest,
        ),
    ],
)
def test_what_is_not_here_is_refused_by_place(
    part: dict[str, Any], field: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        translated(USER, {"role": "user", "content": [{"type": "input_text", "text": ""}, part]})

    assert getattr(caught.value, "param") == f"input[1].content[1].{field}"  # noqa: B009


def test_an_item_that_is_not_stored_is_refused_by_place() -> None:
    with pytest.raises(Unsupported) as caught:
        translated(USER, {"type": "item_reference", "id": "msg_9"})

    assert caught.value.param == "input[1].id"


def test_what_the_model_need_not_know_is_left_out() -> None:
    foreign = [
        {"type": "web_search_call", "id": "ws_1"},
        {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": []},
        {"type": "file_search_call", "id": "fs_1"},
    ]

    assert roles(translated(USER, *foreign)) == ["user"]
