"""`jan serve` as its users run it: a process, seen from outside."""

import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import httpx
import psutil

from jan import keyring, process, settings
from jan.db import dsn
from jan.process import Child

DEADLINE_S = 30.0
"""Longer than anything takes that happens at all, on a machine that is busy with other tests."""

SHARED_MEMORY = Path("/dev/shm")

JAN = (sys.executable, "-m", "jan")


async def until(condition: Callable[[], Any], *, deadline_s: float = DEADLINE_S) -> None:
    """Wait until it is so."""
    with anyio.fail_after(deadline_s):
        while not condition():
            await anyio.sleep(0.05)


@dataclass
class Serve:
    """A running `jan serve`."""

    child: Child
    home: Path
    lines: list[str]
    family: list[psutil.Process] = field(default_factory=list[psutil.Process])
    """Every process of it that was ever looked at."""
    memory: set[int] = field(default_factory=set[int])
    """Shared memory and semaphores that those had, by the numbers of their files."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was logged."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """What was logged as one."""
        return [event for event in self.events if event["level"] == "error"]

    def words(self, part: str) -> list[str]:
        """What was logged about a part."""
        return [event["event"] for event in self.events if event.get("part") == part]

    @property
    def url(self) -> str:
        """Where it listens."""
        return next(event["url"] for event in self.events if "url" in event)

    @property
    def metrics(self) -> str:
        """Where it tells them."""
        return next(event["at"] for event in self.events if "at" in event)

    @property
    def process(self) -> psutil.Process:
        """The supervisor."""
        return psutil.Process(self.child.pid)

    def client(self, key: str | None = None) -> httpx.AsyncClient:
        """Make a client that sends `key`, on connections of its own."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=DEADLINE_S)

    def children(self, word: str) -> list[psutil.Process]:
        """The supervisor's own children with this word in their command line. It may be gone."""
        with suppress(psutil.NoSuchProcess):
            self.look()
            return [child for child in self.process.children() if word in _words(child)]
        return []

    def look(self) -> None:
        """Remember every process that there is now, and the shared memory that it has."""
        now = [self.process, *self.process.children(recursive=True)]
        self.family += now
        self.memory |= {number for each in now for number in _shared_memory(each.pid)}

    async def until_answering(self) -> None:
        """Wait for the gateway alone."""
        await until(lambda: any("url" in event for event in self.events))
        async with self.client() as client:
            assert (await client.get("/livez")).status_code == 200

    async def until_ready(self, *, deadline_s: float = DEADLINE_S) -> None:
        """Wait until a chat would be answered."""
        await self.until_answering()
        async with self.client() as client:
            with anyio.fail_after(deadline_s):
                while (await client.get("/readyz")).status_code != 200:
                    await anyio.sleep(0.05)
        self.look()

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait. Returns the exit status."""
        self.look()
        self.child.signal(number)
        with anyio.fail_after(DEADLINE_S):
            return await self.child.wait()

    def left_behind(self) -> list[str]:
        """What there should be no more, as far as it was looked at while it was there.

        Living processes, and those that name our home; sockets; locks that are held, and that of
        the supervisor in any case; shared memory and semaphores.
        """
        alive = [f"{each.pid}: {each}" for each in {*self.family} if _is_alive(each)]
        alive += [f"{each.pid}: {each}" for each in psutil.process_iter() if self._is_ours(each)]
        files = [path for path in (self.home / "run").rglob("*") if _is_in_use(path)]
        files += [path for path in (self.home / "run").glob("serve.lock") if path not in files]
        files += [path for path in SHARED_MEMORY.iterdir() if _number_of(path) in self.memory]
        return alive + [str(path) for path in files]

    def _is_ours(self, candidate: psutil.Process) -> bool:
        try:
            said = [*candidate.cmdline(), candidate.environ().get("JAN_HOME", "")]
        except psutil.Error:
            return False
        return candidate.pid != os.getpid() and any(str(self.home) in word for word in said)

    async def fetch(self, query: str) -> list[Any]:
        """Ask its database, while it runs."""
        loaded = settings.load({"home": self.home})
        secrets = keyring.load(loaded.settings)
        connection = await asyncpg.connect(
            dsn.resolve(loaded.settings, secrets), server_settings={"jan.scope": "system"}
        )
        try:
            return await connection.fetch(query)
        finally:
            await connection.close()


def _words(candidate: psutil.Process) -> list[str]:
    """Its command line. One that died meanwhile has none, though it may not be reaped yet."""
    try:
        return candidate.cmdline()
    except psutil.NoSuchProcess:  # ZombieProcess too
        return []


def _shared_memory(pid: int) -> list[int]:
    """Numbers of files in /dev/shm that it has mapped: names in `maps` may be outdated."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [int(line.split()[4]) for line in maps.splitlines() if f" {SHARED_MEMORY}/" in line]


def _number_of(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _is_alive(candidate: psutil.Process) -> bool:
    try:
        return candidate.is_running() and candidate.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_in_use(path: Path) -> bool:
    """Whether it is a socket, or a lock that somebody holds: the kernel frees those of the dead."""
    if not path.is_file():
        return path.is_socket()
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@asynccontextmanager
async def serving(home: Path, *flags: str, **environ: str) -> AsyncGenerator[Serve]:
    """Run it on any free port, with lines of JSON."""
    lines: list[str] = []
    argv = [*JAN, "--home", home, "serve", "--port", "0", "--log-format", "json", *flags]
    async with process.spawn(
        argv, env={**os.environ, **environ}, on_line=lines.append, stop_grace_s=DEADLINE_S
    ) as child:
        yield Serve(child, home, lines)


async def jan(home: Path, *arguments: str) -> str:
    """Run another command to its end. Returns what it printed."""
    run = await anyio.run_process([*JAN, "--home", str(home), *arguments])
    return run.stdout.decode().strip()
