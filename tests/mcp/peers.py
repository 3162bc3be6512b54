"""Tools that do as they are told, and clients of the official SDK."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from jan.caller import Caller
from jan.errors import InvalidRequest
from jan.limits.buckets import Buckets, Claim
from jan.tools.toolbox import Result, Tool, Toolbox
from jan.usage.schemas import ToolCallRow
from tests.gateways import KEY

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used. Making one for each client takes longer than all else that a client does."""

MODES = ("auto", "legacy", "2026-07-28")
"""In which the SDK's client speaks."""
HANDSHAKES = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Versions that begin with `initialize`."""


SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}


class Uncounted(Buckets):
    """Lets everybody have everything."""

    def __init__(self) -> None:
        pass

    async def take(self, *claims: Claim) -> None:
        """Count nothing."""


@dataclass
class Echo:
    """A tool that says again what it is told, or does what it is told not to."""

    running: int = 0
    most: int = 0
    """Calls that ran at the same time."""
    cancelled: int = 0
    callers: list[Caller] = field(default_factory=list[Caller])
    rows: list[ToolCallRow] = field(default_factory=list[ToolCallRow])
    """What the toolbox wrote down."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    """Calls with `wait` end when it is set."""

    def toolbox(self, **more: Any) -> Toolbox:
        """Make a toolbox of it. Nobody counts the calls."""
        tool = Tool(name="echo", description="Says it again.", input_schema=SCHEMA, call=self._call)
        values: dict[str, Any] = {"calls_per_minute": 10_000, "timeout_s": 60.0, **more}
        return Toolbox([tool], buckets=Uncounted(), record=self.rows.append, **values)

    async def _call(self, caller: Caller, arguments: dict[str, Any]) -> Result:
        self.callers.append(caller)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if "wait" in arguments:
                await self.go.wait()
            if "refuse" in arguments:
                raise InvalidRequest("`text` does not fit.")
            if "crash" in arguments:
                raise ZeroDivisionError("sk-jan-secret")
            text = str(arguments.get("text"))
            return Result(text=text, structured={"text": text}, is_error="fail" in arguments)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


@asynccontextmanager
async def connected(
    url: str, *, key: str = KEY, mode: str = "auto", headers: Mapping[str, str] | None = None
) -> AsyncGenerator[Client]:
    """Connect the SDK's client to a gateway."""
    sent = {"authorization": f"Bearer {key}", **(headers or {})}
    async with (
        httpx2.AsyncClient(headers=sent, timeout=60, verify=NO_TLS) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client
