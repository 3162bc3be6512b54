"""The private port: what operators' programs read, and clients of the API never reach.

It has no authentication: it listens on loopback until told otherwise, and nothing on it is a
secret. That the port can't be had is no reason not to serve.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import structlog
import uvicorn
from prometheus_client.metrics_core import Metric as Family

from jan import asgi, listener
from jan.errors import Misconfigured
from jan.metrics.families import CONTENT_TYPE, text
from jan.settings import Loaded

PATH = "/metrics"
OPTIONS = ("private_host", "private_port")

Collect = Callable[[], Awaitable[Iterable[Family]]]
"""Tells all metrics, within a second."""

log = structlog.get_logger("jan.metrics")


def listen(loaded: Loaded) -> socket.socket | None:
    """Listen where the settings say. None: that can't be, and was told.

    Who takes any port for the API, and names none here, means any for this too.
    """
    settings = loaded.settings
    is_any = settings.port == 0 and loaded.origins["private_port"] == "default"
    port = 0 if is_any else settings.private_port
    try:
        made = listener.listen(settings.private_host, port, options=OPTIONS)
    except Misconfigured as error:
        log.warning("no metrics are told", reason=error.message, hint=error.hint)
        return None
    log.info("metrics", at=listener.url(made) + PATH)
    return made


@asynccontextmanager
async def serving(sock: socket.socket | None, collect: Collect) -> AsyncGenerator[None]:
    """Answer there during the block, if anywhere. The socket is closed at its end."""
    if sock is None:
        yield
        return
    config = asgi.config(_Site(collect), http="httptools", date_header=False)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # What `serve` does, but for signals, which are for the process around, and for waking up ten
    # times a second to look whether it is to end: that costs a hundredth of a processor.
    await server.startup([sock])
    try:
        yield
    finally:
        server.force_exit = True
        await server.shutdown([sock])


class _Site:
    """The ASGI app. Who asks while others are being answered gets their answer."""

    def __init__(self, collect: Collect) -> None:
        self._collect = collect
        self._asking: asyncio.Task[bytes] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002 - ASGI's
        """Answer a request."""
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        status, body = 200, b""
        if scope["path"] != PATH:
            status, body = 404, b"There is " + PATH.encode() + b" here, and nothing else.\n"
        elif scope["method"] not in {"GET", "HEAD"}:
            status, body = 405, b"This can only be read.\n"
            headers.append((b"allow", b"GET, HEAD"))
        else:
            body, headers = await self._text(), [(b"content-type", CONTENT_TYPE)]
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _text(self) -> bytes:
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._forget)
        return await asyncio.shield(self._asking)

    async def _ask(self) -> bytes:
        return text(await self._collect())

    def _forget(self, _: asyncio.Task[bytes]) -> None:
        self._asking = None
