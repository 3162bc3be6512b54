"""The MCP server, made when it is first asked for.

The SDK takes most of a second to import, which nobody who starts Jan has to wait for.
"""

import asyncio
from typing import Any, Protocol

from jan.chat.passage import Passages
from jan.inference.catalog import Catalog
from jan.mcp.shelves import Conversations, Instructions, Models, Responses
from jan.tools.toolbox import Toolbox


class Serving(Protocol):
    """What answers requests for MCP."""

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one."""
        ...


class Late:
    """Answers requests for MCP, the first of them a little later."""

    def __init__(
        self, toolbox: Toolbox | None, catalog: Catalog, passages: Passages, *, max_body_bytes: int
    ) -> None:
        self._toolbox = toolbox
        self._catalog = catalog
        self._passages = passages
        self._max_body_bytes = max_body_bytes
        self._serving: Serving | None = None

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request. Raises as `jan.mcp.serving.Serving.serve`."""
        if self._serving is None:
            self._serving = await asyncio.to_thread(self._make)
        await self._serving.serve(scope, receive, send)

    def _make(self) -> Serving:
        from jan.mcp import server, serving  # noqa: PLC0415 - see above

        shelves = [Models(self._catalog), Conversations(), Responses()]
        made = server.make(self._toolbox, shelves, Instructions())
        return serving.Serving(made, self._passages, max_body_bytes=self._max_body_bytes)
