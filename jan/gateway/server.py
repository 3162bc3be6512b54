"""uvicorn around the app: how it listens, and how it ends.

The first SIGTERM or SIGINT drains: the listening socket is left, new requests on open connections
are refused, running ones may finish within the grace, then they are cut. The second ends at once.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager

import structlog
import uvicorn

from jan import asgi, clock
from jan.gateway.front import Front
from jan.gateway.protocol import Protocol

KEEP_ALIVE_S = 75
"""Longer than clients keep their idle connections, so that it is they who close them."""
FAREWELL_S = 1.0
"""For requests that were cut to tell their clients so."""

log = structlog.get_logger("jan.gateway")


class Server(uvicorn.Server):
    """uvicorn's server, but signals are ours."""

    servers: list[asyncio.Server]

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


def configured(front: Front) -> Server:
    """Make a server for the app that has not started."""
    config = asgi.config(
        front,
        http=Protocol,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(FAREWELL_S),
    )
    return Server(config)


async def serve(front: Front, listener: socket.socket, *, grace_s: float) -> None:
    """Serve until a signal says to stop, then drain."""
    server = configured(front)
    stopping = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if stopping.is_set():
        await drain(server, front, grace_s=grace_s)
    await serving


async def drain(server: Server, front: Front, *, grace_s: float) -> None:
    """Take no new requests, let the running ones finish within the grace, and cut the rest."""
    log.info("draining", running=front.running, grace_s=grace_s)
    front.passages.is_draining = True
    for listening in server.servers:
        listening.close()
    await _until_idle(front, grace_s)
    if front.running:
        log.warning("cutting what still runs", running=front.running)
        front.passages.cut()
        await _until_idle(front, FAREWELL_S)
    server.should_exit = True


async def _until_idle(front: Front, timeout_s: float) -> None:
    deadline_s = clock.monotonic_s() + timeout_s
    while front.running and clock.monotonic_s() < deadline_s:
        await asyncio.sleep(0.02)
