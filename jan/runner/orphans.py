"""What outlives an engine that was killed: processes, which come to us, and semaphores.

Linux only: `PR_SET_CHILD_SUBREAPER`, `/proc` and `/dev/shm`.
"""

import ctypes
import glob
import os
import signal
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
"""Source: https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html"""


SEMAPHORES = Path("/dev/shm")  # noqa: S108 - where the C library keeps them
"""Source: https://man7.org/linux/man-pages/man7/sem_overview.7.html"""


def adopt() -> None:
    """Become the parent of every descendant that loses its own."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end() -> None:
    """Kill all our children, and theirs as they come to us, until there are none."""
    while children := _children():
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def remove_semaphores(prefix: str) -> None:
    """Remove those named so. Who would have is killed with the engine; they outlive both."""
    for path in SEMAPHORES.glob(f"sem.{glob.escape(prefix)}-*"):
        path.unlink(missing_ok=True)


def _children() -> list[int]:
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended while we looked
            # The name, in brackets, may hold anything: what counts stands after the last one.
            parent = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            if parent == os.getpid():
                found.append(int(stat.parent.name))
    return found
