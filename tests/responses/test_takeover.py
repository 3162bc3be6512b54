"""A response that was broken off anywhere is read from its events, and ended as its maker would."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jan.responses import response
from jan.responses.server_calls import Outcome, Source
from jan.responses.takeover import Remains
from jan.responses.tools import Tool
from tests.responses import rules
from tests.responses.chats import as_chunk, call, delta, end, machine
from tests.responses.test_machine_properties import PIECES, Piece, expected, texts, written

TOOLS = [{"type": "mcp", "server_label": "sums", "server_url": "http://sums.example/mcp"}]
TOKEN = {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": []}


def told(*said: dict[str, Any], **parameters: Any) -> bytes:
    """Tell a response as far as it has come."""
    made = machine(**parameters)
    events = made.queue() + made.begin()
    for chunk in said:
        events += made.feed(as_chunk(chunk))
    return b"".join(events)


def begun(**parameters: Any) -> response.Response:
    """Read the response as it was written down when it began."""
    return response.read(response.encode(machine(**parameters).response))


def failed(stored: bytes, **parameters: Any) -> dict[str, Any]:
    """Fail what is left of a response, and check the whole of its events."""
    ended = begun(**parameters)
    last = Remains(stored).fail(ended, "It was interrupted.")
    answer = rules.check(rules.parsed(stored + b"".join(last)))
    assert answer == json.loads(response.encode(ended))
    assert answer["error"] == {"code": "server_error", "message": "It was interrupted."}
    return answer


@settings(max_examples=100, deadline=None)
@given(PIECES, st.integers(min_value=0))
def test_a_stream_that_was_broken_off_anywhere_is_ended_by_its_rules(
    pieces: list[Piece], number: int
) -> None:
    stored = told(*written(pieces))
    events = [event + b"\n\n" for event in stored[:-2].split(b"\n\n")]
    kept = b"".join(events[: 2 + number % (len(events) - 1)])

    answer = failed(kept)

    if kept == stored:
        assert texts(answer["output"]) == expected(pieces)
    assert all(item["status"] in {"completed", "incomplete"} for item in answer["output"])


def test_what_was_open_is_incomplete_and_what_was_done_is_not() -> None:
    answer = failed(told(delta(reasoning="hm"), delta(content="Hel"), delta(content="lo")))

    thought, message = answer["output"]
    assert (thought["status"], message["status"]) == ("completed", "incomplete")
    assert message["content"][0]["text"] == "Hello"


def test_a_summary_is_closed_as_one() -> None:
    stored = told(delta(reasoning="hm"), reasoning={"summary": "auto"})

    answer = failed(stored, reasoning={"summary": "auto"})

    assert answer["output"][0]["summary"] == [{"type": "summary_text", "text": "hm"}]


def test_likelihoods_of_tokens_are_kept() -> None:
    parameters = {"include": ["message.output_text.logprobs"]}
    stored = told(delta(content="é", logprobs={"content": [TOKEN]}), **parameters)

    answer = failed(stored, **parameters)

    assert answer["output"][0]["content"][0]["logprobs"] == [TOKEN]


def test_a_call_of_a_custom_tool_that_was_broken_off_says_nothing() -> None:
    tools = [{"type": "custom", "name": "note"}]
    answer = failed(told(call(0, '{"input":"a', "note"), tools=tools), tools=tools)

    assert (answer["output"][0]["type"], answer["output"][0]["input"]) == ("custom_tool_call", "")


def test_what_was_never_begun_fails_by_the_rules_too() -> None:
    made = machine()

    assert failed(b"".join(made.queue()))["output"] == []


def test_what_is_cancelled_has_no_last_event_of_its_own() -> None:
    stored, ended = told(delta(content="Hel")), begun()

    last = rules.parsed(b"".join(Remains(stored).cut(ended)))

    assert [event["type"] for event in last] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
    ]
    assert ended.status == "cancelled"
    assert ended.output


def test_what_has_all_come_needs_no_closing() -> None:
    remains = Remains(told(delta(content="Hello"), end()))

    assert remains.cut(begun()) == []
    assert isinstance(remains.output[0], response.Message)
    assert remains.output[0].status == "completed"


def told_with_tools() -> list[bytes]:
    """Tell a response in which Jan carries out calls, event by event."""
    made = machine(tools=TOOLS)
    made._toolset.add(Tool("mcp", "add", server="sums"), None, {"type": "object"})
    made._toolset.add(Tool("mcp", "drop", server="sums", asks_before=True), None, {})
    made._toolset.add(Tool("web_search", "web_search"), None, {})
    stored = made.queue() + made.begin()
    listing, began = made.begin_listing("sums")
    stored += began + made.end_listing(listing, [], None)
    for said in (call(0, '{"a":', "add"), call(0, "1}"), call(1, '{"query":"x"}', "web_search")):
        stored += made.feed(as_chunk(said))
    stored += made.feed(as_chunk(end("tool_calls")))
    page = Source("https://a.example/", "A")
    for waiting in made.pending:
        stored += made.carried_out(waiting, Outcome("42", sources=[page]))
    made.ask_again()
    for said in (delta(content=f"See {page.url}!"), call(0, "{}", "drop"), end("tool_calls")):
        stored += made.feed(as_chunk(said))
    return stored


def test_calls_that_jan_carried_out_are_ended_by_the_rules_wherever_it_stopped() -> None:
    stored = told_with_tools()
    assert len(stored) > 25

    answers = [
        failed(b"".join(stored[:number]), tools=TOOLS) for number in range(2, len(stored) + 1)
    ]

    output = answers[-1]["output"]
    statuses = [item.get("status") for item in output]
    assert statuses == [None, "completed", "completed", "completed", None]
    assert output[3]["content"][0]["annotations"][0]["url"] == "https://a.example/"
