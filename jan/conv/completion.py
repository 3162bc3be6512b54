"""From the events of a response to the chat completion that tells the same.

A chat has one message where a response has several: their texts follow each other as paragraphs.
What Jan carries out in between has no words in a chat, and is found in the conversation.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from jan import clock, sse
from jan.inference.chunks import Usage
from jan.responses.machine import Machine
from jan.responses.response import CustomToolCall, FunctionCall

Delta = dict[str, Any]
FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]

BETWEEN = "\n\n"
"""Stands between texts that were apart."""
BEGINNING: Delta = {"role": "assistant", "content": ""}


class _Item(msgspec.Struct):
    type: str
    id: str = ""
    call_id: str = ""
    name: str = ""


class _Part(msgspec.Struct):
    type: str


class _Event(msgspec.Struct):
    type: str
    delta: str = ""
    item_id: str = ""
    item: _Item | None = None
    part: _Part | None = None
    annotation: dict[str, Any] = {}


_event = msgspec.json.Decoder(_Event)


class Completion:
    """One answer, which is told piece by piece or as a whole."""

    def __init__(self, completion_id: str, model: str) -> None:
        self._head = {
            "id": completion_id,
            "created": int(clock.now().timestamp()),
            "model": model,
        }
        self._has_begun = False
        self._is_apart = {"content": False, "reasoning_content": False}
        self._length = 0
        self._start = 0
        """Where in all of the text the part begins that is being said."""
        self._calls: dict[str, int] = {}

    def deltas(self, events: Iterable[bytes]) -> list[Delta]:
        """Translate events. The first of what is told says whose words they are."""
        told: list[Delta] = []
        for event in events:
            told += self._told(_event.decode(sse.data(event)))
        return told

    def chunk(self, delta: Delta, finish_reason: FinishReason | None = None) -> bytes:
        """Write an event of a stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._event([choice])

    def last(self, machine: Machine, *, tells_usage: bool) -> bytes:
        """Write the events that end a stream."""
        told = self.chunk({}, finish_reason(machine))
        if tells_usage and machine.usage is not None:
            told += self._event([], usage=_usage(machine.usage))
        return told + sse.DONE

    def whole(self, machine: Machine, deltas: Sequence[Delta]) -> dict[str, Any]:
        """Write the whole answer, of which this is all."""
        choice = {
            "index": 0,
            "message": _joined(deltas),
            "logprobs": None,
            "finish_reason": finish_reason(machine),
        }
        told = self._head | {"object": "chat.completion", "choices": [choice]}
        return told | ({} if machine.usage is None else {"usage": _usage(machine.usage)})

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        head = self._head | {"object": "chat.completion.chunk"}
        return sse.event(msgspec.json.encode(head | {"choices": choices} | more))

    def _told(self, event: _Event) -> list[Delta]:
        told: list[Delta] = []
        match event.type.removeprefix("response."):
            case "output_item.added" if event.item is not None:
                told = self._item(event.item)
            case "content_part.added" if event.part is not None:
                told = self._part(event.part)
            case "output_text.delta":
                told = [self._words(event.delta)]
            case "reasoning_text.delta":
                told = [{"reasoning_content": event.delta}]
            case "refusal.delta":
                told = [{"refusal": event.delta}]
            case "function_call_arguments.delta":
                function = {"arguments": event.delta}
                call = {"index": self._calls[event.item_id], "function": function}
                told = [{"tool_calls": [call]}]
            case "output_text.annotation.added":
                told = [{"annotations": [self._annotation(event.annotation)]}]
            case _:
                pass
        return told

    def _item(self, item: _Item) -> list[Delta]:
        if item.type == "mcp_list_tools":  # before the model has been asked
            return []
        told = [] if self._has_begun else [BEGINNING]
        self._has_begun = True
        if item.type == "function_call":
            index = self._calls[item.id] = len(self._calls)
            function = {"name": item.name, "arguments": ""}
            call = {"index": index, "id": item.call_id, "type": "function", "function": function}
            told.append({"tool_calls": [call]})
        return told

    def _part(self, part: _Part) -> list[Delta]:
        kind = {"output_text": "content", "reasoning_text": "reasoning_content"}.get(part.type)
        if kind is None:
            return []
        is_apart, self._is_apart[kind] = self._is_apart[kind], True
        told: list[Delta] = []
        if is_apart:
            told = [self._words(BETWEEN) if kind == "content" else {kind: BETWEEN}]
        if kind == "content":
            self._start = self._length
        return told

    def _words(self, piece: str) -> Delta:
        self._length += len(piece)
        return {"content": piece}

    def _annotation(self, said: dict[str, Any]) -> dict[str, Any]:
        """Write a citation as chats have it, by its place in all of the text."""
        cited = {name: value for name, value in said.items() if name != "type"}
        for name in ("start_index", "end_index"):
            cited[name] += self._start
        return {"type": said["type"], said["type"]: cited}


def finish_reason(machine: Machine) -> FinishReason:
    """Say why the model has ended."""
    details = machine.response.incomplete_details
    if details is not None:
        return "length" if details.reason == "max_output_tokens" else "content_filter"
    has_calls = any(
        isinstance(item, FunctionCall | CustomToolCall) for item in machine.response.output
    )
    return "tool_calls" if has_calls else "stop"


def _usage(counted: Usage) -> dict[str, Any]:
    prompt, completion = counted.prompt_tokens or 0, counted.completion_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": counted.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": counted.reasoning_tokens},
    }


def _joined(deltas: Sequence[Delta]) -> dict[str, Any]:
    """Put a message together."""
    texts: dict[str, list[str]] = {}
    annotations: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for delta in deltas:
        for name in ("content", "refusal", "reasoning_content"):
            if delta.get(name):
                texts.setdefault(name, []).append(delta[name])
        annotations += delta.get("annotations", ())
        for piece in delta.get("tool_calls", ()):
            if "id" in piece:
                function = {**piece["function"], "arguments": []}
                calls.append({"id": piece["id"], "type": "function", "function": function})
            else:
                calls[piece["index"]]["function"]["arguments"].append(
                    piece["function"]["arguments"]
                )
    for call in calls:
        call["function"]["arguments"] = "".join(call["function"]["arguments"])
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    message |= {name: "".join(pieces) for name, pieces in texts.items()}
    message |= {"annotations": annotations} if annotations else {}
    return message | ({"tool_calls": calls} if calls else {})
