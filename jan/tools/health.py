"""Whether registered MCP servers are well, and which tools they list: asked now and then.

What is found is kept in their rows, so that a request need not ask anew.
"""

import asyncio
from datetime import timedelta

import msgspec
import structlog

from jan import clock
from jan.db import scope
from jan.errors import JanError
from jan.jobs.queue import Job, Schedule
from jan.net.guard import Guard
from jan.settings import Settings
from jan.tools.registered import Registered
from jan.tools.servers import SELECT, Servers
from jan.tools.toolbox import Listing

NAME = "mcp.check"
SCHEDULE = Schedule("*/5 * * * *", NAME)
EVERY = timedelta(minutes=5)
AT_ONCE = 4
AT_MOST = 500
"""In one go; the longest unchecked ones first."""
TIMEOUT_S = 10.0
"""For connecting, and for listing."""

DUE = f"""
{SELECT} WHERE s.is_enabled AND (s.last_checked_at IS NULL OR s.last_checked_at < $1)
ORDER BY s.last_checked_at NULLS FIRST LIMIT {AT_MOST}
"""
# What was changed in between was not what was checked.
WELL = """
UPDATE mcp_server SET tools = $3, left_out = $4, tools_listed_at = $5, last_checked_at = $5,
                      last_error = NULL
WHERE id = $1 AND updated_at = $2
"""
UNWELL = """
UPDATE mcp_server SET last_error = $3, last_checked_at = $4 WHERE id = $1 AND updated_at = $2
"""

log = structlog.get_logger("jan.tools")


async def check(server: Registered, *, guard: Guard, means: Servers) -> str | None:
    """Ask a server for its tools, and keep what came of it. Returns what is wrong, if anything."""
    try:
        listing = await ask(server, guard=guard, means=means)
    except JanError as error:
        async with scope.system() as connection:
            values = (server.id, server.updated_at, error.message, clock.now())
            await connection.execute(UNWELL, *values)
        return error.message
    async with scope.system() as connection:
        document = (
            msgspec.json.encode([tool.described for tool in listing.tools])
            .decode()
            .replace("\\u0000", "\\ufffd")
        )
        values = (server.id, server.updated_at, document, listing.left_out, clock.now())
        await connection.execute(WELL, *values)
    return None


async def ask(server: Registered, *, guard: Guard, means: Servers) -> Listing:
    """List a server's tools.

    Raises:
        ToolServerFailed, ToolTimedOut, UrlRefused: it can't be.
        Conflict: its credentials can't be read.
    """
    from jan.tools.mcp_client import Limits, connect  # noqa: PLC0415 - the SDK: 0.8 s to import

    async with connect(
        guard,
        server.url,
        label=server.label,
        headers=means.headers(server),
        limits=Limits(connect_timeout_s=TIMEOUT_S, list_timeout_s=TIMEOUT_S),
    ) as remote:
        return await remote.listing()


def job(settings: Settings, means: Servers) -> Job:
    """Make the job that checks all of them."""

    async def check_all(_: None) -> None:
        async with scope.system() as connection:
            rows = await connection.fetch(DUE, clock.now() - EVERY)
        if not rows:
            return
        room = asyncio.Semaphore(AT_ONCE)

        async def check_one(server: Registered, guard: Guard) -> None:
            async with room:
                error = await check(server, guard=guard, means=means)
            if error and error != server.last_error:
                log.warning("a registered MCP server is not well", id=server.id)

        async with Guard.configured(settings) as guard, asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(check_one(Registered.of(row), guard))

    return Job(NAME, check_all, timeout_s=3600)
