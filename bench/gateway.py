"""What the gateway costs: the same load on an upstream directly and through each gateway, in turns.

The machine is shared and the load and the upstream run on the same cores, so that absolute times
mean little: rounds are interleaved, medians of rounds are shown, and ratios are what to read.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from statistics import median

import msgspec

from bench import cost, load, report
from bench.load import Target
from bench.report import Figures
from bench.subjects import Subject
from bench.upstream import CHUNKS, Stats

CONNECTIONS = (1, 16, 128)
STREAMS_AT_ONCE = 16
STREAMS_A_ROUND = 160
CROWD = 1000
CROWD_INTERVAL_MS = 250.0
HANG_UPS = 20
HANG_UP_TIMEOUT_S = 5.0

HANG_UP_PATHS = {
    "before the first token": {"stream": True, "delay_ms": 60_000},
    "mid-stream": {"stream": True, "max_tokens": 12_000},
    "not streamed": {"delay_ms": 60_000},
}

TARGETS = {
    "added latency p50, 1 connection, ms": "<= 0.4",
    "added latency p99, 1 connection, ms": "<= 1",
    "requests/s, 16 connections": ">= 3,500",
    "CPU ms per request, 16 connections": "<= 0.25; a thirtieth of LiteLLM's",
    f"CPU ms per {CHUNKS}-chunk stream, {STREAMS_AT_ONCE} at once": "<= 4; a tenth of LiteLLM's",
    f"failed of {CROWD:,} slow streams": "0",
    f"worker RSS MB, peak with {CROWD:,} slow streams": "< 300",
    "worker RSS MB, idle": "<= 120",
    **{f"hang-up to idle upstream p99, {path}, ms": "<= 100" for path in HANG_UP_PATHS},
}


async def measure(upstream: Subject, gateways: Sequence[Subject], *, rounds: int) -> Figures:
    """Measure everything for each of `gateways`, all of them in front of `upstream`."""
    everyone = [upstream, *gateways]
    figures: Figures = {}
    idle = {subject.target.name: cost.memory(subject.process) for subject in gateways}
    for subject in everyone:
        request = subject.target.chat()
        await load.press(subject.target, request, connections=16, seconds=1)
    for connections in CONNECTIONS:
        report.say(f"{connections} connections, {rounds} rounds ...")
        figures |= await _requests(everyone, connections, rounds)
    report.say(f"streams, {rounds} rounds ...")
    figures |= await _streams(everyone, rounds)
    report.say(f"{CROWD:,} slow streams ...")
    figures |= await _crowd(everyone)
    figures["worker RSS MB, idle"] = {name: memory.worker_mb for name, memory in idle.items()}
    figures["whole program's RSS MB, idle"] = {name: m.total_mb for name, m in idle.items()}
    report.say("hang-ups ...")
    figures |= await _hang_ups(upstream.target, gateways)
    return figures


async def _requests(everyone: Sequence[Subject], connections: int, rounds: int) -> Figures:
    """Press for some seconds with requests that are not streamed."""
    suffix = "1 connection" if connections == 1 else f"{connections} connections"
    seen: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        direct: dict[int, float] = {}
        for subject in everyone:
            name, before = subject.target.name, cost.cpu(subject.process)
            done = await load.press(
                subject.target,
                subject.target.chat(),
                connections=connections,
                seconds=3,
                check=load.is_completion,
            )
            spent = cost.cpu(subject.process) - before
            for percent in (50, 99):
                latency_ms = done.latency_ms(percent)
                _add(seen, f"latency p{percent}, {suffix}, ms", name, latency_ms)
                added_ms = latency_ms - direct.setdefault(percent, latency_ms)
                if subject is not everyone[0]:
                    _add(seen, f"added latency p{percent}, {suffix}, ms", name, added_ms)
            _add(seen, f"requests/s, {suffix}", name, done.per_s)
            _add_cpu(seen, f"per request, {suffix}", name, spent, len(done.good))
            _add(seen, f"failed requests, {suffix}", name, done.failed)
    return _medians(seen)


async def _streams(everyone: Sequence[Subject], rounds: int) -> Figures:
    """Run streams of ordinary speed, a few at once."""
    seen: dict[str, dict[str, list[float]]] = {}
    suffix = f"{CHUNKS}-chunk stream, {STREAMS_AT_ONCE} at once"
    for _ in range(rounds):
        for subject in everyone:
            name, before = subject.target.name, cost.cpu(subject.process)
            done = await load.press(
                subject.target,
                subject.target.chat(stream=True),
                connections=STREAMS_AT_ONCE,
                requests=STREAMS_A_ROUND,
                check=load.is_stream_of(CHUNKS),
            )
            spent = cost.cpu(subject.process) - before
            _add(seen, "time to first token p50, ms", name, done.first_ms(50))
            _add(seen, "time to first token p99, ms", name, done.first_ms(99))
            _add(seen, f"time of a {suffix}, p50, ms", name, done.latency_ms(50))
            _add_cpu(seen, f"per {suffix}", name, spent, len(done.good))
            _add(seen, f"failed of {STREAMS_A_ROUND} streams", name, done.failed)
    return _medians(seen)


async def _crowd(everyone: Sequence[Subject]) -> Figures:
    """Hold many slow streams at once."""
    figures: Figures = {}
    for subject in everyone:
        name = subject.target.name
        request = subject.target.chat(stream=True, interval_ms=CROWD_INTERVAL_MS)
        done = await load.press(
            subject.target,
            request,
            connections=CROWD,
            requests=CROWD,
            check=load.is_stream_of(CHUNKS),
        )
        memory = cost.memory(subject.process)
        figures.setdefault(f"failed of {CROWD:,} slow streams", {})[name] = done.failed
        if subject is not everyone[0]:
            measure = f"worker RSS MB, peak with {CROWD:,} slow streams"
            figures.setdefault(measure, {})[name] = memory.worker_peak_mb
    return figures


async def _hang_ups(upstream: Target, gateways: Sequence[Subject]) -> Figures:
    """Close the client's connection and see when the upstream's is closed."""
    figures: Figures = {}
    for path, fields in HANG_UP_PATHS.items():
        for gateway in gateways:
            request = gateway.target.chat(**fields)
            waits_ms = [await _hang_up(upstream, gateway.target, request) for _ in range(HANG_UPS)]
            for percent in (50, 99):
                row = figures.setdefault(f"hang-up to idle upstream p{percent}, {path}, ms", {})
                row[gateway.target.name] = load.percentile(waits_ms, percent)
    return figures


async def _hang_up(upstream: Target, gateway: Target, request: bytes) -> float:
    """Return the milliseconds from the client's close to the upstream's; infinite if it goes on."""
    before = await _stats(upstream)
    requests = iter([request])
    connection = await load.connect(gateway, lambda: next(requests, None))
    connection.send()
    with suppress(TimeoutError):
        async with asyncio.timeout(HANG_UP_TIMEOUT_S):
            while (await _stats(upstream)).running == before.running:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.05)
            closed_s = time.monotonic()
            connection.transport.close()
            while (now := await _stats(upstream)).aborted == before.aborted:
                await asyncio.sleep(0.005)
            return (now.aborted_at_s - closed_s) * 1000
    return float("inf")


async def _stats(upstream: Target) -> Stats:
    answer = await load.ask(upstream, upstream.get("/stats"))
    return msgspec.json.decode(answer.body, type=Stats)


def _add(
    seen: dict[str, dict[str, list[float]]], measure: str, subject: str, figure: float
) -> None:
    seen.setdefault(measure, {}).setdefault(subject, []).append(figure)


def _add_cpu(
    seen: dict[str, dict[str, list[float]]], suffix: str, subject: str, spent: cost.Cpu, count: int
) -> None:
    _add(seen, f"CPU ms {suffix}", subject, spent.program_s * 1000 / max(count, 1))
    if spent.database_s:
        _add(
            seen, f"PostgreSQL's CPU ms {suffix}", subject, spent.database_s * 1000 / max(count, 1)
        )


def _medians(seen: dict[str, dict[str, list[float]]]) -> Figures:
    return {
        measure: {subject: median(figures) for subject, figures in row.items()}
        for measure, row in seen.items()
    }
