"""The data plane: a request goes to the model server, its answer comes back as it arrives.

One task beside the request's own watches the client: it cancels the request when the client leaves
and fills silence with heartbeats. Nothing is spawned or timed per chunk. Events are relayed whole:
between two of them there is room for a heartbeat or an error, within one there is not.

An answer that has not begun holds back its status too, so silence before the model server's first
byte is not filled: a refusal keeps its status. vLLM begins streams at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from jan import sse, telemetry
from jan.caller import Caller
from jan.chat import reading, request
from jan.chat.dialect import Endpoint
from jan.chat.request import ClientGone, Receive
from jan.errors import Draining, JanError, UpstreamError
from jan.inference.catalog import Catalog
from jan.inference.connection import Connection
from jan.inference.upstream import Refused, Upstream

Send = Callable[[Any], Awaitable[None]]
Scope = MutableMapping[str, Any]


class Relay:
    """What every request of the data plane needs, and those that are on their way."""

    def __init__(
        self, upstream: Upstream, catalog: Catalog, *, heartbeat_s: float, max_body_bytes: int
    ) -> None:
        self.upstream = upstream
        self.catalog = catalog
        self.heartbeat_s = heartbeat_s
        self.max_body_bytes = max_body_bytes
        self.passages: set[Passage] = set()
        self.is_draining = False
        """Set while the process shuts down: new requests are refused."""

    async def serve(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            JanError: refused or failed before the answer began. Later than that, the error is
                the stream's last event.
        """
        if self.is_draining:
            raise shutting_down()
        exchange = telemetry.exchange_of(scope)
        caller: Caller = scope["user"]
        caller.require(endpoint.scope)
        body = await request.receive_body(exchange, scope["headers"], receive, self.max_body_bytes)
        routing = request.read(body)
        exchange.is_stream = bool(routing.stream)
        exchange.model = self.catalog.find(routing.model, caller.allowed_models).id
        asking = None
        if exchange.is_stream and endpoint.may_lack_usage:
            asking = request.ask_for_usage(body, routing)
        reader = reading.StreamReader(endpoint.dialect, hides_usage=asking is not None)
        passage = Passage(self, endpoint, reader, receive, send)
        await passage.run(scope, body if asking is None else asking)

    def cut(self) -> None:
        """End what is still on its way: this process is about to end."""
        for passage in list(self.passages):
            passage.cut(shutting_down())


def shutting_down() -> Draining:
    """Say that another process has to be asked."""
    return Draining("The server is shutting down.", retry_after_s=1)


class Passage:
    """One request on its way to the model server, and its answer on the way back."""

    def __init__(
        self,
        relay: Relay,
        endpoint: Endpoint,
        reader: reading.StreamReader,
        receive: Receive,
        send: Send,
    ) -> None:
        self._relay = relay
        self._dialect = endpoint.dialect
        self._path = endpoint.path.encode()
        self._reader = reader
        self._receive = receive
        self._send = send
        self._exchange: telemetry.Exchange
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._cut_by: JanError | None = None
        self._has_begun = False
        self._last_sent_s = 0.0

    async def run(self, scope: Scope, body: bytes) -> None:
        """Pass the request on and relay the answer, until the end or until cut."""
        self._exchange = telemetry.exchange_of(scope)
        query = scope.get("query_string")
        target = self._path + b"?" + query if query else self._path
        self._relay.passages.add(self)
        watch = self._loop.create_task(self._watch())
        try:
            async with self._relay.upstream.post(
                target, scope["headers"], self._exchange.request_id, body
            ) as answer:
                if answer.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
                    await self._stream(answer)
                else:
                    await self._whole(answer)
        except asyncio.CancelledError:
            if self._cut_by is None or self._task is None:
                raise
            self._task.uncancel()
            await self._fail(self._cut_by)
        except JanError as error:
            if not isinstance(error, Refused):
                self._relay.catalog.doubt()
            await self._fail(error)
        finally:
            watch.cancel()
            self._relay.passages.discard(self)

    def cut(self, reason: JanError) -> None:
        """End this passage from outside, for a reason that the client is told if it can be."""
        if self._cut_by is None and self._task is not None:
            self._cut_by = reason
            self._task.cancel()

    async def _whole(self, answer: Connection) -> None:
        body = await answer.read_all()
        if answer.status >= 300:  # noqa: PLR2004
            raise self._refusal(answer, body)
        self._count(reading.usage_of(body))
        headers = [
            (b"content-type", answer.headers.get(b"content-type", b"application/json")),
            (b"content-length", b"%d" % len(body)),
        ]
        await self._send(
            {"type": "http.response.start", "status": answer.status, "headers": headers}
        )
        self._has_begun = True
        await self._send({"type": "http.response.body", "body": body})

    async def _stream(self, answer: Connection) -> None:
        if answer.status >= 300:  # noqa: PLR2004
            raise self._refusal(answer, await answer.read_all())
        headers = [
            (b"content-type", answer.headers[b"content-type"]),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]
        await self._send(
            {"type": "http.response.start", "status": answer.status, "headers": headers}
        )
        self._has_begun = True
        self._last_sent_s = self._loop.time()
        try:
            await self._relay_events(answer)
        finally:
            self._count(self._reader.usage)
            self._note_failure()
        if not self._reader.is_complete:
            raise UpstreamError("The model server ended the stream before its last event.")
        await self._send({"type": "http.response.body", "body": b""})

    async def _relay_events(self, answer: Connection) -> None:
        reader, exchange = self._reader, self._exchange
        rest = b""
        while received := await answer.read():
            events, rest = sse.split(rest + received if rest else received)
            if not events or not (events := reader.pass_on(events)):
                continue
            if reader.has_token and exchange.time_to_first_token_ms is None:
                exchange.time_to_first_token_ms = exchange.elapsed_ms
            await self._send({"type": "http.response.body", "body": events, "more_body": True})
            self._last_sent_s = self._loop.time()

    async def _fail(self, error: JanError) -> None:
        """End with an error: as an answer if none has begun, as a last event otherwise."""
        if not self._has_begun:
            raise error
        if self._reader.is_complete:  # all that was to be said has been
            await self._send({"type": "http.response.body", "body": b""})
            return
        exchange = self._exchange
        exchange.status, exchange.error_code = error.status, error.code
        event = self._dialect.error_event(error, exchange.request_id)
        await self._send({"type": "http.response.body", "body": event})

    def _refusal(self, answer: Connection, body: bytes) -> JanError:
        status = answer.status
        if status < 400:  # noqa: PLR2004 - a redirect: nothing that a model server answers
            return UpstreamError(f"The model server answered with status {status}.")
        return Refused(status, body, answer.headers.get(b"retry-after"), self._path.decode())

    def _note_failure(self) -> None:
        """Book an error event of the model server's own as what it is. The client has seen it."""
        status = self._reader.failure_status
        if status is not None:
            self._exchange.status, self._exchange.error_code = status, UpstreamError.code
            self._relay.catalog.doubt()

    def _count(self, usage: reading.Usage) -> None:
        self._exchange.prompt_tokens = usage.prompt_tokens
        self._exchange.completion_tokens = usage.completion_tokens
        self._exchange.cached_tokens = usage.cached_tokens

    async def _watch(self) -> None:
        """Wait for the client to leave. Say something whenever the stream has long been silent."""
        heartbeat_s = self._relay.heartbeat_s
        while True:
            due_s = None
            if self._exchange.is_stream:
                since_s = self._last_sent_s if self._has_begun else self._loop.time()
                due_s = since_s + heartbeat_s
            try:
                async with asyncio.timeout_at(due_s):
                    message = await self._receive()
            except TimeoutError:
                await self._beat()
                continue
            if message["type"] == "http.disconnect":
                self.cut(ClientGone("The client left before the answer was complete."))
                return

    async def _beat(self) -> None:
        now_s = self._loop.time()
        if self._has_begun and now_s - self._last_sent_s >= self._relay.heartbeat_s:
            self._last_sent_s = now_s
            await self._send(
                {"type": "http.response.body", "body": sse.KEEP_ALIVE, "more_body": True}
            )
