"""Remote MCP servers: connect, list their tools, call them.

They are strangers' programs. Whatever they do, hang, lie or flood, becomes a sentence within a
bound of time and bytes. All that is sent to them goes through the outbound guard.

The SDK's client lives in a task of its own: what goes wrong in it would else cancel whoever uses
it, and come out as a group of exceptions around theirs. So any task may use a connection. What
breaks a rule of HTTP's or a limit ends the connection, and with it all calls that run on it.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import mcp_types as types
import structlog
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from jan import telemetry
from jan.caller import Caller
from jan.errors import JanError, ToolServerFailed, ToolTimedOut, UrlNotFetched, UrlRefused
from jan.net.guard import Guard
from jan.tools import remote_content
from jan.tools.listing import Collector
from jan.tools.provider import Json
from jan.tools.toolbox import Listing, Result

T = TypeVar("T")

CLOSE_S = 2.0
"""For saying goodbye to a server that keeps a session."""
FIRST_SERVER_ERROR = 400
DENIED = frozenset({401, 403})

log = structlog.get_logger("jan.tools")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is waited for, and taken, of one server."""

    connect_timeout_s: float = 10.0
    """Until it has said which version it speaks."""
    list_timeout_s: float = 15.0
    """For all pages of its tools."""
    call_timeout_s: float = 60.0
    max_bytes: int = 1_048_576
    """Of one answer, unpacked."""


LIMITS = Limits()


class Remote:
    """A server that is connected. Raises ToolServerFailed, ToolTimedOut or UrlRefused."""

    def __init__(
        self, guard: Guard, url: str, headers: Mapping[str, str], label: str, limits: Limits
    ) -> None:
        self.label = label
        """What it is called in words and in usage."""
        self._guard = guard
        self._url = url
        self._headers = headers
        self._limits = limits
        self._status: int | None = None
        self._failure: JanError | None = None
        self._client: Client | None = None
        self._is_up = asyncio.Event()
        self._is_over = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None

    async def listing(self) -> Listing:
        """List its tools, as they can be called."""
        return await self._within(self._limits.list_timeout_s, self._list())

    async def call(self, name: str, arguments: Json) -> Result:
        """Call one. What the server calls an error is a result that says so."""
        params = types.CallToolRequestParams(name=name, arguments=arguments)
        asked = self._ready.session.send_request(
            types.CallToolRequest(params=params), types.CallToolResult
        )
        answer = await self._within(self._limits.call_timeout_s, asked)
        return remote_content.result(answer)

    async def open(self) -> None:
        """Connect, and find out which version it speaks."""
        self._owner = asyncio.create_task(self._own())
        await self._within(self._limits.connect_timeout_s, self._is_up.wait())

    async def close(self) -> None:
        """Disconnect, within a bound."""
        self._is_over.set()
        owner = self._owner
        if owner is None:
            return
        try:
            await asyncio.wait([owner], timeout=CLOSE_S if self._is_up.is_set() else 0)
        finally:
            owner.cancel()

    @property
    def _ready(self) -> Client:
        if self._client is None:
            raise self._failed("It has not been connected.")
        return self._client

    async def _own(self) -> None:
        limits = self._limits
        # Longer than anybody waits: a time-out of HTTP's would end all that is going on.
        silence_s = 2 * max(limits.call_timeout_s, limits.list_timeout_s, limits.connect_timeout_s)
        http = self._guard.client(
            headers=self._headers, timeout_s=silence_s, max_bytes=limits.max_bytes
        )
        http.event_hooks = {"response": [self._note]}
        transport = streamable_http_client(
            self._url, http_client=http, max_sse_event_size=limits.max_bytes
        )
        try:
            async with http, Client(transport, cache=None) as client:
                self._client = client
                self._is_up.set()
                await self._is_over.wait()
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits is told
            self._failure = self._reason(error)

    async def _note(self, response: httpx2.Response) -> None:
        if response.status_code >= FIRST_SERVER_ERROR:
            self._status = response.status_code

    async def _list(self) -> Listing:
        found = Collector(self._tool_call)
        cursor: str | None = None
        while True:
            asked = types.ListToolsRequest(params=types.PaginatedRequestParams(cursor=cursor))
            page = await self._ready.session.send_request(asked, types.ListToolsResult)
            found.add(page.tools, self.label)
            if not page.next_cursor or found.is_full(cursor, page.next_cursor):
                return found.listing()
            cursor = page.next_cursor

    def _tool_call(self, name: str) -> Any:
        async def call(_: Caller, arguments: Json) -> Result:
            return await self.call(name, arguments)

        return call

    async def _within(self, timeout_s: float, work: Coroutine[Any, Any, T]) -> T:
        """Wait for an answer, or for the connection's end, but not longer than that."""
        assert self._owner is not None
        asking = asyncio.ensure_future(work)
        try:
            await asyncio.wait(
                (asking, self._owner), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not asking.done() and not self._owner.done():
                raise ToolTimedOut(f"{self._named} did not answer within {timeout_s:g} seconds.")
            if not asking.done() or asking.exception() is not None:
                raise await self._failure_of(asking)
            return asking.result()
        finally:
            if not asking.cancel() and not asking.cancelled():
                asking.exception()  # looked at: nobody else does

    async def _failure_of(self, asking: "asyncio.Future[Any]") -> JanError:
        error = asking.exception() if asking.done() else None
        if error is None or isinstance(error, MCPError):
            # It may be the echo of what ends the connection, which says more.
            assert self._owner is not None
            await asyncio.wait([self._owner], timeout=0.1 if error else 1)
        if self._failure is not None:
            return self._failure
        if error is None:
            return self._failed("It ended the connection.")
        if not isinstance(error, Exception):
            raise error
        return self._reason(error)

    def _reason(self, error: Exception) -> JanError:
        """Put what went wrong into words, out of however many groups it is in."""
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, UrlRefused):
            return UrlRefused(f"{self._named} can't be used: {_begun(error.message)}")
        if isinstance(error, UrlNotFetched):
            return self._failed(error.message)
        if isinstance(error, JanError):
            return error
        if isinstance(error, (httpx2.TimeoutException, TimeoutError)):
            return ToolTimedOut(f"{self._named} took too long.")
        return self._failed(self._words(error))

    def _words(self, error: Exception) -> str:
        if self._status in DENIED:
            return f"It does not accept the credentials (status {self._status})."
        if isinstance(error, MCPError):
            return self._said(error)
        if isinstance(error, (httpx2.ConnectError, OSError)):
            return "No connection could be made."
        if not isinstance(error, (ValidationError, httpx2.HTTPError, ValueError)):
            log.warning("a remote MCP server fails in a new way", **telemetry.brief(error))
        return "Its answer could not be understood."

    def _said(self, error: MCPError) -> str:
        if self._status is not None and error.code == types.INTERNAL_ERROR:
            return f"It answered with status {self._status}."
        if error.message.startswith("Redirect to "):
            return "It sends who asks elsewhere, which is not followed."
        if error.code == types.PARSE_ERROR:
            return "Its answer could not be understood."
        if error.message.startswith(("SSE stream", "Connection closed")):
            limit = self._limits.max_bytes
            return f"Its answer broke off, or is longer than {limit} bytes."
        return f"It says: {remote_content.short(error.message)}"

    def _failed(self, words: str) -> ToolServerFailed:
        return ToolServerFailed(f"{self._named} failed: {_begun(words)}")

    @property
    def _named(self) -> str:
        return f"The MCP server `{self.label}`"


@asynccontextmanager
async def connect(
    guard: Guard,
    url: str,
    *,
    label: str,
    headers: Mapping[str, str] | None = None,
    limits: Limits = LIMITS,
) -> AsyncGenerator[Remote]:
    """Be connected during the block.

    Raises:
        UrlRefused: the guard does not let us there.
        ToolServerFailed, ToolTimedOut: nothing that speaks MCP answers there in time.
    """
    remote = Remote(guard, url, headers or {}, label, limits)
    try:
        await remote.open()
        yield remote
    finally:
        await remote.close()


def _begun(words: str) -> str:
    return words[:1].lower() + words[1:]
