"""One supervisor per JAN_HOME: two would start two databases on one data directory.

The kernel frees the lock when its holder dies, however it dies. Children never inherit it; the file
of one that was killed is removed by its runner, or else taken over by the next supervisor.
"""

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from jan import clock
from jan.errors import Misconfigured

FILE = "serve.lock"
WAIT_S = 0.5
"""For a holder that only tidies up, which takes no time."""
LOOK_EVERY_S = 0.02


@contextmanager
def hold(run_dir: Path) -> Generator[None]:
    """Hold the lock for the length of a block, and leave no file behind.

    Raises:
        Misconfigured: another process holds it, or the folder can't be written to.
    """
    path = run_dir / FILE
    try:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        descriptor = _lock(path)
    except OSError as error:
        raise Misconfigured(
            f"Can't use {run_dir}: {error.strerror}.",
            hint="Give JAN_HOME a folder that you may write to.",
        ) from None
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock is freed: afterwards it may be another's
        os.close(descriptor)


def tidy(run_dir: Path) -> None:
    """Remove the file that a killed supervisor left. One that is held stays."""
    path = run_dir / FILE
    with suppress(OSError):  # there is none, or it is held
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                path.unlink()
        finally:
            os.close(descriptor)


def _lock(path: Path) -> int:
    until_s = clock.monotonic_s() + WAIT_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode().strip() or "unknown"
            os.close(descriptor)
            if clock.monotonic_s() < until_s:
                time.sleep(LOOK_EVERY_S)
                continue
            raise Misconfigured(
                f"Another `jan serve` (process {holder}) is running on {path.parent.parent}.",
                hint="Stop that one, or give this one a folder of its own with --home.",
            ) from None
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # the holder before us removed it between our two steps


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def is_held(run_dir: Path) -> bool:
    """Whether a supervisor is running."""
    try:
        descriptor = os.open(run_dir / FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
