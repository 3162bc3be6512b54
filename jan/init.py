"""What the first process of a container owes the others, where Jan is that process.

The kernel gives it every process that loses its parent, a zombie until somebody waits for it,
and keeps from it every signal that it has no handler for. So Jan goes on as a child, an ordinary
process, and what stays behind hands signals on and waits.
"""

import os
import signal
from typing import NoReturn

SI_KERNEL = 0x80
"""A signal of the terminal's, which every process in the foreground gets by itself.
Source: https://man7.org/linux/man-pages/man2/sigaction.2.html"""


def step_aside() -> None:
    """Go on as a child, where this process is the first. Its end is that of the first, too."""
    if os.getpid() != 1:
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # none is missed
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    _stay(child)


def _stay(child: int) -> NoReturn:
    while True:
        received = signal.sigwaitinfo(signal.valid_signals())
        if received.si_signo == signal.SIGCHLD:
            _wait(child)
        elif received.si_code != SI_KERNEL:
            os.kill(child, received.si_signo)


def _wait(child: int) -> None:
    """Wait for those that have ended, and end with the child, as a shell tells it."""
    while (ended := os.waitpid(-1, os.WNOHANG))[0]:
        if ended[0] == child:
            status = os.waitstatus_to_exitcode(ended[1])
            os._exit(status if status >= 0 else 128 - status)
