"""How long it takes to start: the command line, `jan serve` to /livez, and to a first token."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import cost, load, report
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
UNPACKING = "jan --help, first time ever, s"
FIRST = "jan serve to /livez, first time ever, s"
WARM = "jan serve to /livez, warm, s"
FIRST_TOKEN = "jan serve to the first token, warm, s"
WORKER = "gateway worker's RSS, idle, MB"
WHOLE = "whole program's RSS, idle, MB"

SETTLE_S = 2.0
"""Until what is loaded at the start only is loaded, and the database is migrated."""

SOURCE, FROZEN, BARE = "jan", "executable", "bare Python"

TARGETS = {HELP: "<= 0.15", FIRST: "<= 6", WARM: "<= 2.5", WORKER: "<= 120"}


async def measure(*, rounds: int, home: Path | None, executable: Path | None) -> Figures:
    """Measure every kind of start; to a first token only with a `home` that has a model.

    With an `executable`, each start is also that of this file, in turns with the checkout's.
    """
    programs: dict[str, Sequence[str]] = {SOURCE: JAN}
    if executable is not None:
        programs[FROZEN] = (str(executable),)
    figures = _command_line(programs, rounds)
    # Nothing listens on the upstream's port: to be alive the gateway needs no model.
    nowhere = f"http://127.0.0.1:{free_port()}"
    seen: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for name, program in programs.items():
            with temporary_folder() as empty:
                report.say(f"{name} serve, twice in a new home ...")
                first = await _start(program, empty, nowhere)
                warm = await _start(program, empty, nowhere)
            measures = {
                FIRST: first.to_livez_s,
                WARM: warm.to_livez_s,
                WORKER: warm.memory.worker_mb,
                WHOLE: warm.memory.total_mb,
            }
            for measure, figure in measures.items():
                seen.setdefault(measure, {}).setdefault(name, []).append(figure)
    for measure, row in seen.items():
        figures[measure] = {name: median(values) for name, values in row.items()}
    if home is not None:
        report.say("jan serve to the first token ...")
        figures[FIRST_TOKEN] = {SOURCE: await _to_first_token_s(home)}
    return figures


def _command_line(programs: Mapping[str, Sequence[str]], rounds: int) -> Figures:
    """Measure what every command pays before it does anything."""
    report.say("jan --help ...")
    figures: Figures = {HELP: {}}
    if FROZEN in programs:
        with temporary_folder() as cache:
            fresh = [
                _run_s([*programs[FROZEN], "--help"], JAN_CACHE=cache / str(number))
                for number in range(rounds)
            ]
        figures[UNPACKING] = {FROZEN: median(fresh)}
    for name, program in programs.items():
        figures[HELP][name] = median([_run_s([*program, "--help"]) for _ in range(rounds * 2)])
    bare = [_run_s([sys.executable, "-c", ""]) for _ in range(rounds * 2)]
    figures[HELP][BARE] = median(bare)
    return figures


def _run_s(argv: Sequence[str], **environ: object) -> float:
    started_s = time.monotonic()
    subprocess.run(argv, env=environment(**environ), stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - started_s


@dataclass(frozen=True)
class Start:
    """One start of `jan serve`."""

    to_livez_s: float
    memory: cost.Memory
    """When everything but a model server was there."""


async def _start(program: Sequence[str], home: Path, upstream_url: str) -> Start:
    port, log = free_port(), home / "bench.log"
    env = environment(JAN_HOME=home, JAN_PORT=port, JAN_INFERENCE_MODEL_URL=upstream_url)
    started_s = time.monotonic()
    async with running([*program, "serve"], env, log) as process:
        target = Target("jan", port, "")
        await until_ok(target, "/livez", process, log, timeout_s=START_TIMEOUT_S)
        to_livez_s = time.monotonic() - started_s
        await asyncio.sleep(SETTLE_S)
        return Start(to_livez_s, cost.memory(process))


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
