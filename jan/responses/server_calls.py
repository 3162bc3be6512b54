"""Items of what Jan carries out for the model: tools of MCP servers, searches of the web.

A call of the model's is complete when the model has finished; its item, when the call has been
carried out. In between it stands open, and the machine tells it as pending.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from jan import ids
from jan.responses import events
from jan.responses.events import Tape
from jan.responses.response import (
    ItemStatus,
    McpApprovalRequest,
    McpCall,
    McpListTools,
    WebSearchCall,
)
from jan.responses.servers import ListedTool
from jan.responses.storable import cleaned
from jan.responses.tools import OPEN_PAGE, Tool
from jan.responses.writers import CallWriter, Writer, begin_client_call


@dataclass(frozen=True, slots=True)
class Source:
    """A page that the model was told of."""

    url: str
    title: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call."""

    text: str
    """What the model is told, of a failure too."""
    error: dict[str, Any] | None = None
    """As OpenAI's `mcp_call` has it. None: it was carried out."""
    sources: Sequence[Source] = field(default_factory=tuple[Source, ...])


class ServerCallWriter(Writer):
    """A call that Jan carries out."""

    call_id: str
    """By which the model is told of the outcome."""
    tool: Tool
    arguments: str
    """A JSON text, whole once `is_called`."""

    def __init__(self, tape: Tape, index: int, call_id: str, tool: Tool, item: Any) -> None:
        super().__init__(tape, index, item)
        self.call_id = call_id
        self.tool = tool
        self.arguments = ""
        self.is_called = False
        self._pieces: list[str] = []
        self._place = events.where(item.id, index)

    def add(self, piece: str) -> None:
        """Add to the arguments."""
        self._pieces.append(piece)

    def called(self) -> None:
        """Note that the model has said all of it."""
        self.arguments = "".join(self._pieces)
        self.is_called = True

    @abstractmethod
    def end(self, outcome: Outcome) -> None:
        """End the item with what came of the call."""

    def _finish(self, status: ItemStatus) -> None:  # noqa: ARG002
        if not self.is_called:
            self.called()


class McpCallWriter(ServerCallWriter):
    """A call of a tool of an MCP server."""

    item: McpCall

    def __init__(
        self, tape: Tape, index: int, call_id: str, tool: Tool, approval_id: str | None = None
    ) -> None:
        item = McpCall(
            ids.new("mcp"), tool.name, tool.server or "", approval_request_id=approval_id
        )
        super().__init__(tape, index, call_id, tool, item)
        self._before = events.before_piece(self._place)
        tape.write(events.MCP_CALL_IN_PROGRESS, self._place)

    def add(self, piece: str) -> None:
        """Add to the arguments."""
        super().add(piece)
        self._tape.write_piece(events.MCP_ARGUMENTS_DELTA, self._before, piece, b"")

    def called(self) -> None:
        """Note that the model has said all of it."""
        super().called()
        self.item.arguments = self.arguments
        self._tape.write(events.MCP_ARGUMENTS_DONE, self._place | {"arguments": self.arguments})

    def end(self, outcome: Outcome) -> None:
        """End the item with what came of the call."""
        self.item.error = outcome.error
        if outcome.error is None:
            self.item.output = outcome.text
        has_failed = outcome.error is not None
        self._tape.write(
            events.MCP_CALL_FAILED if has_failed else events.MCP_CALL_COMPLETED, self._place
        )
        self.close("failed" if has_failed else "completed")


class SearchWriter(ServerCallWriter):
    """A search, or the opening of a page. What is looked for is told once it is known."""

    item: WebSearchCall

    def __init__(self, tape: Tape, index: int, call_id: str, tool: Tool) -> None:
        action = _action(tool, {})
        super().__init__(tape, index, call_id, tool, WebSearchCall(ids.new("ws"), action))
        tape.write(events.SEARCH_IN_PROGRESS, self._place)

    def called(self) -> None:
        """Note that the model has said all of it."""
        super().called()
        self.item.action = _action(self.tool, _said(self.arguments))
        self._tape.write(events.SEARCH_SEARCHING, self._place)

    def end(self, outcome: Outcome) -> None:
        """End the item with what came of the call."""
        if outcome.sources and self.item.action["type"] == "search":
            self.item.action["sources"] = [
                {"type": "url", "url": source.url} for source in outcome.sources
            ]
        if outcome.error is None:
            self._tape.write(events.SEARCH_COMPLETED, self._place)
        self.close("completed" if outcome.error is None else "failed")


class ApprovalWriter(Writer):
    """A call that the client is asked to allow. It has no events but its item's."""

    item: McpApprovalRequest

    def __init__(self, tape: Tape, index: int, tool: Tool) -> None:
        item = McpApprovalRequest(ids.new("mcpr"), tool.name, tool.server or "")
        super().__init__(tape, index, item)
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        """Add to the arguments."""
        self._pieces.append(piece)

    def _finish(self, status: ItemStatus) -> None:  # noqa: ARG002
        self.item.arguments = "".join(self._pieces)


AnyCallWriter = CallWriter | ApprovalWriter | ServerCallWriter


class ListWriter(Writer):
    """The tools of an MCP server."""

    item: McpListTools

    def __init__(self, tape: Tape, index: int, label: str) -> None:
        super().__init__(tape, index, McpListTools(ids.new("mcpl"), label, []))
        self._place = events.where(self.item.id, index)
        tape.write(events.MCP_LIST_IN_PROGRESS, self._place)

    def end(self, tools: Sequence[ListedTool], error: str | None) -> None:
        """End the item with what the server has told."""
        self.item.tools, self.item.error = list(tools), error
        head = events.MCP_LIST_COMPLETED if error is None else events.MCP_LIST_FAILED
        self._tape.write(head, self._place)
        self.close("completed")

    def _finish(self, status: ItemStatus) -> None:
        if status == "incomplete" and self.item.error is None:
            self.item.error = "It was not waited for."


def begin_call(tape: Tape, index: int, call_id: str, tool: Tool) -> AnyCallWriter:
    """Begin the item that a call of this tool is."""
    if tool.kind == "mcp" and tool.asks_before:
        return ApprovalWriter(tape, index, tool)
    if tool.kind == "mcp":
        return McpCallWriter(tape, index, call_id, tool)
    if tool.kind == "web_search":
        return SearchWriter(tape, index, call_id, tool)
    return begin_client_call(tape, index, call_id, tool)


def _said(arguments: str) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(arguments)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return cleaned(said) if isinstance(said, dict) else {}


def _action(tool: Tool, said: dict[str, Any]) -> dict[str, Any]:
    """Write what the model does, as OpenAI's `web_search_call` has it."""
    if tool.name == OPEN_PAGE:
        return {"type": "open_page", "url": str(said.get("url", ""))}
    query = str(said.get("query", ""))
    return {"type": "search", "query": query, "queries": [query]}
