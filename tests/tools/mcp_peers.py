"""Remote MCP servers: real ones of the SDK, and some that misbehave on purpose."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel.server import Server
from mcp.server.transport_security import TransportSecuritySettings

from jan.destinations import destination
from jan.net.guard import Guard
from jan.net.policy import Policy
from tests.fakes import Reply, Seen
from tests.gateways import until
from tests.net.sites import Site

Context = Any


def tool(name: str, **schema: Any) -> types.Tool:
    """A tool with an object of these properties as arguments."""
    return types.Tool(
        name=name,
        description=f"Does {name}.",
        input_schema={"type": "object", "properties": schema},
    )


class Peer:
    """An SDK server: `add`, `fail`, `slow`, and whatever else is listed."""

    def __init__(self, *more: types.Tool, page: int = 100) -> None:
        self.tools: list[types.Tool] = [
            tool("add", a={"type": "integer"}, b={"type": "integer"}),
            *(tool("fail"), tool("slow"), tool("picture")),
            *more,
        ]
        self.page = page
        self.headers: list[dict[str, str]] = []
        """Of each call."""
        self.cancelled = 0
        self.listings = 0
        self.calls = 0
        self.server = Server[Any]("peer", on_list_tools=self._list, on_call_tool=self._call)

    async def _list(
        self, _: Context, asked: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        self.listings += 1
        begin = int((asked and asked.cursor) or 0)
        end = begin + self.page
        following = str(end) if end < len(self.tools) else None
        return types.ListToolsResult(tools=self.tools[begin:end], next_cursor=following)

    async def _call(self, ctx: Context, asked: types.CallToolRequestParams) -> types.CallToolResult:
        self.calls += 1
        self.headers.append(dict(ctx.request.headers))
        said = asked.arguments or {}
        content: Sequence[Any] = [types.TextContent(type="text", text=str(said))]
        if asked.name == "add":
            content = [types.TextContent(type="text", text=str(said["a"] + said["b"]))]
        elif asked.name == "slow":
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        elif asked.name == "picture":
            content = [types.ImageContent(type="image", data="aGk=", mime_type="image/png")]
        return types.CallToolResult(content=list(content), is_error=asked.name == "fail")


@asynccontextmanager
async def serving(peer: Peer, *, stateless: bool = True) -> AsyncGenerator[str]:
    """Serve it on a free port, and tell its URL."""
    app = peer.server.streamable_http_app(
        stateless_http=stateless,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    server.capture_signals = _none  # pyright: ignore[reportAttributeAccessIssue] - pytest's are kept
    running = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        server.force_exit = True
        await running


def _none() -> Any:
    import contextlib  # noqa: PLC0415

    return contextlib.nullcontext()


@asynccontextmanager
async def site() -> AsyncGenerator[Site]:
    """A server that follows scripts at `/mcp`."""
    found = Site()
    await found.start()
    try:
        yield found
    finally:
        await found.kill()


def guard(*urls: str) -> Guard:
    """A guard that lets us to these, which are on this machine."""
    places = {url.split("/")[2] for url in urls}
    return Guard(Policy(allowed=tuple(destination(place) for place in places)))


async def hang(_: Seen, reply: Reply) -> None:
    """Take the request, and say nothing."""
    await reply.stall()


async def begin_and_hang(_: Seen, reply: Reply) -> None:
    """Begin a stream in which nothing comes."""
    await reply.begin_events()
    await reply.stall()


async def drip(_: Seen, reply: Reply) -> None:
    """Send comments for ever."""
    await reply.begin_events()
    while True:
        await reply.chunk(b": still here\n\n")
        await asyncio.sleep(0.05)


async def flood(_: Seen, reply: Reply) -> None:
    """Send more than anybody wants."""
    await reply.head(content_type="application/json")
    for _piece in range(200):
        await reply.chunk(b" " * 65_536)
    await reply.end()


async def flood_events(_: Seen, reply: Reply) -> None:
    """Send one event without end."""
    await reply.begin_events()
    await reply.chunk(b"event: message\ndata: ")
    for _piece in range(200):
        await reply.chunk(b"x" * 65_536)


async def babble(_: Seen, reply: Reply) -> None:
    """Send no JSON."""
    await reply.whole(b"<html>hello</html>")


async def page(_: Seen, reply: Reply) -> None:
    """Send a web page."""
    await reply.whole(b"<html>hello</html>", content_type="text/html")


async def die(_: Seen, reply: Reply) -> None:
    """Reset the connection."""
    reply.die()


async def nothing(_: Seen, reply: Reply) -> None:
    """Accept, and never answer."""
    await reply.whole(b"", 202)


async def deny(_: Seen, reply: Reply) -> None:
    """Want other credentials."""
    await reply.json({"error": "no"}, 401)


async def break_down(_: Seen, reply: Reply) -> None:
    """Fail."""
    await reply.whole(b"oops", 500)


async def elsewhere(_: Seen, reply: Reply) -> None:
    """Send whoever asks to where clouds tell secrets."""
    await reply.whole(b"", 307, location="http://169.254.169.254/latest/meta-data")
