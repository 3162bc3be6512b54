"""How vLLM's server is started: its command line and its environment.

The operator's own `engine_args` and `VLLM_*` variables come last, so they win, over what a plan
assigns too (the plan has read them).
"""

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from jan import assets
from jan.runner import memory, nvml, on_cpu
from jan.runner.engines import Engine
from jan.runner.options import Options
from jan.runner.store import Model
from jan.runner.wishes import Assignment
from jan.settings import Settings
from jan.sources import inherited

CPU_BATCH_TOKENS = on_cpu.BATCH
"""Of a step, which nothing interrupts: with vLLM's 4,096 a client that left during a long prompt
kept the processor for seconds, and streams beside it stood still. Prompts are read no slower in
pieces (3,000 tokens in 2.5 s rather than 4.8, the 135M model on 2 cores)."""

NOWHERE = "nowhere/"
"""No host is called so, for a slash ends its name: the engine fetches nothing by URL. It has no
option that says so, and without a list it would fetch from everywhere its machine reaches. The
gateway has put images into the request by then (`jan.inference.images`)."""

DEFAULTS = {
    "HF_HUB_OFFLINE": "1",  # a model is served from the store, and nothing else is fetched
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",  # should the operator's own options name hosts
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_COLOR": "0",
    "VLLM_DISABLE_LOG_LOGO": "1",
    # Forked workers would not run `child.py`'s first lines, by which they end with their parent.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    # Longer than the gateway keeps an idle connection, so that it never sends into a closed one.
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "300",
}


def command(
    settings: Settings,
    engine: Engine,
    model: Model,
    scratch: Path,
    assignment: Assignment | None = None,
) -> list[str]:
    """The engine's process: Python, `child.py` with its two folders, vLLM's own options.

    Without an assignment it has the machine to itself.
    """
    options = {
        "--model": str(model.folder),
        "--served-model-name": model.name,
        **_address(settings),
        "--max-model-len": "auto",  # what the model can do, or as much of it as memory allows
        "--allowed-media-domains": NOWHERE,
        # Without a parser vLLM refuses whoever leaves it to the model whether to call a tool. Most
        # models write calls in this way; `engine_args` names another.
        "--tool-call-parser": "hermes",
    }
    if assignment is not None and assignment.tensor_parallel > 1:
        options["--tensor-parallel-size"] = str(assignment.tensor_parallel)
    flags = [
        *("--disable-uvicorn-access-log", "--enable-prompt-tokens-details"),
        "--enable-auto-tool-choice",
    ]
    if engine.variant == "cpu":
        flags.append("--enforce-eager")  # compiling takes minutes, a compiler and Python's headers
        options |= _cache(settings, model, assignment)
        options["--max-num-batched-tokens"] = options["--max-num-seqs"] = str(CPU_BATCH_TOKENS)
    else:
        if assignment is not None and assignment.memory_fraction is not None:
            options["--gpu-memory-utilization"] = f"{assignment.memory_fraction:g}"
        if shutil.which("cc") is None:
            flags.append("--enforce-eager")  # Triton builds its launchers with a C compiler
    entry = (engine.program, assets.path("jan/runner/child.py"), engine.folder, scratch)
    return [
        *map(str, entry),
        *(word for option in options.items() for word in option),
        *flags,
        *shlex.split(settings.engine_args),
    ]


def _cache(settings: Settings, model: Model, assignment: Assignment | None) -> dict[str, str]:
    """How much memory becomes cache on the processor."""
    if assignment is not None:
        size = assignment.kv_cache_bytes
    elif "gpu-memory-utilization" in Options.parse(settings.engine_args):
        size = None  # vLLM would not look at it beside a number of bytes
    else:
        size = on_cpu.share_bytes(memory.free_bytes(), model.size_bytes)
    return {} if size is None else {"--kv-cache-memory-bytes": str(size)}


def _address(settings: Settings) -> dict[str, str]:
    if settings.runner_socket is not None:
        return {"--uds": str(settings.runner_socket)}
    return {"--host": settings.runner_host, "--port": str(settings.runner_port)}


def environment(
    settings: Settings,
    engine: Engine,
    scratch: Path,
    environ: Mapping[str, str] | None = None,
    *,
    assignment: Assignment | None = None,
) -> dict[str, str]:
    """The environment of the engine that serves."""
    defaults = dict(DEFAULTS)
    if assignment is not None and assignment.cpus:
        # Threads of OpenMP spin while they wait: engines that share processors stand still.
        defaults["OMP_NUM_THREADS"] = str(len(assignment.cpus))
        defaults["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, assignment.cpus))
    defaults["VLLM_ENGINE_READY_TIMEOUT_S"] = str(int(settings.runner_start_timeout_s))
    if engine.variant == "cpu" and memory.memory_nodes() <= 1:
        # Without a worker process of its own the engine starts in 16 s rather than 24, answers a
        # fifth faster and leaves the processor alone when idle (the worker polls: 20 % of a core).
        # That process binds threads to memory nodes, which matters only where there are several.
        defaults["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    return {
        **defaults,
        **packages(engine.folder, environ),
        **_devices(assignment),
        "XDG_CACHE_HOME": str(settings.home / "cache"),
        "TMPDIR": str(scratch),
        "VLLM_RPC_BASE_PATH": str(scratch),
    }


def packages(folder: Path, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment for a Python with the packages of an engine's folder.

    No setting or secret of ours is in it.
    """
    theirs = {
        name: value for name, value in inherited(environ).items() if not name.startswith("PYTHON")
    }
    return {
        **theirs,
        # Processes that vLLM starts find its packages by this; child.py has its own way.
        "PYTHONPATH": str(folder),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _devices(assignment: Assignment | None) -> dict[str, str]:
    """The GPUs that the engine sees. The plan has chosen among those that we see ourselves."""
    if assignment is None or not assignment.devices:
        return {}
    return {nvml.VISIBLE: ",".join(assignment.devices)}
