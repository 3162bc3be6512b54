"""Parameters and tools become those of chat completions."""

import json
from typing import Any

import pytest

from jan.errors import InvalidRequest, Unsupported
from jan.responses import reading, translation
from tests.responses.chats import ASK

ADD: dict[str, Any] = {
    "type": "function",
    "name": "add",
    "description": "Adds.",
    "parameters": {"type": "object"},
    "strict": True,
}
SUB = ADD | {"name": "sub"}
CHAT_ADD = {"type": "function", "function": {key: ADD[key] for key in ADD if key != "type"}}


def body(**parameters: Any) -> dict[str, Any]:
    asked = reading.read(json.dumps(ASK | parameters).encode())
    return translation.prompt(asked).body


def test_what_was_not_said_is_not_said_on() -> None:
    assert body() == {"model": ASK["model"], "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"temperature": 0}, {"temperature": 0}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"max_output_tokens": 7}, {"max_completion_tokens": 7}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"text": {"verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "text"}}}, {}),
        (
            {"text": {"format": {"type": "json_object"}}},
            {"response_format": {"type": "json_object"}},
        ),
        (
            {
                "text": {
                    "format": {"type": "json_schema", "name": "a", "schema": {}, "strict": True}
                }
            },
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {}, "strict": True},
                }
            },
        ),
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        (
            {"include": ["message.output_text.logprobs"]},
            {"logprobs": True, "top_logprobs": 0},
        ),
        ({"include": ["reasoning.encrypted_content"]}, {}),
        ({"presence_penalty": 1, "frequency_penalty": -1}, {}),
        ({"prompt_cache_key": "k", "user": "u", "safety_identifier": "s"}, {}),
        ({"top_k": 5, "chat_template_kwargs": {"a": 1}, "n": 2, "messages": []}, None),
        ({"metadata": {"a": "b"}, "service_tier": "auto", "truncation": "auto"}, {}),
        ({"parallel_tool_calls": False, "tool_choice": "auto"}, {}),
    ],
)
def test_parameters_are_translated(said: dict[str, Any], expected: Any) -> None:
    told = body(**said)
    del told["model"], told["messages"]

    if expected is None:
        expected = {"top_k": 5, "chat_template_kwargs": {"a": 1}}
    same = {"presence_penalty", "frequency_penalty", "prompt_cache_key", "user"}
    same |= {"safety_identifier"}
    assert told == expected | {name: value for name, value in said.items() if name in same}


def test_functions_are_nested_as_chat_completions_have_them() -> None:
    told = body(tools=[ADD], tool_choice="required", parallel_tool_calls=False)

    assert told["tools"] == [CHAT_ADD]
    assert (told["tool_choice"], told["parallel_tool_calls"]) == ("required", False)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ({"type": "function", "name": "sub"}, {"type": "function", "function": {"name": "sub"}}),
        ({"type": "custom", "name": "sh"}, {"type": "function", "function": {"name": "sh"}}),
    ],
)
def test_choices_are_translated(choice: Any, expected: Any) -> None:
    told = body(tools=[ADD, SUB, {"type": "custom", "name": "sh"}], tool_choice=choice)

    assert told["tool_choice"] == expected


def test_only_allowed_tools_are_told_to_the_model() -> None:
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [SUB]}
    told = body(tools=[ADD, SUB], tool_choice=allowed)

    assert [tool["function"]["name"] for tool in told["tools"]] == ["sub"]
    assert told["tool_choice"] == "required"


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search"},
        {"type": "mcp", "server_label": "s", "server_url": "http://x.test"},
        {"type": "file_search", "vector_store_ids": ["vs_1"]},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "image_generation"},
        {"type": "local_shell"},
        {"type": "made_up_tomorrow", "name": "x"},
    ],
)
def test_tools_that_are_not_the_clients_are_taken_and_not_told(tool: dict[str, Any]) -> None:
    assert "tools" not in body(tools=[tool])
    assert body(tools=[tool, ADD], tool_choice="auto")["tools"] == [CHAT_ADD]


def test_a_namespace_is_spelled_out() -> None:
    inner = [ADD, {"type": "custom", "name": "sh"}, {"type": "web_search"}]
    told = body(tools=[ADD, {"type": "namespace", "name": "m", "description": "", "tools": inner}])

    names = [tool["function"]["name"] for tool in told["tools"]]
    assert names == ["add", "m__add", "m__sh"]


def test_the_grammar_of_a_custom_tool_is_told_in_words() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a+/"}
    told = body(tools=[{"type": "custom", "name": "a", "description": "As.", "format": grammar}])

    function = told["tools"][0]["function"]
    assert function["description"].startswith("As.\n")
    assert "start: /a+/" in function["description"]
    assert function["parameters"]["required"] == ["input"]


@pytest.mark.parametrize(
    ("wrong", "param", "kind"),
    [
        ({"tools": [{"name": "a"}]}, "tools[0].type", InvalidRequest),
        ({"tools": [ADD, {"type": "function"}]}, "tools[1].name", InvalidRequest),
        ({"tools": [ADD, ADD]}, "tools[1].name", InvalidRequest),
        ({"tools": [ADD | {"parameters": 3}]}, "tools[0].parameters", InvalidRequest),
        (
            {"tools": [{"type": "namespace", "name": "m", "tools": [{"type": "custom"}]}]},
            "tools[0].tools[0].name",
            InvalidRequest,
        ),
        ({"tool_choice": "required"}, "tool_choice", InvalidRequest),
        ({"tool_choice": "perhaps"}, "tool_choice", InvalidRequest),
        ({"tool_choice": {"name": "a"}}, "tool_choice.type", InvalidRequest),
        ({"tool_choice": {"type": "function", "name": "a"}}, "tool_choice", InvalidRequest),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice.type", Unsupported),
    ],
)
def test_tools_that_are_wrong_are_named(
    wrong: dict[str, Any], param: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        body(**wrong)

    assert getattr(caught.value, "param") == param  # noqa: B009


def test_nothing_to_read_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        body(input=[])

    assert caught.value.param == "input"


def test_history_is_enough_to_read() -> None:
    asked = reading.read(json.dumps(ASK | {"input": []}).encode())
    prompt = translation.prompt(asked, [{"role": "user", "content": "before"}])

    assert prompt.messages == [{"role": "user", "content": "before"}]
