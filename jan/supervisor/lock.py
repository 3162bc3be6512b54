"""One supervisor per JAN_HOME: two would start two databases on one data directory.

The kernel frees the lock when its holder dies, however it dies. Children never inherit it.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from jan.errors import Misconfigured

FILE = "serve.lock"


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


def _lock(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode().strip() or "unknown"
            os.close(descriptor)
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
