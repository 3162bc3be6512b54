"""What every stream of events must be, whatever is in it: OpenAI's types, and OpenAI's order."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

Event = dict[str, Any]

_event: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_response = TypeAdapter(Response)

OURS = {"obfuscation", "store", "presence_penalty", "frequency_penalty", "status"}
"""Fields that OpenAI sends, or its definition has, and its SDK has no attribute for."""

LAST = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}
PIECES = {
    "response.output_text.delta": ("response.output_text.done", "text"),
    "response.refusal.delta": ("response.refusal.done", "refusal"),
    "response.reasoning_text.delta": ("response.reasoning_text.done", "text"),
    "response.reasoning_summary_text.delta": ("response.reasoning_summary_text.done", "text"),
    "response.function_call_arguments.delta": (
        "response.function_call_arguments.done",
        "arguments",
    ),
    "response.custom_tool_call_input.delta": ("response.custom_tool_call_input.done", "input"),
    "response.mcp_call_arguments.delta": ("response.mcp_call_arguments.done", "arguments"),
}
DONE = dict(PIECES.values())
LAST_STATUSES = {"completed", "incomplete", "failed"}
WITHOUT_STATUS = {"mcp_list_tools", "mcp_approval_request"}
PART_ADDED = {"response.content_part.added", "response.reasoning_summary_part.added"}
PART_DONE = {"response.content_part.done", "response.reasoning_summary_part.done"}


def parsed(stream: bytes) -> list[Event]:
    """Cut a stream into its events, each of which is valid. Comments are left out."""
    assert stream.endswith(b"\n\n")
    events: list[Event] = []
    for text in stream[:-2].split(b"\n\n"):
        if text.startswith(b":"):
            continue
        name, data = text.split(b"\n")
        event = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        validate(data.removeprefix(b"data: "))
        events.append(event)
    return events


def validate(data: bytes) -> None:
    """Check one event against the SDK's types: strictly, and with no field that they lack."""
    valid = _event.validate_json(data, strict=True)
    assert _unknown(valid) <= OURS


def validate_response(data: bytes) -> Response:
    """Check a response in the same way."""
    valid = _response.validate_json(data, strict=True)
    assert _unknown(valid) <= OURS
    return valid


def _unknown(model: Any) -> set[str]:
    found = set(model.model_extra or {})
    for value in model.__dict__.values():
        for inner in value if isinstance(value, list) else [value]:
            if hasattr(inner, "model_extra"):
                found |= _unknown(inner)
    return found


@dataclass
class _Item:
    id: str
    is_done: bool = False
    parts: int = 0
    part_is_open: bool = False
    pieces: str = ""
    has_told_text: bool = True
    """Whether the whole of the pieces has been told."""


@dataclass
class _Reader:
    """Follows a stream and objects to what breaks a rule."""

    items: list[_Item] = field(default_factory=list[_Item])
    done: dict[int, Event] = field(default_factory=dict[int, Event])

    def read(self, event: Event) -> None:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert event["output_index"] == len(self.items), "items are added in order"
            assert event["item"].get("status", "in_progress") == "in_progress"
            self.items.append(_Item(event["item"]["id"]))
            return
        item = self.items[event["output_index"]]
        assert not item.is_done, "nothing follows an item's end"
        if kind == "response.output_item.done":
            assert event["item"]["id"] == item.id
            has_status = event["item"]["type"] not in WITHOUT_STATUS
            assert (event["item"].get("status") in LAST_STATUSES) == has_status
            assert not item.part_is_open
            assert item.has_told_text
            item.is_done = True
            self.done[event["output_index"]] = event["item"]
            return
        assert event["item_id"] == item.id
        self._read_part(item, event, kind)

    def _read_part(self, item: _Item, event: Event, kind: str) -> None:
        index = event.get("content_index", event.get("summary_index"))
        if kind in PART_ADDED:
            assert not item.part_is_open, "one part at a time"
            assert index == item.parts, "parts are added in order"
            item.parts += 1
            item.part_is_open = True
        else:
            assert index is None or index == item.parts - 1
            assert index is None or item.part_is_open
        if kind in PIECES:
            item.pieces += event["delta"]
            item.has_told_text = False
        elif kind in DONE:
            assert event[DONE[kind]] == item.pieces, "the whole is the sum of its pieces"
            item.pieces = "" if index is not None else item.pieces
            item.has_told_text = True
        elif kind in PART_DONE:
            assert item.has_told_text
            item.part_is_open = False


def check(events: Sequence[Event], *, first_number: int = 0) -> dict[str, Any]:
    """Check the order of a whole stream, and give the response that its last event tells."""
    numbers = [event["sequence_number"] for event in events]
    assert numbers == list(range(first_number, first_number + len(events)))
    kinds = [event["type"] for event in events]
    beginning = 3 if "response.queued" in kinds else 2
    if first_number == 0:
        expected = ["response.created", "response.queued", "response.in_progress"]
        assert kinds[:beginning] == (expected if beginning == 3 else expected[::2])
    assert all(kind not in LAST for kind in kinds[:-1]), "nothing follows the last event"
    reader = _Reader()
    for event in events[:-1]:
        if "response" not in event:
            reader.read(event)
    last = events[-1]
    response = last["response"]
    assert response["status"] == LAST[last["type"]]
    assert all(item.is_done for item in reader.items), "what was added is done"
    assert response["output"] == [reader.done[index] for index in range(len(reader.items))]
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1
    return response
