"""What several instances behind one gateway are worth: failover, balance, prefix caches, fairness.

The fleet is the gateway's own, in this process; the instances are mock upstreams, processes of
their own. What is compared are ways to choose among them, in one run.
"""

import asyncio
import json
import random
import re
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from statistics import mean

import msgspec

from bench import load, report, subjects
from bench.report import Figures
from bench.subjects import Subject
from bench.upstream import MODEL, Stats
from jan import permissions
from jan.caller import Caller
from jan.errors import JanError
from jan.inference import choice
from jan.inference import fleet as fleets
from jan.inference.ask import Ask
from jan.inference.checks import Checks
from jan.inference.client import Client
from jan.inference.fleet import Fleet
from jan.inference.registry import Endpoint, Registry, Served
from jan.inference.watch import Alone
from jan.telemetry import Exchange

INSTANCES = 4
CACHED = re.compile(r"^vllm:prefix_cache_(hits|queries)_total\S* (\S+)", re.MULTILINE)
ENGINE_MODEL = "SmolLM2-135M-Instruct"
PATH = b"/v1/chat/completions"
CALLER = Caller(kind="key", scopes=permissions.KEY_KINDS["project"], project_id="proj_1")

KILL_S, KILL_AT_S, CLIENTS = 4.0, 1.5, 32
"""How long requests are sent, when an instance is killed, by how many clients at once."""
BALANCE_REQUESTS, LONG_SHARE, LONG_MS, SHORT_MS = 800, 0.1, 200, 10
GROUPS, PREFIX_CHARS, TURNS = 24, 12_000, 12
"""Conversations with a long beginning each, and how often each goes on."""
LOUD, QUIET, SLOT_MS = 64, 4, 5

TARGETS = {
    "failed requests after an instance's kill -9": "0",
    "Jain index of turns, 64 clients against 4": "1",
}


async def measure() -> Figures:
    """Measure everything."""
    figures: Figures = {}
    report.say(f"an instance of {INSTANCES} is killed under load ...")
    figures |= await _kill()
    report.say("skewed load ...")
    figures |= await _balance()
    report.say("prompts with shared beginnings ...")
    figures |= await _prefixes()
    report.say("a burst on one slot ...")
    figures |= await _fairness()
    return figures


@asynccontextmanager
async def _mocks(
    count: int = INSTANCES, *, max_running: int | None = None
) -> AsyncGenerator[tuple[Fleet, list[Subject]]]:
    """Run instances, and a fleet in front of them that looks after them."""
    async with AsyncExitStack() as stack:
        mocks = [await stack.enter_async_context(subjects.mock()) for _ in range(count)]
        fleet = Fleet(connect_timeout_s=1)
        checks = Checks(fleet, Alone(), interval_s=1, timeout_s=1, connect_timeout_s=1)
        fleet.doubted = checks.doubt
        checks.apply(
            Registry(
                [
                    Endpoint(
                        id=f"ep_{number}",
                        url=f"http://127.0.0.1:{mock.target.port}",
                        served=(Served(MODEL),),
                        max_running=max_running,
                    )
                    for number, mock in enumerate(mocks)
                ]
            )
        )
        looking = asyncio.create_task(checks.run())
        while not all(each.is_well for each in fleet.instances.values()):
            await asyncio.sleep(0.01)
        yield fleet, mocks
        looking.cancel()
        fleet.close()


async def _post(
    fleet: Fleet,
    caller: Caller = CALLER,
    prompt: str = "hi",
    model: str = MODEL,
    **fields: float,
) -> None:
    body = {"messages": [{"role": "user", "content": prompt}], "model": model, **fields}
    encoded = msgspec.json.encode(body)
    exchange = Exchange("req", "POST", PATH.decode(), caller=caller)
    async with fleet.post(Ask(PATH, (), encoded, exchange, model=model)) as answer:
        await answer.read_all()
        if answer.status != 200:
            raise JanError(f"status {answer.status}")


async def _kill() -> Figures:
    """Send requests all the time, kill an instance, and see for how long any of them fails."""
    failed_s: list[float] = []
    done = 0
    async with _mocks() as (fleet, mocks):
        ends_s = time.monotonic() + KILL_S

        async def client() -> None:
            nonlocal done
            while time.monotonic() < ends_s:
                try:
                    await _post(fleet, delay_ms=10)
                    done += 1
                except JanError:
                    failed_s.append(time.monotonic())

        clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
        await asyncio.sleep(KILL_AT_S)
        killed_s = time.monotonic()
        mocks[0].process.send_signal(signal.SIGKILL)
        await asyncio.gather(*clients)
    last_ms = (max(failed_s) - killed_s) * 1000 if failed_s else 0.0
    return {
        "requests while it was killed": {"fleet": float(done)},
        "failed requests after an instance's kill -9": {"fleet": float(len(failed_s))},
        "from the kill to the last failed request, ms": {"fleet": last_ms},
    }


async def _balance() -> Figures:
    """Send long and short requests in random order: the busiest instance against the mean."""
    figures: Figures = {}
    for name, choose in (("fleet", choice.choose), ("random", _at_random)):
        with _choosing(choose):
            async with _mocks() as (fleet, mocks):
                order = random.Random(1)
                room = asyncio.Semaphore(CLIENTS)
                began_s = time.monotonic()

                async def one(
                    delay_ms: int, fleet: Fleet = fleet, room: asyncio.Semaphore = room
                ) -> None:
                    async with room:
                        await _post(fleet, delay_ms=delay_ms)

                delays = [
                    LONG_MS if order.random() < LONG_SHARE else SHORT_MS
                    for _ in range(BALANCE_REQUESTS)
                ]
                await asyncio.gather(*map(one, delays))
                took_s = time.monotonic() - began_s
                stats = [await _stats(mock) for mock in mocks]
        busy = [each.busy_s for each in stats]
        row = f"busy time of the busiest of {INSTANCES} / mean"
        figures.setdefault(row, {})[name] = max(busy) / mean(busy)
        figures.setdefault("skewed load: s", {})[name] = took_s
    return figures


async def _prefixes() -> Figures:
    """Go on with conversations again and again: how much of the prompts an engine knows."""
    figures: Figures = {}
    for name, choose in (("fleet", choice.choose), ("random", _at_random)):
        with _choosing(choose):
            async with _mocks() as (fleet, mocks):
                await _converse(fleet)
                stats = [await _stats(mock) for mock in mocks]
        hits, blocks = sum(s.hits for s in stats), sum(s.blocks for s in stats)
        figures.setdefault("prefix blocks that were cached, share", {})[name] = hits / blocks
        served = [each.served for each in stats]
        row = f"requests of the busiest of {INSTANCES} / mean, shared beginnings"
        figures.setdefault(row, {})[name] = max(served) / mean(served)
    return figures


async def _converse(
    fleet: Fleet,
    *,
    groups: int = GROUPS,
    prefix_chars: int = PREFIX_CHARS,
    turns: int = TURNS,
    model: str = MODEL,
) -> None:
    shared = {group: f"{group} " * (prefix_chars // 3) for group in range(10, 10 + groups)}
    said = dict.fromkeys(shared, "")
    room = asyncio.Semaphore(8)

    async def turn(group: int) -> None:
        async with room:
            prompt = shared[group] + said[group]
            await _post(fleet, prompt=prompt, model=model, delay_ms=5, max_tokens=1)
            said[group] += f" {random.random()}" * 40

    for _ in range(turns):
        order = list(shared)
        random.shuffle(order)
        await asyncio.gather(*map(turn, order))


async def measure_engines(home: Path) -> Figures:
    """The same conversations, with two real engines: what their own metrics say of the prompts."""
    figures: Figures = {}
    for name, choose in (("fleet", choice.choose), ("random", _at_random)):
        report.say(f"two engines, {name} ...")
        with _choosing(choose):
            async with _engines(home) as (fleet, sockets):
                before = [await _cached(socket) for socket in sockets]
                began_s = time.monotonic()
                await _converse(fleet, groups=8, prefix_chars=3000, turns=6, model=ENGINE_MODEL)
                took_s = time.monotonic() - began_s
                after = [await _cached(socket) for socket in sockets]
        hits = sum(b[0] - a[0] for a, b in zip(before, after, strict=True))
        queries = sum(b[1] - a[1] for a, b in zip(before, after, strict=True))
        figures.setdefault("tokens of prompts that were cached, share", {})[name] = hits / queries
        figures.setdefault("all of it: s", {})[name] = took_s
    return figures


@asynccontextmanager
async def _engines(home: Path) -> AsyncGenerator[tuple[Fleet, list[Path]]]:
    """Run Jan with two engines of the demonstration model, and a fleet of our own before them."""
    deployed = [{"name": ENGINE_MODEL, "instances": 2}]
    said = {"JAN_HOME": home, "JAN_PORT": subjects.free_port(), "JAN_MODELS": json.dumps(deployed)}
    argv = [*subjects.JAN, "serve"]
    child = await asyncio.create_subprocess_exec(
        *argv, env=subjects.environment(**said), stderr=subprocess.DEVNULL
    )
    sockets = [home / "run" / "engine" / f"{ENGINE_MODEL}-{n}" / "http.sock" for n in (1, 2)]
    fleet = Fleet(connect_timeout_s=1)
    checks = Checks(fleet, Alone(), interval_s=1, timeout_s=10, connect_timeout_s=1)
    fleet.doubted = checks.doubt
    checks.apply(
        Registry(
            [
                Endpoint(id=f"ep_{n}", url=f"unix://{socket}", kind="runner")
                for n, socket in enumerate(sockets)
            ]
        )
    )
    looking = asyncio.create_task(checks.run())
    try:
        async with asyncio.timeout(subjects.ENGINE_START_TIMEOUT_S):
            while not all(each.is_well and each.names for each in fleet.instances.values()):
                await asyncio.sleep(0.2)
        yield fleet, sockets
    finally:
        looking.cancel()
        fleet.close()
        child.terminate()
        await child.wait()


async def _cached(socket: Path) -> tuple[float, float]:
    """Read what an engine says of its prefix cache: tokens that it knew, of all that it looked up.

    Source: https://docs.vllm.ai/en/latest/usage/metrics.html
    """
    client = Client(f"unix://{socket}", connect_timeout_s=1)
    async with client.request(b"GET", b"/metrics") as answer:
        text = (await answer.read_all()).decode()
    client.close()
    found = {name: float(value) for name, value in CACHED.findall(text)}
    return found.get("hits", 0.0), found.get("queries", 0.0)


async def _fairness() -> Figures:
    """Let many clients of one project and few of another want the only slot there is."""
    figures: Figures = {}
    for name, max_running in (("fleet", 1), ("no queue", None)):
        async with _mocks(1, max_running=max_running) as (fleet, _):
            turns = {"loud": 0, "quiet": 0}
            slot = asyncio.Semaphore(1)

            async def client(
                project: str,
                fleet: Fleet = fleet,
                turns: dict[str, int] = turns,
                slot: asyncio.Semaphore | None = slot if max_running is None else None,
            ) -> None:
                while True:
                    async with AsyncExitStack() as stack:
                        if slot is not None:  # first come, first served
                            await stack.enter_async_context(slot)
                        await _post(fleet, replace(CALLER, project_id=project), delay_ms=SLOT_MS)
                    turns[project] += 1

            clients = [
                asyncio.create_task(client(project))
                for project, count in (("loud", LOUD), ("quiet", QUIET))
                for _ in range(count)
            ]
            await asyncio.sleep(3)
            for task in clients:
                task.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
        row = f"Jain index of turns, {LOUD} clients against {QUIET}"
        figures.setdefault(row, {})[name] = _jain(list(turns.values()))
    return figures


def _jain(turns: Sequence[int]) -> float:
    """Source: https://www.cse.wustl.edu/~jain/papers/fairness.htm"""  # noqa: D400
    return sum(turns) ** 2 / (len(turns) * sum(turn * turn for turn in turns))


def _at_random(
    instances: Sequence[choice.Choosable],
    preferred: Sequence[str] = (),  # noqa: ARG001 - as `choose`
) -> choice.Choosable | None:
    free = [each for each in instances if each.has_room]
    return random.choice(free) if free else None


class _choosing:  # noqa: N801 - a block
    """Have fleets choose in another way during the block."""

    def __init__(self, choose: Callable[..., object]) -> None:
        self._choose = choose

    def __enter__(self) -> None:
        fleets.choose = self._choose  # pyright: ignore[reportAttributeAccessIssue]

    def __exit__(self, *_: object) -> None:
        fleets.choose = choice.choose


async def _stats(mock: Subject) -> Stats:
    with suppress(OSError):
        answer = await load.ask(mock.target, mock.target.get("/stats"))
        return msgspec.json.decode(answer.body, type=Stats)
    return Stats()
