"""What is measured: the mock upstream itself, Jan in front of an upstream, and Jan's runner.

Each is a real process of its own that lives as long as a block, with its state in a temporary
folder. Jan runs as an operator would run it: keys, usage rows, PostgreSQL and logs are all on.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import msgspec
import psutil

from bench.load import Target, ask
from jan import keyring, settings
from jan.db import dsn

START_TIMEOUT_S = 120.0
ENGINE_START_TIMEOUT_S = 900.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.005

JAN = (sys.executable, "-m", "jan")


@dataclass(frozen=True)
class Subject:
    """Something that answers requests, and the process tree that does."""

    target: Target
    process: psutil.Process
    home: Path | None = None
    """Of Jan."""

    async def count_rows(self) -> None:
        """Let PostgreSQL know how much is in its tables, as it does by itself within a minute.

        Until then it takes them for empty, and any index for as good as the one that is meant.
        """
        assert self.home is not None
        found = settings.load({"home": self.home}, environ={}).settings
        connection = await asyncpg.connect(dsn.resolve_owner(found, keyring.load(found)))
        await connection.execute("ANALYZE")
        await connection.close()


def free_port() -> int:
    """Name a port that nobody uses at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def environment(**changes: object) -> dict[str, str]:
    """Make an environment in which only `changes` configure Jan."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("JAN_")}
    return clean | {name: str(value) for name, value in changes.items()}


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Make a folder that a server's unprivileged user can enter, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="jan-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def borrowed(home: Path) -> Generator[Path]:
    """Make a home with the engines and models of another, and a database of its own."""
    with temporary_folder() as folder:
        for name in ("engines", "models"):
            (folder / name).symlink_to(home / name)
        yield folder


@asynccontextmanager
async def running(
    argv: Sequence[str], env: Mapping[str, str], log: Path
) -> AsyncGenerator[psutil.Process]:
    """Run a server until the block ends; its output goes to a file."""
    with log.open("ab") as output:
        child = await asyncio.create_subprocess_exec(
            *argv, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield psutil.Process(child.pid)
    finally:
        if child.returncode is None:
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            child.kill()
            await child.wait()


async def until_ok(
    target: Target, path: str, process: psutil.Process, log: Path, *, timeout_s: float
) -> None:
    """Wait until `path` answers 200.

    Raises:
        RuntimeError: the process ended, or the time did; with the last lines of its log.
    """
    ends_s = time.monotonic() + timeout_s
    while time.monotonic() < ends_s and process.is_running():
        try:
            if (await ask(target, target.get(path))).is_good:
                return
        except OSError:
            pass
        await asyncio.sleep(POLL_S)
    raise RuntimeError(f"{target.name} did not answer on {path}:\n{_last_lines(log)}")


@asynccontextmanager
async def mock() -> AsyncGenerator[Subject]:
    """Run the mock upstream."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.upstream", stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        port = int(await child.stdout.readline())
        yield Subject(Target("direct", port, "mock"), psutil.Process(child.pid))
    finally:
        with suppress(ProcessLookupError):  # who measures may have killed it
            child.kill()
        await child.wait()


@asynccontextmanager
async def jan(upstream: Target, home: Path) -> AsyncGenerator[Subject]:
    """Run `jan serve` in front of `upstream`, and make a key for it."""
    port, log = free_port(), home / "bench.log"
    env = environment(
        JAN_HOME=home, JAN_PORT=port, JAN_INFERENCE_MODEL_URL=f"http://127.0.0.1:{upstream.port}"
    )
    async with running([*JAN, "serve"], env, log) as process:
        probe = Target("jan", port, upstream.model)
        await until_ok(probe, "/readyz", process, log, timeout_s=START_TIMEOUT_S)
        target = Target("jan", port, upstream.model, await create_key(env))
        yield Subject(target, process, home)


@asynccontextmanager
async def engine(home: Path, log: Path) -> AsyncGenerator[Subject]:
    """Run `jan runner` with the engine and the model that `home` holds."""
    port = free_port()
    env = environment(JAN_HOME=home, JAN_RUNNER_PORT=port)
    async with running([*JAN, "runner"], env, log) as process:
        probe = Target("runner", port, "")
        await until_ok(probe, "/health", process, log, timeout_s=ENGINE_START_TIMEOUT_S)
        yield Subject(await named("direct", port), process)


async def named(name: str, port: int) -> Target:
    """Address the first model that a server lists."""
    probe = Target(name, port, "")
    answer = await ask(probe, probe.get("/v1/models"))
    return Target(name, port, msgspec.json.decode(answer.body)["data"][0]["id"])


async def create_key(env: Mapping[str, str]) -> str:
    """Make an API key as an operator does."""
    child = await asyncio.create_subprocess_exec(
        *JAN, "key", "create", "--name", "bench", env=env, stdout=subprocess.PIPE
    )
    key, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError("`jan key create` failed.")
    return key.decode().strip()


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
