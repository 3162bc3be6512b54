"""Work that only one process may do at a time. The kernel frees the lock of one that dies."""

import fcntl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from jan.runner.progress import Report

LOOK_EVERY_S = 0.2


@asynccontextmanager
async def alone(path: Path, report: Report) -> AsyncGenerator[None]:
    """Hold the lock during the block; wait as long as another process holds it."""
    with path.open("wb") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                report("Waiting for another process that does the same", None)
                await anyio.sleep(LOOK_EVERY_S)
        yield
