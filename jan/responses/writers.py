"""One item of output while it is being made: its events, and at the end the item itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import msgspec

from jan import ids
from jan.inference.chunks import Logprob
from jan.responses import citations, events, tools
from jan.responses.events import Tape
from jan.responses.response import (
    CustomToolCall,
    FunctionCall,
    ItemStatus,
    McpApprovalRequest,
    McpListTools,
    Message,
    OutputItem,
    OutputText,
    ReasoningItem,
    ReasoningText,
    Refusal,
    SummaryText,
)
from jan.responses.tools import Tool


class Writer(ABC):
    """What all of them do: the item is announced, and at last it is done."""

    def __init__(self, tape: Tape, index: int, item: OutputItem) -> None:
        self.item = item
        self._tape = tape
        self._index = index
        tape.write(events.ITEM_ADDED, {"output_index": index, "item": item})

    def close(self, status: ItemStatus) -> None:
        """End the item."""
        self._finish(status)
        if not isinstance(self.item, McpListTools | McpApprovalRequest):  # they have none
            self.item.status = status
        self._tape.write(events.ITEM_DONE, {"output_index": self._index, "item": self.item})

    @abstractmethod
    def _finish(self, status: ItemStatus) -> None:
        """Write what comes before the item's own end."""


class MessageWriter(Writer):
    """The model's words, or its refusal: each is a part of the message."""

    item: Message

    def __init__(self, tape: Tape, index: int, sources: Mapping[str, str]) -> None:
        """`sources` are titles of pages that the model was told of, by their URLs."""
        super().__init__(tape, index, Message(ids.new("msg"), content=[]))
        self._sources = sources
        self._part: OutputText | Refusal | None = None
        self._place: dict[str, Any] = {}
        self._before = b""
        self._pieces: list[str] = []
        self._logprobs: list[Logprob] = []

    def say(self, piece: str, logprobs: list[Logprob] | None) -> None:
        """Add to the text."""
        if not isinstance(self._part, OutputText):
            self._open(OutputText("", [], []))
        self._pieces.append(piece)
        after = b',"logprobs":[]'
        if logprobs:
            self._logprobs += logprobs
            after = b',"logprobs":' + events.encode([_in_event(token) for token in logprobs])
        self._tape.write_piece(events.TEXT_DELTA, self._before, piece, after)

    def refuse(self, piece: str) -> None:
        """Add to the refusal."""
        if not isinstance(self._part, Refusal):
            self._open(Refusal(""))
        self._pieces.append(piece)
        self._tape.write_piece(events.REFUSAL_DELTA, self._before, piece, b"")

    def _open(self, part: OutputText | Refusal) -> None:
        self._close_part()
        self._part = part
        self._place = events.where(self.item.id, self._index, content_index=len(self.item.content))
        self._before = events.before_piece(self._place)
        self.item.content.append(part)
        self._tape.write(events.PART_ADDED, self._place | {"part": part})

    def _close_part(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        text = "".join(self._pieces)
        self._pieces = []
        if isinstance(part, OutputText):
            part.text = text
            part.logprobs = [_in_item(token) for token in self._logprobs]
            said = {"text": text, "logprobs": [_in_event(token) for token in self._logprobs]}
            self._cite(part)
            self._tape.write(events.TEXT_DONE, self._place | said)
        else:
            part.refusal = text
            self._tape.write(events.REFUSAL_DONE, self._place | {"refusal": text})
        self._tape.write(events.PART_DONE, self._place | {"part": part})

    def _cite(self, part: OutputText) -> None:
        """Say where the text names pages that were found for it."""
        part.annotations = citations.found(part.text, self._sources)
        for index, annotation in enumerate(part.annotations):
            said = {"annotation_index": index, "annotation": annotation}
            self._tape.write(events.ANNOTATION_ADDED, self._place | said)

    def _finish(self, status: ItemStatus) -> None:  # noqa: ARG002
        self._close_part()


class ReasoningWriter(Writer):
    """The model's thoughts, as they are, or in the place of a summary."""

    item: ReasoningItem

    def __init__(self, tape: Tape, index: int, *, as_summary: bool) -> None:
        super().__init__(tape, index, ReasoningItem(ids.new("rs"), summary=[], content=[]))
        self._pieces: list[str] = []
        self._as_summary = as_summary
        which = {"summary_index": 0} if as_summary else {"content_index": 0}
        self._place = events.where(self.item.id, index, **which)
        self._before = events.before_piece(self._place)
        self._delta = events.SUMMARY_DELTA if as_summary else events.REASONING_DELTA
        head = events.SUMMARY_PART_ADDED if as_summary else events.PART_ADDED
        tape.write(head, self._place | {"part": self._part("")})

    def think(self, piece: str) -> None:
        """Add to the thoughts."""
        self._pieces.append(piece)
        self._tape.write_piece(self._delta, self._before, piece, b"")

    def _part(self, text: str) -> SummaryText | ReasoningText:
        return SummaryText(text) if self._as_summary else ReasoningText(text)

    def _finish(self, status: ItemStatus) -> None:  # noqa: ARG002
        text = "".join(self._pieces)
        part = self._part(text)
        if isinstance(part, SummaryText):
            self.item.summary.append(part)
            done, part_done = events.SUMMARY_DONE, events.SUMMARY_PART_DONE
        else:
            self.item.content.append(part)
            done, part_done = events.REASONING_DONE, events.PART_DONE
        self._tape.write(done, self._place | {"text": text})
        self._tape.write(part_done, self._place | {"part": part})


class FunctionCallWriter(Writer):
    """A call of a function."""

    item: FunctionCall

    def __init__(self, tape: Tape, index: int, call_id: str, tool: Tool) -> None:
        namespace = tool.namespace or msgspec.UNSET
        item = FunctionCall(ids.new("fc"), call_id, tool.name, namespace=namespace)
        super().__init__(tape, index, item)
        self._pieces: list[str] = []
        self._place = events.where(item.id, index)
        self._before = events.before_piece(self._place)

    def add(self, piece: str) -> None:
        """Add to the arguments."""
        self._pieces.append(piece)
        self._tape.write_piece(events.ARGUMENTS_DELTA, self._before, piece, b"")

    def _finish(self, status: ItemStatus) -> None:  # noqa: ARG002
        self.item.arguments = "".join(self._pieces)
        said = {"arguments": self.item.arguments}
        self._tape.write(events.ARGUMENTS_DONE, self._place | said)


class CustomToolCallWriter(Writer):
    """A call of a tool that takes text. It comes as JSON, so nothing is told before its end."""

    item: CustomToolCall

    def __init__(self, tape: Tape, index: int, call_id: str, tool: Tool) -> None:
        namespace = tool.namespace or msgspec.UNSET
        item = CustomToolCall(ids.new("ctc"), call_id, tool.name, namespace=namespace)
        super().__init__(tape, index, item)
        self._pieces: list[str] = []
        self._place = events.where(item.id, index)

    def add(self, piece: str) -> None:
        """Add to the JSON."""
        self._pieces.append(piece)

    def _finish(self, status: ItemStatus) -> None:  # noqa: ARG002
        said = self.item.input = _unwrapped("".join(self._pieces))
        if said:
            before = events.before_piece(self._place)
            self._tape.write_piece(events.CUSTOM_INPUT_DELTA, before, said, b"")
        self._tape.write(events.CUSTOM_INPUT_DONE, self._place | {"input": said})


CallWriter = FunctionCallWriter | CustomToolCallWriter


def begin_client_call(tape: Tape, index: int, call_id: str, tool: Tool) -> CallWriter:
    """Begin the item that a call of this tool is."""
    writer = FunctionCallWriter if tool.kind == "function" else CustomToolCallWriter
    return writer(tape, index, call_id, tool)


class _Wrapped(msgspec.Struct):
    """The arguments of the function that stands for a custom tool."""

    input: str = msgspec.field(name=tools.CUSTOM_INPUT)


_wrapped = msgspec.json.Decoder(_Wrapped)


def _unwrapped(arguments: str) -> str:
    """Take the text out. A model that breaks off, or does not heed the schema, is quoted."""
    try:
        return _wrapped.decode(arguments).input
    except msgspec.MsgspecError:
        return arguments


def _in_event(token: Logprob) -> dict[str, Any]:
    top = [{"token": other.token, "logprob": other.logprob} for other in token.top_logprobs]
    return {"token": token.token, "logprob": token.logprob, "top_logprobs": top}


def _in_item(token: Logprob) -> dict[str, Any]:
    top = [
        {"token": other.token, "logprob": other.logprob, "bytes": _bytes(other.bytes, other.token)}
        for other in token.top_logprobs
    ]
    said = {"token": token.token, "logprob": token.logprob}
    return said | {"bytes": _bytes(token.bytes, token.token), "top_logprobs": top}


def _bytes(told: list[int] | None, token: str) -> list[int]:
    return list(token.encode(errors="replace")) if told is None else told
