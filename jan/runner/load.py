"""How much an engine has to do, by its own count: what vLLM tells at `/metrics`.

Source: https://docs.vllm.ai/en/latest/usage/metrics.html
"""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 2.0
LINE = re.compile(r"^vllm:(\w+?)(?:_total)?(?:\{[^}]*\})? (\S+)$", re.MULTILINE)

BUSY = ("num_requests_running", "num_requests_waiting")
WORK = ("prompt_tokens", "generation_tokens", "request_success")
"""Counters that grow with whatever is done."""


@dataclass(frozen=True)
class Load:
    """What it said."""

    requests: int
    """That run or wait."""
    done: float
    """Grows with everything that is done, and says nothing by itself."""


async def read(socket: Path) -> Load | None:
    """Ask the engine that listens on a socket. None: it does not tell."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
                answer = await reader.read(-1)
            finally:
                writer.close()
    except OSError:  # TimeoutError too
        return None
    return parsed(answer.decode(errors="replace"))


def parsed(text: str) -> Load | None:
    """Read Prometheus' text. None: nothing is said there of requests."""
    sums: dict[str, float] = {}
    for name, value in LINE.findall(text):
        sums[name] = sums.get(name, 0.0) + float(value)
    if BUSY[0] not in sums:
        return None
    return Load(
        requests=int(sum(sums.get(name, 0.0) for name in BUSY)),
        done=sum(sums.get(name, 0.0) for name in WORK),
    )
