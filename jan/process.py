"""Child processes that live exactly as long as a block, and explain their death.

A child leads a session of its own, so that whatever it starts ends with it; the kernel signals it
when its parent dies, so that a `kill -9` of the parent leaves nothing behind. Call `spawn` from the
main thread only: the kernel takes the end of the *thread* that forked for the end of the parent.
"""

import asyncio
import ctypes
import os
import pwd
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import anyio

from jan.errors import COMPLAINT, EXIT_REFUSED, HINT, Unavailable

LINES_KEPT = 50
"""Enough to hold a Python traceback with what led to it."""
MAX_LINE_BYTES = 16 * 1024
"""A longer line is handed on in pieces: an endless one must not fill our memory."""
POLL_S = 0.05
"""Between two looks at whether a child is ready."""
LAST_WORDS_S = 0.5
"""How long to read on after a death. Grandchildren may hold the pipe open for ever."""
PR_SET_PDEATHSIG = 1
"""Source: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html"""

_libc = ctypes.CDLL(None, use_errno=True)  # loaded here: after the fork nothing may be

_living: "set[Child]" = set()


class Lines:
    """Bytes in, whole lines out: keeps the last ones, and hands each to `on_line`."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self.last: deque[str] = deque(maxlen=LINES_KEPT)
        self._on_line = on_line
        self._unfinished = b""

    def feed(self, data: bytes) -> None:
        """Take output as it comes. A progress bar's carriage return ends a line too."""
        *lines, self._unfinished = (self._unfinished + data).replace(b"\r", b"\n").split(b"\n")
        while len(self._unfinished) > MAX_LINE_BYTES:
            lines.append(self._unfinished[:MAX_LINE_BYTES])
            self._unfinished = self._unfinished[MAX_LINE_BYTES:]
        for line in lines:
            self._hand_on(line)

    def finish(self) -> None:
        """Hand on what was said without an end of line."""
        self._hand_on(self._unfinished)
        self._unfinished = b""

    def _hand_on(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if not text:
            return
        self.last.append(text)
        if self._on_line:
            self._on_line(text)


class _Protocol(asyncio.SubprocessProtocol):
    """What the event loop tells about the child."""

    transport: asyncio.SubprocessTransport

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.exited = asyncio.Event()
        self.silent = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 one pipe for both
        self.lines.feed(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 as above
        self.lines.finish()
        self.silent.set()

    def process_exited(self) -> None:
        self.exited.set()


@dataclass(eq=False, frozen=True)
class Child:
    """A running child process and the group that it leads."""

    name: str
    pid: int
    _protocol: _Protocol
    _stop_signal: signal.Signals
    _stop_grace_s: float
    _parent_death_signal: signal.Signals

    @property
    def returncode(self) -> int | None:
        """Exit status, minus the number of the signal that killed it; None while it runs."""
        return self._protocol.transport.get_returncode()

    @property
    def last_lines(self) -> list[str]:
        """What it said last, on standard output and standard error together."""
        return list(self._protocol.lines.last)

    async def wait(self) -> int:
        """Wait for its end and its last words. Returns the exit status."""
        await self._protocol.exited.wait()
        with anyio.move_on_after(LAST_WORDS_S):
            await self._protocol.silent.wait()
        return cast("int", self.returncode)

    async def until_ready(self, probe: Callable[[], Awaitable[bool]], *, timeout_s: float) -> None:
        """Ask `probe` again and again until it says yes.

        Raises:
            Unavailable: the child ended before, or took too long; its last lines are in the hint.
        """
        with anyio.move_on_after(timeout_s):
            while self.returncode is None:
                if await probe():
                    return
                with anyio.move_on_after(POLL_S):
                    await self._protocol.exited.wait()
        if self.returncode is None:
            raise self.failure(f"{self.name} was not ready after {timeout_s:.0f} s.")
        await self.wait()
        raise self.failure(f"{self.name} {describe_end(self.returncode)} before it was ready.")

    def signal(self, number: signal.Signals) -> None:
        """Signal the child itself. One that is gone is none to complain about."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def abandon(self) -> None:
        """Tell the child what the kernel would tell it if we died now: to end without any grace."""
        self.signal(self._parent_death_signal)

    def kill(self) -> None:
        """End the child and all it spawned in its session's first group, at once."""
        with suppress(ProcessLookupError, PermissionError):  # not ours: the number was reused
            os.killpg(self.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Ask the child to end, then make it. Stopping twice is not an error."""
        self.signal(self._stop_signal)
        with anyio.move_on_after(self._stop_grace_s):
            await self._protocol.exited.wait()
        # Always: when the leader is gone its own children may not be, and they hold the GPU.
        self.kill()
        await self.wait()

    def failure(self, message: str) -> Unavailable:
        """Say that it failed, in its own words if it is a `jan` that refused, else with `message`.

        What it said last is in the hint.
        """
        lines = self.last_lines
        if self.returncode == EXIT_REFUSED:
            for number, line in enumerate(lines):
                if line.startswith(COMPLAINT):
                    message = line.removeprefix(COMPLAINT)
                    lines = [line.removeprefix(HINT) for line in lines[number + 1 :]]
                    break
        return Unavailable(message, hint="\n".join(lines) or None)


@asynccontextmanager
async def spawn(  # noqa: PLR0913 as many as a process has ways to be started
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    name: str | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    user: str | int | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
    stop_grace_s: float = 10.0,
    parent_death_signal: signal.Signals = signal.SIGKILL,
    on_line: Callable[[str], None] | None = None,
) -> AsyncGenerator[Child]:
    """Run a program for the length of a block; at its end no process of its group is left.

    `stop_signal` and then, `stop_grace_s` later, SIGKILL end it; `parent_death_signal` is what it
    gets when we die. `user` gives up root for good, groups included.
    """
    protocol = _Protocol(Lines(on_line))
    uid, gid, groups = (None, None, None) if user is None else _identity(user)
    # asyncio leaves the process and its pipe behind if it is cancelled half-way.
    with anyio.CancelScope(shield=True):
        await asyncio.get_running_loop().subprocess_exec(
            lambda: protocol,
            *argv,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent(parent_death_signal),
            user=uid,
            group=gid,
            extra_groups=groups,
        )
    child = Child(
        name or Path(argv[0]).name,
        protocol.transport.get_pid(),
        protocol,
        stop_signal,
        stop_grace_s,
        parent_death_signal,
    )
    _living.add(child)
    try:
        yield child
    finally:
        with anyio.CancelScope(shield=True):
            await child.stop()
        _living.discard(child)
        protocol.transport.close()


def abandon_all() -> None:
    """Cut short the grace of every child of this process: whoever waits for them is in a hurry."""
    for child in _living:
        child.abandon()


def descendants() -> set[int]:
    """Tell the numbers of all processes that live below this one."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended while we looked
            # The name, in brackets, may hold anything: what counts stands after the last one.
            parent = (
                stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
            )
            parents[int(stat.parent.name)] = int(parent)
    found = {os.getpid()}
    while new := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= new
    return found - {os.getpid()}


def ourselves(*arguments: str) -> list[str]:
    """The command line that runs this same program again, frozen or not.

    `-P`: a folder `jan` where the user happens to be must not take our place.
    """
    return [sys.executable, "-P", "-m", "jan", *arguments]


def describe_end(returncode: int | None) -> str:
    """Say how a process ended: `was killed by SIGKILL`, `ended with exit code 1`."""
    if returncode is not None and returncode < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-returncode).name}"
    return f"ended with exit code {returncode}"


def _die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """Make what the child runs between fork and exec.

    CPython calls it after the change of user, which would clear the wish; exec keeps it.
    """
    parent = os.getpid()

    def ask() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked: nobody will tell us
            os.kill(os.getpid(), signal.SIGKILL)

    return ask


def _identity(user: str | int) -> tuple[int, int, list[int]]:
    """User, group and further groups, of which there are none: else the child would keep root's."""
    entry = pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    return entry.pw_uid, entry.pw_gid, []
