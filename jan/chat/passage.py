"""An answer on its way to a client who may leave, in a process that may end.

One task beside the request's own watches the client: it cancels the request when the client leaves
and fills silence with heartbeats. Nothing is spawned or timed per event. Events are sent whole:
between two of them there is room for a heartbeat or an error, within one there is not.

An answer that has not begun holds back its status too, so silence before its first byte is not
filled: a refusal keeps its status.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from jan import sse
from jan.chat.request import ClientGone, Receive
from jan.errors import Draining, JanError
from jan.telemetry import Exchange

Send = Callable[[Any], Awaitable[None]]


HEARTBEAT_S = 15.0
"""Within what proxies wait for: nginx's default is a minute."""


class Passages:
    """Those that are on their way in this process."""

    def __init__(self, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.heartbeat_s = heartbeat_s
        """Longest silence within a stream."""
        self.running: set[Passage] = set()
        self.is_draining = False
        """Set while the process shuts down: new requests are refused."""

    def admit(self) -> None:
        """Refuse a new request of a process that shuts down.

        Raises:
            Draining: it does.
        """
        if self.is_draining:
            raise _shutting_down()

    def cut(self) -> None:
        """End what is still on its way: this process is about to end."""
        for passage in list(self.running):
            passage.cut(_shutting_down())


def _shutting_down() -> Draining:
    """Say that another process has to be asked."""
    return Draining("The server is shutting down.", retry_after_s=1)


class Passage:
    """One answer. What makes it runs in `run`, and sends by the other methods."""

    def __init__(
        self, passages: Passages, exchange: Exchange, receive: Receive, send: Send
    ) -> None:
        self._passages = passages
        self.exchange = exchange
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._cut_by: JanError | None = None
        self._last_sent_s = 0.0
        self.has_begun = False
        """Whether the status has been sent: too late for another."""

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, until its end or until cut. The body of the request has been received.

        Raises:
            ClientGone, Draining: by what it was cut. So does `work` end, by cancellation.
        """
        self._passages.running.add(self)
        watch = self._loop.create_task(self._watch())
        try:
            await work
        except asyncio.CancelledError:
            if self._cut_by is None or self._task is None:
                raise
            self._task.uncancel()
            raise self._cut_by from None
        finally:
            watch.cancel()
            self._passages.running.discard(self)

    def cut(self, reason: JanError) -> None:
        """End this passage from outside, for a reason that the client is told if it can be."""
        if self._cut_by is None and self._task is not None:
            self._cut_by = reason
            self._task.cancel()

    async def answer(self, status: int, content_type: bytes, body: bytes) -> None:
        """Send a whole answer."""
        headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
        await self._begin(status, headers)
        await self.end(body)

    async def begin_stream(
        self, status: int = 200, content_type: bytes = b"text/event-stream; charset=utf-8"
    ) -> None:
        """Send the head of a stream."""
        headers = [
            (b"content-type", content_type),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]
        await self._begin(status, headers)
        self._last_sent_s = self._loop.time()

    async def push(self, events: bytes) -> None:
        """Send complete events of a stream. Waits while the client does not read."""
        await self._send({"type": "http.response.body", "body": events, "more_body": True})
        self._last_sent_s = self._loop.time()

    async def end(self, last: bytes = b"") -> None:
        """End the answer that has begun."""
        await self._send({"type": "http.response.body", "body": last})

    async def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        waited_ms = self.exchange.queue_ms
        if waited_ms is not None:
            headers.append((b"x-queue-time", b"%d" % waited_ms))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        self.has_begun = True

    async def _watch(self) -> None:
        """Wait for the client to leave. Say something whenever the stream has long been silent."""
        heartbeat_s = self._passages.heartbeat_s
        while True:
            due_s = None
            if self.exchange.is_stream:
                since_s = self._last_sent_s if self.has_begun else self._loop.time()
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
        if self.has_begun and now_s - self._last_sent_s >= self._passages.heartbeat_s:
            self._last_sent_s = now_s
            await self._send(
                {"type": "http.response.body", "body": sse.KEEP_ALIVE, "more_body": True}
            )
