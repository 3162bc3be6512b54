"""OpenAI's stream events as bytes, numbered as they are written.

Pieces of text are by far the most of them, so what all pieces of one part have in common is put
together once, and nothing but the piece itself is encoded. Source: OpenAI's `ResponseStreamEvent`.
"""

import secrets
import string
from typing import Any

import msgspec

encode = msgspec.json.Encoder().encode

Logprobs = list[dict[str, Any]]

PADDING_STEP = 16
"""Padded pieces have lengths that are multiples of this."""
_NOISE = "".join(secrets.choice(string.ascii_letters) for _ in range(1024)).encode()
_NOISE_STARTS = len(_NOISE) - PADDING_STEP


def _head(kind: str) -> bytes:
    return f'event: {kind}\ndata: {{"type":"{kind}","sequence_number":'.encode()


CREATED = _head("response.created")
QUEUED = _head("response.queued")
IN_PROGRESS = _head("response.in_progress")
COMPLETED = _head("response.completed")
INCOMPLETE = _head("response.incomplete")
FAILED = _head("response.failed")
ERROR = _head("error")
ITEM_ADDED = _head("response.output_item.added")
ITEM_DONE = _head("response.output_item.done")
PART_ADDED = _head("response.content_part.added")
PART_DONE = _head("response.content_part.done")
TEXT_DELTA = _head("response.output_text.delta")
TEXT_DONE = _head("response.output_text.done")
REFUSAL_DELTA = _head("response.refusal.delta")
REFUSAL_DONE = _head("response.refusal.done")
REASONING_DELTA = _head("response.reasoning_text.delta")
REASONING_DONE = _head("response.reasoning_text.done")
SUMMARY_PART_ADDED = _head("response.reasoning_summary_part.added")
SUMMARY_PART_DONE = _head("response.reasoning_summary_part.done")
SUMMARY_DELTA = _head("response.reasoning_summary_text.delta")
SUMMARY_DONE = _head("response.reasoning_summary_text.done")
ARGUMENTS_DELTA = _head("response.function_call_arguments.delta")
ARGUMENTS_DONE = _head("response.function_call_arguments.done")
CUSTOM_INPUT_DELTA = _head("response.custom_tool_call_input.delta")
CUSTOM_INPUT_DONE = _head("response.custom_tool_call_input.done")
MCP_LIST_IN_PROGRESS = _head("response.mcp_list_tools.in_progress")
MCP_LIST_COMPLETED = _head("response.mcp_list_tools.completed")
MCP_LIST_FAILED = _head("response.mcp_list_tools.failed")
MCP_CALL_IN_PROGRESS = _head("response.mcp_call.in_progress")
MCP_CALL_COMPLETED = _head("response.mcp_call.completed")
MCP_CALL_FAILED = _head("response.mcp_call.failed")
MCP_ARGUMENTS_DELTA = _head("response.mcp_call_arguments.delta")
MCP_ARGUMENTS_DONE = _head("response.mcp_call_arguments.done")
SEARCH_IN_PROGRESS = _head("response.web_search_call.in_progress")
SEARCH_SEARCHING = _head("response.web_search_call.searching")
SEARCH_COMPLETED = _head("response.web_search_call.completed")
ANNOTATION_ADDED = _head("response.output_text.annotation.added")


class Tape:
    """Takes events down, each with the next number, until they are taken away."""

    def __init__(self, *, next_number: int, pads: bool) -> None:
        self.next_number = next_number
        self._pads = pads
        self._events: list[bytes] = []

    def take(self) -> list[bytes]:
        """Give what has been written since the last time."""
        events, self._events = self._events, []
        return events

    def write(self, head: bytes, fields: dict[str, Any]) -> None:
        """Write an event. `fields` are those beside its type and its number, at least one."""
        number = self.next_number
        self.next_number = number + 1
        self._events.append(b"%b%d,%b\n\n" % (head, number, encode(fields)[1:]))

    def write_piece(self, head: bytes, before: bytes, piece: str, after: bytes) -> None:
        """Write an event with a piece of text. `before` ends where the piece's value begins."""
        number = self.next_number
        self.next_number = number + 1
        if self._pads:
            start = (number * 7) % _NOISE_STARTS
            noise = _NOISE[start : start + -len(piece) % PADDING_STEP]
            self._events.append(
                b'%b%d%b%b%b,"obfuscation":"%b"}\n\n'
                % (head, number, before, encode(piece), after, noise)
            )
        else:
            self._events.append(b"%b%d%b%b%b}\n\n" % (head, number, before, encode(piece), after))


def where(item_id: str, output_index: int, **index: int) -> dict[str, Any]:
    """Say which item an event is about, and which of its parts."""
    return {"item_id": item_id, "output_index": output_index, **index}


def before_piece(place: dict[str, Any]) -> bytes:
    """Write what stands in an event between its number and a piece of text."""
    return b"," + encode(place)[1:-1] + b',"delta":'
