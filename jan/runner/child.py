"""The engine's own process: vLLM's OpenAI server, imported from a folder of packages.

Run as a script, perhaps by another Python than Jan's: only the standard library and that folder are
there. Processes that vLLM spawns run the top of this file too, as `__mp_main__`.
"""

# pyright: reportMissingImports=false
# vLLM is in the folder, not in our environment.

import ctypes
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from multiprocessing import resource_tracker

PR_SET_PDEATHSIG = 1
GRACE_S = 10.0
"""For an orderly end once our parent is gone. Then everything that is left is killed."""


def main() -> None:
    """Serve until told to stop: `child.py FOLDER SCRATCH [vLLM's options]`.

    SCRATCH is a folder for sockets and the like, deleted at the end. No other has its name.
    """
    folder, scratch, *options = sys.argv[1:]
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - before any import
    sys.path[:] = [folder, *(path for path in sys.path if path not in {here, folder})]
    sys.argv[1:] = options
    # Semaphores of all our processes bear the name of SCRATCH, by which others can tell them.
    multiprocessing.current_process()._config["semprefix"] = f"/{os.path.basename(scratch)}"  # noqa: PTH119 # pyright: ignore[reportAttributeAccessIssue]
    os.umask(0o077)  # the socket, and what vLLM caches, are for this user alone
    threading.Thread(target=_end_after, args=[os.getppid()], daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until vLLM sets its own
    try:
        from vllm.entrypoints.launchers.api_server import entry  # noqa: PLC0415

        entry.main()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        for worker in multiprocessing.active_children():
            worker.kill()
        # Our group is killed when we are gone, and with it the process that removes the semaphores
        # which vLLM forgets in /dev/shm. It does so when the last of us has closed its pipe.
        resource_tracker._resource_tracker._stop()  # pyright: ignore[reportAttributeAccessIssue]


def _end_after(parent: int) -> None:
    """End the whole group some time after the parent. It has sent SIGTERM, which may not do."""
    while os.getppid() == parent:
        time.sleep(1.0)
    time.sleep(GRACE_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _end_with_parent() -> None:
    """Die when our parent does: a worker without one would hold its memory for ever."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getpgid(os.getppid()) != os.getpgrp():  # it ended before we asked: this is another
        os._exit(1)


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    _end_with_parent()
