"""The loop in which a model calls tools that Jan carries out, and is asked again with what came.

Everything in it is bounded: the times that the model is asked, the calls, the time of each and of
all. At a bound the model is asked once more, without tools, so that there is an answer. A tool that
fails is told to the model like any other outcome. Leaving the loop, or cancelling it, ends what
runs.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

from jan import clock
from jan.errors import JanError
from jan.responses.machine import Machine
from jan.responses.schemas import Create
from jan.responses.server_calls import Outcome, ServerCallWriter, Source
from jan.responses.servers import ListedTool, McpServer, WebSearch
from jan.responses.storable import cleaned
from jan.responses.tools import OPEN_PAGE, SEARCH, Tool
from jan.responses.translation import Prompt

T = TypeVar("T")

SEARCH_PARAMETERS = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "What to look for."}},
    "required": ["query"],
}
OPEN_PAGE_PARAMETERS = {
    "type": "object",
    "properties": {"url": {"type": "string", "description": "The page's address."}},
    "required": ["url"],
}
SEARCH_WORDS = (
    "Search the web. Name the pages that you used in your answer, as Markdown links:"
    " [title](address)."
)
OPEN_PAGE_WORDS = "Read a page of the web, such as one that was found."


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a loop goes."""

    rounds: int = 16
    """Times that the model is told outcomes."""
    calls: int = 64
    """Calls in all, however many the request allows."""
    calls_at_once: int = 8
    call_s: float = 60.0
    loop_s: float = 600.0


class Tools(Protocol):
    """What carries calls out, for one caller."""

    @property
    def can_search(self) -> bool:
        """Whether the web can be searched from here."""
        ...

    async def listed(self, server: McpServer) -> Sequence[ListedTool]:
        """Tell what a server has. Raises JanError."""
        ...

    async def call(self, tool: Tool, server: McpServer | None, arguments: str) -> Outcome:
        """Carry out a call of an MCP tool. Raises JanError."""
        ...

    async def search(self, web: WebSearch, tool: Tool, arguments: str) -> Outcome:
        """Search the web, or open a page. Raises JanError."""
        ...


class Loop:
    """What is around the model while one response is made."""

    def __init__(
        self,
        machine: Machine,
        create: Create,
        prompt: Prompt,
        tools: Tools,
        bounds: Bounds | None = None,
    ) -> None:
        self._machine = machine
        self._prompt = prompt
        self._tools = tools
        self._bounds = bounds or Bounds()
        self._servers = {server.server_label: server for server in prompt.toolset.mcp}
        self._is_parallel = create.parallel_tool_calls is not False
        self._calls_left = min(create.max_tool_calls or self._bounds.calls, self._bounds.calls)
        self._rounds_left = self._bounds.rounds
        self._ends_at_s = clock.monotonic_s() + self._bounds.loop_s

    async def begin(self) -> AsyncGenerator[list[bytes]]:
        """Find out what tools there are, and carry out what the client has just allowed.

        Raises:
            InvalidRequest: the request's choice is of none of them.
        """
        async with aclosing(self._list()) as listing:
            async for made in listing:
                yield made
        toolset = self._prompt.toolset
        if toolset.web is not None and self._tools.can_search:
            toolset.add(Tool("web_search", SEARCH), SEARCH_WORDS, SEARCH_PARAMETERS)
            toolset.add(Tool("web_search", OPEN_PAGE), OPEN_PAGE_WORDS, OPEN_PAGE_PARAMETERS)
        toolset.settle()
        self._prompt.body.update(toolset.body)
        made = [
            event
            for request in self._prompt.allowed
            for event in self._machine.begin_allowed(
                Tool("mcp", request.name, server=request.server_label),
                request.arguments,
                request.id,
            )
        ]
        if made:
            yield made
            async with aclosing(self.carry_out()) as outcomes:
                async for more in outcomes:
                    yield more

    @property
    def is_asked_again(self) -> bool:
        """Whether the model is to be told what came of its calls."""
        machine = self._machine
        return bool(machine.pending) and not machine.is_cut_off

    async def carry_out(self) -> AsyncGenerator[list[bytes]]:
        """Carry out what the model has called, and add what came of it to its prompt."""
        machine = self._machine
        calls = machine.pending
        words, thoughts = machine.said()
        outcomes: dict[str, Outcome] = {}
        at_once = self._bounds.calls_at_once if self._is_parallel else 1
        running = [self._carried_out(call) for call in calls]
        async with aclosing(_as_done(running, at_once)) as done:
            async for index, outcome in done:
                outcomes[calls[index].call_id] = outcome
                yield machine.carried_out(calls[index], outcome)
        self._prompt.messages.append(self._told(calls, words, thoughts))
        self._prompt.messages.extend(
            {
                "role": "tool",
                "tool_call_id": call.call_id,
                "content": outcomes[call.call_id].text,
            }
            for call in calls
        )
        machine.ask_again()
        self._rounds_left -= 1
        is_last = self._rounds_left <= 0 or self._calls_left <= 0 or self._is_late
        # A choice that forces a call would force one for ever.
        if "tool_choice" in self._prompt.body or is_last:
            self._prompt.body["tool_choice"] = "none" if is_last else "auto"

    @property
    def _is_late(self) -> bool:
        return clock.monotonic_s() >= self._ends_at_s

    async def _list(self) -> AsyncGenerator[list[bytes]]:
        """Ask all servers what they have, but for those that the history knows of."""
        toolset, machine = self._prompt.toolset, self._machine
        unknown = [
            server for server in toolset.mcp if server.server_label not in self._prompt.listed
        ]
        writers = []
        for server in unknown:
            writer, made = machine.begin_listing(server.server_label)
            writers.append(writer)
            yield made
        found = dict(self._prompt.listed)
        asking = [self._listed(server) for server in unknown]
        async with aclosing(_as_done(asking, self._bounds.calls_at_once)) as done:
            async for index, (tools, error) in done:
                found[unknown[index].server_label] = tools
                yield machine.end_listing(writers[index], tools, error)
        for server in toolset.mcp:
            for tool in found.get(server.server_label, ()):
                if server.allows(tool):
                    asks_before = server.asks_before(tool)
                    known = Tool(
                        "mcp", tool.name, server=server.server_label, asks_before=asks_before
                    )
                    toolset.add(known, tool.description, tool.input_schema)

    async def _listed(self, server: McpServer) -> tuple[Sequence[ListedTool], str | None]:
        try:
            async with asyncio.timeout(self._bounds.call_s):
                tools = await self._tools.listed(server)
        except TimeoutError:
            return (), f"It did not answer within {self._bounds.call_s:g} s."
        except JanError as error:
            return (), cleaned(error.message)
        allowed = [msgspec.to_builtins(tool) for tool in tools if server.allows(tool)]
        return msgspec.convert(cleaned(allowed), list[ListedTool]), None

    async def _carried_out(self, call: ServerCallWriter) -> Outcome:
        if self._calls_left <= 0:
            return _failed("The limit of tool calls has been reached. Answer without it.")
        self._calls_left -= 1
        left_s = self._ends_at_s - clock.monotonic_s()
        try:
            async with asyncio.timeout(max(min(self._bounds.call_s, left_s), 0)):
                return _kept(await self._carry_out(call))
        except TimeoutError:
            return _failed("It did not answer in time.")
        except JanError as error:
            return _failed(cleaned(error.message))

    async def _carry_out(self, call: ServerCallWriter) -> Outcome:
        if call.tool.kind == "mcp":
            server = self._servers.get(call.tool.server or "")
            return await self._tools.call(call.tool, server, call.arguments)
        web = self._prompt.toolset.web or WebSearch()
        return await self._tools.search(web, call.tool, call.arguments)

    def _told(self, calls: Sequence[ServerCallWriter], words: str, thoughts: str) -> dict[str, Any]:
        """Write what the model has said, as it is told it again."""
        names = self._prompt.toolset.named
        by_tool = {tool: name for name, tool in names.items()}
        message: dict[str, Any] = {"role": "assistant", "content": words or None}
        if thoughts:
            message["reasoning"] = thoughts
        message["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {
                    "name": by_tool.get(call.tool, call.tool.name),
                    "arguments": call.arguments,
                },
            }
            for call in calls
        ]
        return message


def _kept(outcome: Outcome) -> Outcome:
    sources = [Source(cleaned(page.url), cleaned(page.title)) for page in outcome.sources]
    return Outcome(cleaned(outcome.text), cleaned(outcome.error), sources)


def _failed(words: str) -> Outcome:
    error = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": words}]}
    return Outcome(f"Error: {words}", error)


async def _as_done(
    running: Sequence[Coroutine[Any, Any, T]], at_once: int
) -> AsyncGenerator[tuple[int, T]]:
    """Run all, some at a time, and give each result with its place as it comes."""
    room = asyncio.Semaphore(at_once)

    async def run(index: int, work: Coroutine[Any, Any, T]) -> tuple[int, T]:
        async with room:
            return index, await work

    tasks = [asyncio.create_task(run(index, work)) for index, work in enumerate(running)]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for work in running:
            work.close()
