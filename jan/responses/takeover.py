"""What a response that was broken off had come to, read from its stored events, and its end.

Whoever made it is gone, or is not asked any more. All that had been told stays; what was open is
closed by the events that its maker would have written, with the next numbers.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from jan import sse
from jan.responses import events
from jan.responses.events import Tape
from jan.responses.response import Error, OutputItem, Response

BEGINNING = frozenset({"response.created", "response.queued", "response.in_progress"})
"""Events that tell nothing of the model's own."""

PARTS = {
    "output_text": ("content", "text", events.TEXT_DONE, events.PART_DONE),
    "refusal": ("content", "refusal", events.REFUSAL_DONE, events.PART_DONE),
    "reasoning_text": ("content", "text", events.REASONING_DONE, events.PART_DONE),
    "summary_text": ("summary", "text", events.SUMMARY_DONE, events.SUMMARY_PART_DONE),
}
"""By its type: where in the item a part is, what its text is called, and how it is closed."""
CALLS = {
    "function_call": ("arguments", events.ARGUMENTS_DONE),
    "custom_tool_call": ("input", events.CUSTOM_INPUT_DONE),
    "mcp_call": ("arguments", events.MCP_ARGUMENTS_DONE),
}
WITHOUT_STATUS = frozenset({"mcp_list_tools", "mcp_approval_request"})

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """A response that no machine has ended."""

    response: Response
    engine: str | None = None


@dataclass(slots=True)
class _Item:
    index: int
    item: dict[str, Any]
    is_done: bool = False
    place: dict[str, Any] = field(default_factory=dict[str, Any])
    part: dict[str, Any] | None = None
    """The one that is open."""
    is_told: bool = False
    """Whether the whole of the text has been told, of which the pieces are."""
    pieces: list[str] = field(default_factory=list[str])
    logprobs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def take(self, event: Event) -> None:
        """Take an event of this item's."""
        match event["type"].removeprefix("response."):
            case "output_item.done":
                self.item, self.is_done = event["item"], True
            case "content_part.added" | "reasoning_summary_part.added":
                indexes = ("item_id", "output_index", "content_index", "summary_index")
                self.place = {name: event[name] for name in indexes if name in event}
                self.part, self.pieces, self.logprobs = event["part"], [], []
                self.is_told = False
            case "content_part.done" | "reasoning_summary_part.done":
                self._keep(event["part"])
            case "output_text.annotation.added" if self.part is not None:
                self.part["annotations"].append(event["annotation"])
            case _ if "delta" in event:
                self.pieces.append(event["delta"])
                self.logprobs += event.get("logprobs") or ()
            case kind if kind.endswith(".done"):
                self.is_told = True
            case _:
                pass

    def close(self, tape: Tape) -> None:
        """End the item, as far as it is not."""
        if self.is_done:
            return
        text = "".join(self.pieces)
        kind = self.item["type"]
        if self.part is not None:
            self._close_part(tape, self.part, text)
        elif kind in CALLS:
            name, done = CALLS[kind]
            self.item[name] = text
            if not self.is_told:
                place = events.where(self.item["id"], self.index)
                tape.write(done, place | {name: text})
        if kind not in WITHOUT_STATUS:
            self.item["status"] = "incomplete"
        self.is_done = True
        tape.write(events.ITEM_DONE, {"output_index": self.index, "item": self.item})

    def _close_part(self, tape: Tape, part: dict[str, Any], text: str) -> None:
        _, name, done, part_done = PARTS[part["type"]]
        part[name] = text
        said: dict[str, Any] = {name: text}
        if part["type"] == "output_text":
            said["logprobs"] = self.logprobs
            part["logprobs"] = [_in_item(token) for token in self.logprobs]
        if not self.is_told:
            tape.write(done, self.place | said)
        tape.write(part_done, self.place | {"part": part})
        self._keep(part)

    def _keep(self, part: dict[str, Any]) -> None:
        self.item[PARTS[part["type"]][0]].append(part)
        self.part = None


class Remains:
    """What is there of a response."""

    def __init__(self, stored: bytes) -> None:
        self.next_number = 0
        self.has_begun = False
        """Whether it was told that it is in progress."""
        self._items: list[_Item] = []
        for event in sse.each(stored):
            self._take(msgspec.json.decode(sse.data(event)))

    @property
    def has_output(self) -> bool:
        """Whether anything of the model's own has been told."""
        return bool(self._items)

    @property
    def output(self) -> list[OutputItem]:
        """The items, as far as they have come."""
        return [msgspec.convert(one.item, type=OutputItem) for one in self._items]

    def cut(self, begun: Response) -> list[bytes]:
        """End a response that was cancelled: OpenAI has no event for that itself."""
        tape = Tape(next_number=self.next_number, pads=False)
        self._close(tape, begun)
        begun.status = "cancelled"
        return tape.take()

    def fail(self, begun: Response, words: str) -> list[bytes]:
        """End a response that nobody makes any more."""
        tape = Tape(next_number=self.next_number, pads=False)
        if not self.has_begun:
            begun.status = "in_progress"
            tape.write(events.IN_PROGRESS, {"response": begun})
        self._close(tape, begun)
        begun.status, begun.error = "failed", Error("server_error", words)
        tape.write(events.FAILED, {"response": begun})
        return tape.take()

    def _take(self, event: Event) -> None:
        kind = event["type"]
        self.next_number = event["sequence_number"] + 1
        self.has_begun = self.has_begun or kind == "response.in_progress"
        if kind == "response.output_item.added":
            self._items.append(_Item(event["output_index"], event["item"]))
        elif kind not in BEGINNING:
            self._items[event["output_index"]].take(event)

    def _close(self, tape: Tape, begun: Response) -> None:
        for one in self._items:
            one.close(tape)
        begun.output = self.output


def _in_item(token: dict[str, Any]) -> dict[str, Any]:
    """Write a token of an event as items have it."""
    top = [other | {"bytes": _bytes(other)} for other in token.get("top_logprobs") or ()]
    return token | {"bytes": _bytes(token), "top_logprobs": top}


def _bytes(token: dict[str, Any]) -> list[int]:
    return list(token["token"].encode(errors="replace"))
