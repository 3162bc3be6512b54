"""Carries out what models call while responses are made: tools of MCP servers, and the web.

Every call goes through the toolbox, and so is held against its limits and leaves its row. A server
is connected to for each listing and each call: what is between them is the model's time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from jan.caller import Caller
from jan.errors import NotFound
from jan.net.guard import Guard
from jan.permissions import Scope
from jan.responses.server_calls import Outcome, Source
from jan.responses.servers import ListedTool, McpServer, WebSearch
from jan.responses.tools import OPEN_PAGE, Tool
from jan.tools import health, registered, servers, toolbox
from jan.tools.arguments import read
from jan.tools.provider import Results
from jan.tools.registered import Registered
from jan.tools.servers import Servers
from jan.tools.toolbox import Result, Toolbox
from jan.tools.web import SCRAPE, SEARCH

RESULTS = {"low": 5, "medium": 8, "high": 15}
"""How many pages a search tells the model, by OpenAI's `search_context_size`."""
PAGE_CHARACTERS = {"low": 4_000, "medium": 12_000, "high": 40_000}
"""How much of a page. Models here have short contexts."""
ANY_ARGUMENTS = {"type": "object"}
"""Of a tool that an earlier turn has listed: the server knows what it takes."""


@dataclass(frozen=True, slots=True)
class Carriers:
    """What all of them need."""

    toolbox: Toolbox
    guard: Guard
    servers: Servers

    def of(self, caller: Caller, response_id: str | None = None) -> "Carrying":
        """Make what carries out calls for one caller, and for one response."""
        return Carrying(self, caller, response_id)


class Carrying:
    """Carries calls out for one caller."""

    def __init__(self, carriers: Carriers, caller: Caller, response_id: str | None) -> None:
        self._toolbox = carriers.toolbox
        self._guard = carriers.guard
        self._servers = carriers.servers
        self._caller = caller
        self._response_id = response_id
        self._schemas: dict[tuple[str, str], Mapping[str, Any]] = {}

    @property
    def can_search(self) -> bool:
        """Whether the web can be searched from here, by this caller."""
        known = {tool.name for tool in self._toolbox.tools()}
        return SEARCH in known and Scope.TOOLS_USE in self._caller.scopes

    async def listed(self, server: McpServer) -> Sequence[ListedTool]:
        """Tell what a server has. What a request leaves open is as the registration says.

        Raises:
            Forbidden: the caller may use no tools.
            NotFound: no such server is registered for the caller.
            JanError: the server can't be asked.
        """
        self._caller.require(Scope.TOOLS_USE)
        if server.connector_id is None:
            async with self._connected(server) as remote:
                described = [tool.described for tool in (await remote.listing()).tools]
        else:
            known = await self._registered(server)
            if server.require_approval is None:
                server.require_approval = known.require_approval
            described = known.tools
            if described is None:  # it has not been asked yet
                listing = await health.ask(known, guard=self._guard, means=self._servers)
                described = [tool.described for tool in listing.tools]
            described = [tool for tool in described if _may_be_called(known, tool["name"])]
        found = msgspec.convert(described, list[ListedTool])
        for tool in found:
            self._schemas[server.server_label, tool.name] = tool.input_schema
        return found

    async def call(self, tool: Tool, server: McpServer | None, arguments: str) -> Outcome:
        """Carry out a call of an MCP tool. What goes wrong is an outcome.

        Raises:
            Forbidden, NotFound: as `listed`.
        """
        self._caller.require(Scope.TOOLS_USE)
        if server is None:
            raise NotFound(f"No server `{tool.server}` is among the request's tools.")
        known = None if server.connector_id is None else await self._registered(server)
        if known is not None and not _may_be_called(known, tool.name):
            raise NotFound(f"`{tool.name}` is not among the tools of `{known.label}`.")

        async def carry_out(_: Caller, said: dict[str, Any]) -> Result:
            async with self._connected(server, known) as remote:
                return await remote.call(tool.name, said)

        called = toolbox.Tool(
            name=tool.name,
            description="",
            input_schema=self._schemas.get((server.server_label, tool.name), ANY_ARGUMENTS),
            call=carry_out,
            server=server.server_label,
        )
        return _outcome(
            await self._toolbox.run(self._caller, called, arguments, response_id=self._response_id)
        )

    async def search(self, web: WebSearch, tool: Tool, arguments: str) -> Outcome:
        """Search the web, or open a page. What goes wrong is an outcome.

        Raises:
            ToolNotConfigured, Forbidden: as `Toolbox.find`.
        """
        size = web.search_context_size or "medium"
        said, _ = read(arguments)
        if tool.name == OPEN_PAGE:
            result = await self._run(SCRAPE, {"url": said.get("url"), "includeMarkdown": True})
            return _outcome(result) if result.is_error else _page(result, PAGE_CHARACTERS[size])
        wanted = {"q": _narrowed(str(said.get("query", "")), web.domains), "num": RESULTS[size]}
        place = web.user_location
        if place is not None:
            named = ", ".join(part for part in (place.city, place.region, place.country) if part)
            wanted |= {"location": named} if place.city or place.region else {}
            wanted |= {"gl": place.country.lower()} if place.country else {}
        result = await self._run(SEARCH, wanted)
        return _outcome(result) if result.is_error else _found(result, RESULTS[size])

    async def _run(self, name: str, said: Mapping[str, Any]) -> Result:
        return await self._toolbox.call(self._caller, name, said, response_id=self._response_id)

    async def _registered(self, server: McpServer) -> Registered:
        for known in await servers.usable(self._caller):
            if server.connector_id in {known.id, known.label}:
                return known
        raise NotFound(f"No MCP server `{server.connector_id}` is registered here.")

    def _connected(self, server: McpServer, known: Registered | None = None) -> Any:
        from jan.tools.mcp_client import connect  # noqa: PLC0415 - the SDK: 0.8 s to import

        if known is not None:
            url, headers = known.url, self._servers.headers(known)
        else:
            url = self._servers.url(server.server_url or "")
            headers = registered.headers(server.headers or {}, server.authorization)
        return connect(self._guard, url, label=server.server_label, headers=headers)


def _may_be_called(server: Registered, name: str) -> bool:
    """Whether who has registered a server lets models call a tool of it."""
    return server.allowed_tools is None or name in server.allowed_tools


def _outcome(result: Result) -> Outcome:
    """Tell of a call as OpenAI's `mcp_call` does."""
    if not result.is_error:
        return Outcome(result.text)
    content = [{"type": "text", "text": result.text}]
    return Outcome(result.text, {"type": "mcp_tool_execution_error", "content": content})


def _found(result: Result, most: int) -> Outcome:
    """Tell of the pages in few words, and remember them to be cited."""
    pages = Results(result.structured).sources[:most]
    lines = [f"{page.title}\n{page.url}\n{page.snippet}" for page in pages]
    sources = [Source(page.url, page.title) for page in pages]
    return Outcome("\n\n".join(lines) or "Nothing was found.", sources=sources)


def _page(result: Result, most: int) -> Outcome:
    said = result.structured
    text = said.get("markdown") or said.get("text") or ""
    title = str(said.get("metadata", {}).get("title") or "")
    url = str(said.get("metadata", {}).get("url") or "")
    told = text[:most] + ("\n[The page goes on.]" if len(text) > most else "")
    return Outcome(told, sources=[Source(url, title)] if url else ())


def _narrowed(query: str, domains: Sequence[str]) -> str:
    """Search in some places alone, in the words that search engines know."""
    sites = " OR ".join(f"site:{domain}" for domain in domains)
    return f"{query} ({sites})" if sites else query
