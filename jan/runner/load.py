"""How much an engine has to do, by its own count: what vLLM tells at `/metrics`.

Source: https://docs.vllm.ai/en/latest/usage/metrics.html
"""

import re
from dataclasses import dataclass
from pathlib import Path

from jan.metrics import asking

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
    answer = await asking.told(socket, timeout_s=TIMEOUT_S)
    return None if answer is None else parsed(answer.decode(errors="replace"))


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
