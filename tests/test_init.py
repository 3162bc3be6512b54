"""As the first process of a container Jan hands signals on, buries the dead, and ends as told."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a process the first")

FIRST = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
BEGIN = "import os, pathlib, signal, sys, time; from jan import init; init.step_aside(); "


@contextmanager
def first(code: str) -> Generator[subprocess.Popen[str]]:
    """Run code as what follows the first process of a namespace."""
    argv = [*FIRST, sys.executable, "-c", BEGIN + code]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as running:
        yield running


def pid_of_first(running: subprocess.Popen[str]) -> int:
    """Tell the number of the process that stayed behind, as seen from here."""
    return int(Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text())


def line(running: subprocess.Popen[str]) -> str:
    assert running.stdout
    return running.stdout.readline().strip()


def test_it_goes_on_as_an_ordinary_process() -> None:
    with first("print(os.getpid(), os.getppid())") as running:
        assert line(running) == "2 1"
    assert running.returncode == 0


@pytest.mark.parametrize(
    ("code", "status"),
    [("sys.exit(3)", 3), ("os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL)],
)
def test_it_ends_as_its_child_does(code: str, status: int) -> None:
    with first(code) as running:
        pass
    assert running.returncode == status


def test_a_signal_reaches_jan_and_is_no_end_by_itself() -> None:
    code = (
        "signal.signal(signal.SIGTERM, lambda *_: (print('told', flush=True), sys.exit(7))); "
        "print('ready', flush=True); "
        "time.sleep(60)"
    )
    with first(code) as running:
        assert line(running) == "ready"
        os.kill(pid_of_first(running), signal.SIGTERM)
        assert line(running) == "told"
    assert running.returncode == 7


def test_a_signal_that_comes_before_any_handler_ends_it() -> None:
    """The kernel keeps it from a first process: no container would stop while it starts."""
    with first("print('ready', flush=True); time.sleep(60)") as running:
        assert line(running) == "ready"
        os.kill(pid_of_first(running), signal.SIGTERM)
    assert running.returncode == 128 + signal.SIGTERM


def test_who_loses_their_parent_is_no_zombie() -> None:
    code = (
        "middle = os.fork()\n"
        "if middle == 0: os._exit(os.fork() * 0)\n"
        "os.waitpid(middle, 0)\n"
        "others = lambda: {p.name for p in pathlib.Path('/proc').glob('[0-9]*')} - {'1', '2'}\n"
        "while others(): time.sleep(0.01)\n"
        "print('nobody')"
    )
    with first(code) as running:
        assert line(running) == "nobody"
    assert running.returncode == 0
