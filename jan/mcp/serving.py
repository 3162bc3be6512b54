"""Carries MCP over HTTP: each request by itself, answered as a stream where there is progress.

What the data plane's requests have, these have too: a bound on the body, heartbeats, an end when
the client leaves or the process does, a row of usage and a line in the log. Names and origins are
checked by `Site`, before it is asked who calls; the SDK's own check knows no patterns, and is off.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import msgspec
from litestar.exceptions import MethodNotAllowedException
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import INVALID_REQUEST

from jan import telemetry
from jan.chat import request
from jan.chat.passage import Passage, Passages, Send
from jan.chat.request import Receive
from jan.errors import JanError

Scope = MutableMapping[str, Any]

MAX_BODY_BYTES = 1_048_576
"""Of one message. The longest are arguments of tools."""
STREAM = b"text/event-stream"

NO_BATCHES = {
    "jsonrpc": "2.0",
    "id": None,
    "error": {"code": INVALID_REQUEST, "message": "Send messages one by one, not in a batch."},
}


class Serving:
    """Answers requests for MCP."""

    def __init__(
        self, server: Server[Any], passages: Passages, *, max_body_bytes: int = MAX_BODY_BYTES
    ) -> None:
        self._server = server
        self._passages = passages
        self._max_body_bytes = min(max_body_bytes, MAX_BODY_BYTES)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        There is no stream to listen on (GET) and no session to end (DELETE): nothing is kept.

        Raises:
            JanError: refused before the protocol comes into play, or cut.
        """
        exchange = telemetry.exchange_of(scope)
        exchange.is_metered = True
        if scope["method"] != "POST":
            raise MethodNotAllowedException(headers={"allow": "POST"})
        body = await request.receive_body(exchange, scope["headers"], receive, self._max_body_bytes)
        passage = Passage(self._passages, exchange, receive, send)
        if body.lstrip()[:1] == b"[":
            answer = passage.answer(400, b"application/json", msgspec.json.encode(NO_BATCHES))
            await passage.run(answer)
            return
        carrier = _Carrier(body, exchange, passage, send)
        try:
            await passage.run(self._answer(scope, carrier))
        except JanError as error:
            if carrier.is_complete:  # the SDK was tidying up: to the server, the client has left
                return
            if not passage.has_begun:
                raise
            exchange.status, exchange.error_code = error.status, error.code
            await passage.end()

    async def _answer(self, scope: Scope, carrier: "_Carrier") -> None:
        # One for each request: it has nothing to keep, and all that it starts ends with it.
        manager = StreamableHTTPSessionManager(
            self._server, stateless=True, max_request_body_size=self._max_body_bytes
        )
        async with manager.run():
            await manager.handle_request(scope, carrier.receive, carrier.send)


class _Carrier:
    """Hands the body in, which has come by now, and the answer out."""

    def __init__(
        self, body: bytes, exchange: telemetry.Exchange, passage: Passage, send: Send
    ) -> None:
        self._body: bytes | None = body
        self._exchange = exchange
        self._passage = passage
        self._send = send
        self.is_complete = False
        """Whether the whole answer has been sent."""

    async def receive(self) -> Any:
        """Give the body. Whether the client leaves after that is the passage's to watch."""
        if self._body is None:
            await asyncio.Event().wait()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        """Pass on a part of the answer."""
        if message["type"] == "http.response.start":
            content_type = dict(message["headers"]).get(b"content-type", b"")
            if content_type.startswith(STREAM):
                self._exchange.is_stream = True
                await self._passage.begin_stream(message["status"])
                return
            self._passage.has_begun = True
            await self._send(message)
            return
        self.is_complete = not message.get("more_body", False)
        if self._exchange.is_stream and not self.is_complete:
            await self._passage.push(message["body"])
        else:
            await self._send(message)
