"""Events and answers made from chunks."""

import json
from typing import Any

import pytest

from jan.errors import Draining, RateLimited, UpstreamError
from jan.responses import machine as machines
from jan.responses import response
from jan.responses.schemas import Create
from jan.responses.tools import Toolset
from tests.responses import rules
from tests.responses.chats import as_chunk, call, delta, end, machine, stream_of, usage

FUNCTION = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}


def run(*said: dict[str, Any], **parameters: Any) -> tuple[list[rules.Event], dict[str, Any]]:
    """Run chunks through a machine; give the events, checked, and the last one's response."""
    events = rules.parsed(stream_of(machine(**parameters), said))
    return events, rules.check(events)


def kinds(events: list[rules.Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_words_come_in_openais_order() -> None:
    events, answer = run(
        delta(role="assistant", content=""),
        delta(content="Hel"),
        delta(content="lo"),
        end(),
        usage(),
    )

    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    [message] = answer["output"]
    assert message["content"] == [
        {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    ]
    assert message["status"] == "completed"
    assert answer["completed_at"] >= answer["created_at"]


def test_tokens_are_told_by_openais_names() -> None:
    _, answer = run(
        delta(content="a"),
        end(),
        usage()
        | {
            "usage": {
                "prompt_tokens": 11,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 2},
            }
        },
    )

    assert answer["usage"] == {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 16,
    }


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_thoughts_are_an_item_before_the_words(name: str) -> None:
    events, answer = run(
        delta(**{name: "let me "}), delta(**{name: "see"}), delta(content="4"), end()
    )

    thoughts, words = answer["output"]
    assert thoughts["content"] == [{"type": "reasoning_text", "text": "let me see"}]
    assert thoughts["summary"] == []
    assert words["content"][0]["text"] == "4"
    done = kinds(events).index("output_item.done")
    assert events[done + 1]["type"] == "response.output_item.added"


def test_who_asks_for_a_summary_gets_the_thoughts_as_one() -> None:
    events, answer = run(
        delta(reasoning="hm"), delta(content="4"), end(), reasoning={"summary": "auto"}
    )

    assert answer["output"][0]["summary"] == [{"type": "summary_text", "text": "hm"}]
    assert answer["output"][0]["content"] == []
    assert kinds(events)[3:7] == [
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
    ]


def test_a_refusal_is_a_part_of_the_message() -> None:
    events, answer = run(delta(content="I "), delta(refusal="won't"), delta(refusal="."), end())

    [message] = answer["output"]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert message["content"][1]["refusal"] == "won't."
    assert kinds(events).count("refusal.delta") == 2


def test_calls_by_turns_each_get_their_own_arguments() -> None:
    events, answer = run(
        delta(content="ok"),
        call(0, "", "add"),
        call(1, '{"b"', "sub"),
        call(0, '{"a"'),
        call(1, ":2}"),
        call(0, ":1}"),
        end("tool_calls"),
    )

    _, first, second = answer["output"]
    assert (first["name"], first["arguments"], first["call_id"]) == ("add", '{"a":1}', "call_add")
    assert (second["name"], second["arguments"]) == ("sub", '{"b":2}')
    deltas = [event for event in events if event["type"].endswith("arguments.delta")]
    assert [event["output_index"] for event in deltas] == [2, 1, 2, 1]


@pytest.mark.parametrize("index", [None, 0])
def test_servers_that_number_calls_badly_are_understood(index: int | None) -> None:
    _, answer = run(
        call(index, '{"a":', "add"), call(index, "1}"), call(index, "{}", "sub"), end("tool_calls")
    )

    assert [item["arguments"] for item in answer["output"]] == ['{"a":1}', "{}"]


def test_several_calls_in_one_chunk() -> None:
    piece = {"function": {"name": "a", "arguments": "{}"}, "id": "call_a", "index": 0}
    other = {"function": {"name": "b", "arguments": "{}"}, "id": "call_b", "index": 1}
    _, answer = run(delta(tool_calls=[piece, other]), end("tool_calls"))

    assert [item["call_id"] for item in answer["output"]] == ["call_a", "call_b"]


def test_arguments_before_the_name_are_kept_for_it() -> None:
    _, answer = run(call(0, '{"a"'), call(0, ":1}", "add"), end("tool_calls"))

    assert [item["arguments"] for item in answer["output"]] == ['{"a":1}']


def test_a_call_without_a_name_is_none() -> None:
    _, answer = run(call(0, '{"a"'), end("tool_calls"))

    assert answer["output"] == []


def test_a_call_has_an_id_even_if_the_server_gives_none() -> None:
    _, answer = run(call(0, "{}", "add", id=None), end("tool_calls"))

    assert answer["output"][0]["call_id"].startswith("call_")


def test_words_after_a_call_are_a_message_of_their_own() -> None:
    _, answer = run(delta(content="a"), call(0, "{}", "add"), delta(content="b"), end())

    assert [item["type"] for item in answer["output"]] == ["message", "function_call", "message"]


def test_a_custom_tool_gets_its_text() -> None:
    tool = {"type": "custom", "name": "patch", "description": "Patches."}
    events, answer = run(
        call(0, '{"inp', "patch"), call(0, 'ut": "a\\nb"}'), end("tool_calls"), tools=[tool]
    )

    [item] = answer["output"]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "patch", "a\nb")
    assert kinds(events)[3:5] == ["custom_tool_call_input.delta", "custom_tool_call_input.done"]


def test_a_tool_in_a_namespace_gets_its_own_name_back() -> None:
    space = {"type": "namespace", "name": "math", "description": "", "tools": [FUNCTION]}
    _, answer = run(call(0, "{}", "math__add"), end("tool_calls"), tools=[space])

    assert (answer["output"][0]["namespace"], answer["output"][0]["name"]) == ("math", "add")


TOKEN = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}


def test_logprobs_go_with_the_words_and_with_nothing_else() -> None:
    other = {"token": "é", "logprob": -1.5}
    events, answer = run(
        delta(reasoning="hm", logprobs={"content": [TOKEN]}),
        delta(logprobs={"content": [TOKEN]}),
        delta(content="ab", logprobs={"content": [TOKEN | {"top_logprobs": [other]}]}),
        end(),
        include=["message.output_text.logprobs"],
        top_logprobs=1,
    )

    [piece] = [event for event in events if event["type"].endswith("output_text.delta")]
    assert [token["token"] for token in piece["logprobs"]] == ["a", "a"]
    told = answer["output"][1]["content"][0]["logprobs"]
    assert told[0] == TOKEN
    assert told[1]["top_logprobs"] == [other | {"bytes": [195, 169]}]


def test_logprobs_are_told_once() -> None:
    events, answer = run(
        delta(content="a", logprobs={"content": [TOKEN]}),
        delta(content="b", logprobs={"content": [TOKEN | {"token": "b"}]}),
        end(),
        top_logprobs=1,
    )

    pieces = [event["logprobs"] for event in events if event["type"].endswith("text.delta")]
    assert [[token["token"] for token in told] for told in pieces] == [["a"], ["b"]]
    told = answer["output"][0]["content"][0]["logprobs"]
    assert [token["token"] for token in told] == ["a", "b"]


def test_logprobs_that_nobody_asked_for_are_not_told() -> None:
    _, answer = run(delta(content="a", logprobs={"content": [TOKEN]}), end())

    assert answer["output"][0]["content"][0]["logprobs"] == []


@pytest.mark.parametrize(
    ("finish_reason", "reason"),
    [("length", "max_output_tokens"), ("content_filter", "content_filter")],
)
def test_an_early_end_is_told_with_its_reason(finish_reason: str, reason: str) -> None:
    _, answer = run(
        delta(reasoning="hm"), call(0, "{}", "add"), call(1, '{"a', "sub"), end(finish_reason)
    )

    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": reason})
    statuses = [item["status"] for item in answer["output"]]
    assert statuses == ["completed", "completed", "incomplete"]


def test_an_answer_without_anything_is_complete() -> None:
    _, answer = run(delta(role="assistant", content=""), end())

    assert (answer["status"], answer["output"]) == ("completed", [])


def test_an_empty_reason_to_end_is_none() -> None:
    _, answer = run(delta("", content="a"), delta("", content="b"), end(), {"choices": None})

    assert answer["output"][0]["content"][0]["text"] == "ab"


def test_what_comes_after_the_end_is_not_told() -> None:
    _, answer = run(call(0, "{", "add"), end(), call(0, "}"), delta(content="more"))

    assert [item.get("arguments") for item in answer["output"]] == ["{"]


def begun(*said: dict[str, Any]) -> tuple[machines.Machine, bytes]:
    """Run a machine that has not come to its end."""
    unfinished = machine()
    events = unfinished.begin()
    for chunk in said:
        events += unfinished.feed(as_chunk(chunk))
    return unfinished, b"".join(events)


def test_a_failure_in_the_middle_of_a_call_ends_everything() -> None:
    unfinished, stream = begun(delta(content="a"), call(0, '{"a', "add"), call(1, "{", "sub"))
    stream += b"".join(unfinished.fail(UpstreamError("It died.")))

    answer = rules.check(rules.parsed(stream))
    assert answer["status"] == "failed"
    assert answer["error"] == {"code": "server_error", "message": "It died."}
    statuses = [item["status"] for item in answer["output"]]
    assert statuses == ["completed", "incomplete", "incomplete"]
    assert answer["output"][1]["arguments"] == '{"a'


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Draining("Bye."), "server_error"),
        (RateLimited("Slow down."), "rate_limit_exceeded"),
    ],
)
def test_a_failure_has_one_of_openais_codes(error: Any, code: str) -> None:
    unfinished, stream = begun()
    stream += b"".join(unfinished.fail(error))

    assert rules.check(rules.parsed(stream))["error"]["code"] == code


def test_a_server_that_gives_up_is_a_failure() -> None:
    unfinished, stream = begun(delta(content="a"))
    with pytest.raises(UpstreamError):
        unfinished.feed(as_chunk(delta("abort", content="b")))
    stream += b"".join(unfinished.fail(UpstreamError("It gave up.")))

    answer = rules.check(rules.parsed(stream))
    assert answer["output"][0]["content"][0]["text"] == "ab"


def test_what_was_there_when_the_client_left_is_kept() -> None:
    unfinished, stream = begun(delta(content="a"), delta(content="b"))
    stream += b"".join(unfinished.cut())

    answer = rules.check(rules.parsed(stream))
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", None)
    assert answer["output"][0]["content"][0]["text"] == "ab"
    assert answer["output"][0]["status"] == "incomplete"


def test_what_was_cancelled_is_kept_and_no_last_event_told() -> None:
    unfinished, _ = begun(delta(content="a"))
    events = rules.parsed(b"".join(unfinished.cancel()))

    assert kinds(events)[-1] == "output_item.done"
    assert unfinished.response.status == "cancelled"
    rules.validate_response(response.encode(unfinished.response))


def test_an_end_comes_once() -> None:
    unfinished, _ = begun(delta(content="a"), end())
    unfinished.finish()

    assert unfinished.is_over
    assert not unfinished.fail(UpstreamError("late"))
    assert not unfinished.cut()
    assert not unfinished.cancel()
    assert unfinished.response.status == "completed"


def test_a_response_in_the_background_is_queued_first() -> None:
    waiting = machine(background=True, store=True)
    events = waiting.queue()
    events += waiting.begin()
    events += waiting.finish()

    parsed = rules.parsed(b"".join(events))
    rules.check(parsed)
    assert [event["response"]["status"] for event in parsed] == [
        "queued",
        "queued",
        "in_progress",
        "completed",
    ]


def test_numbers_go_on_where_another_process_has_stopped() -> None:
    asked = machine()
    later = machines.Machine(asked.response, Create(model="m"), Toolset(), next_number=7)
    stream = b"".join([*later.feed(as_chunk(delta(content="a"))), *later.finish()])

    rules.check(rules.parsed(stream), first_number=7)


def test_a_whole_answer_is_the_same_as_its_stream() -> None:
    message = {
        "role": "assistant",
        "reasoning": "hm",
        "content": "ok",
        "tool_calls": [
            {"id": "call_add", "type": "function", "function": {"name": "add", "arguments": "{}"}}
        ],
    }
    whole = machine()
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    whole.feed(as_chunk({"choices": [choice]} | {"usage": usage()["usage"]}))
    whole.finish()
    _, streamed = run(
        delta(reasoning="hm"), delta(content="ok"), call(0, "{}", "add"), end("tool_calls"), usage()
    )

    answer = json.loads(response.encode(whole.response))
    rules.validate_response(json.dumps(answer).encode())
    for either in (answer, streamed):
        del either["completed_at"]
        for item in either["output"]:
            del item["id"]
    assert answer == streamed


def test_padding_hides_the_length_of_pieces_unless_it_is_not_wanted() -> None:
    padded, _ = run(delta(content="a"), delta(content="b" * 21), end())
    plain, _ = run(
        delta(content="a"), end(), stream=True, stream_options={"include_obfuscation": False}
    )

    pieces = [event for event in padded if "delta" in event]
    assert [len(event["delta"] + event["obfuscation"]) for event in pieces] == [16, 32]
    assert all("obfuscation" not in event for event in plain)


def test_a_nul_character_becomes_one_that_can_be_stored() -> None:
    _, answer = run(delta(content="a\x00b"), call(0, '{"a":"\x00"}', "add"), end())

    assert answer["output"][0]["content"][0]["text"] == "a\ufffdb"
    assert "\x00" not in answer["output"][1]["arguments"]


def test_the_engine_is_known_once_it_has_told() -> None:
    made = machine()
    stream_of(made, [delta(content="a"), end() | {"system_fingerprint": "vllm-0.32.0-abc"}])

    assert made.engine == "vllm-0.32.0-abc"


def test_an_error_of_the_stream_itself_is_an_event_too() -> None:
    data = machines.error_event(UpstreamError("gone"), 9)

    [event] = rules.parsed(data)
    assert (event["type"], event["code"], event["sequence_number"]) == (
        "error",
        "upstream_error",
        9,
    )
