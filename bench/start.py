"""How long it takes to start: the command line, `jan serve` to /livez, and to a first token."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench import load, report
from bench.load import Target
from bench.report import Figures
from bench.subjects import (
    ENGINE_START_TIMEOUT_S,
    JAN,
    POLL_S,
    START_TIMEOUT_S,
    create_key,
    environment,
    free_port,
    running,
    temporary_folder,
    until_ok,
)

HELP = "jan --help, s"
FIRST = "jan serve to /livez, first time ever, s"
WARM = "jan serve to /livez, warm, s"
FIRST_TOKEN = "jan serve to the first token, warm, s"

TARGETS = {HELP: "<= 0.15", FIRST: "<= 6", WARM: "<= 2.5"}


async def measure(*, rounds: int, home: Path | None) -> Figures:
    """Measure every kind of start; to a first token only with a `home` that has a model."""
    report.say("jan --help ...")
    figures: Figures = {
        HELP: {
            "jan": median([_run_s([*JAN, "--help"]) for _ in range(rounds * 2)]),
            "bare Python": median([_run_s([sys.executable, "-c", ""]) for _ in range(rounds * 2)]),
        }
    }
    # Nothing listens on the upstream's port: to be alive the gateway needs no model.
    nowhere = f"http://127.0.0.1:{free_port()}"
    first_s: list[float] = []
    warm_s: list[float] = []
    for _ in range(rounds):
        with temporary_folder() as empty:
            report.say("jan serve, twice in a new home ...")
            first_s.append(await _to_livez_s(empty, nowhere))
            warm_s.append(await _to_livez_s(empty, nowhere))
    figures[FIRST] = {"jan": median(first_s)}
    figures[WARM] = {"jan": median(warm_s)}
    if home is not None:
        report.say("jan serve to the first token ...")
        figures[FIRST_TOKEN] = {"jan": await _to_first_token_s(home)}
    return figures


def _run_s(argv: Sequence[str]) -> float:
    started_s = time.monotonic()
    subprocess.run(argv, env=environment(), stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - started_s


async def _to_livez_s(home: Path, upstream_url: str) -> float:
    port, log = free_port(), home / "bench.log"
    env = environment(JAN_HOME=home, JAN_PORT=port, JAN_INFERENCE_MODEL_URL=upstream_url)
    started_s = time.monotonic()
    async with running([*JAN, "serve"], env, log) as process:
        await until_ok(Target("jan", port, ""), "/livez", process, log, timeout_s=START_TIMEOUT_S)
        return time.monotonic() - started_s


async def _to_first_token_s(home: Path) -> float:
    """Start once to make a key, then once against the clock."""
    port, log = free_port(), home / "bench.log"
    env = environment(JAN_HOME=home, JAN_PORT=port)
    async with running([*JAN, "serve"], env, log) as process:
        probe = Target("jan", port, "")
        await until_ok(probe, "/readyz", process, log, timeout_s=ENGINE_START_TIMEOUT_S)
        key = await create_key(env)
        probe = Target("jan", port, "", key)
        answer = await load.ask(probe, probe.get("/v1/models"))
        model = answer.body.split(b'"id":"', 1)[1].split(b'"', 1)[0].decode()
    target = Target("jan", port, model, key)
    request = target.chat(stream=True, max_tokens=1)
    started_s = time.monotonic()
    async with running([*JAN, "serve"], env, log):
        while time.monotonic() - started_s < ENGINE_START_TIMEOUT_S:
            try:
                answer = await load.ask(target, request)
            except OSError:
                answer = None
            if answer is not None and answer.is_good:
                return answer.first_s - started_s
            await asyncio.sleep(POLL_S * 10)
    return float("inf")
