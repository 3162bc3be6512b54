"""The machine: disk, memory, clock, ports, GPU, and who may read what."""

import os
import shutil
import stat
from pathlib import Path

import httpx

from jan import assets, clock, listener
from jan.doctor.findings import Finding
from jan.errors import Misconfigured
from jan.runner import hardware, sizes
from jan.settings import Loaded, Settings

MIN_FREE_BYTES = 2_000_000_000
"""A database that can't write stops; logs and a small model still fit in this."""
MIN_MEMORY_BYTES = 4_000_000_000
"""The CPU engine with the demonstration model takes about 3 GB."""
ANSWER_TIMEOUT_S = 2.0


async def disk(loaded: Loaded) -> Finding:
    """Whether JAN_HOME has room left."""
    home = _nearest_existing(loaded.settings.home)
    free_bytes = shutil.disk_usage(home).free
    words = f"{sizes.in_words(free_bytes)} free for {loaded.settings.home}"
    if free_bytes < MIN_FREE_BYTES:
        return Finding("disk", "warning", words, "Free some space: `jan model list` shows sizes.")
    return Finding("disk", "ok", words)


async def memory(loaded: Loaded) -> Finding:
    """Whether the engine will fit. Another server's memory is not ours to judge."""
    total_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    words = f"{sizes.in_words(total_bytes)} of memory"
    if loaded.settings.manages_engine and total_bytes < MIN_MEMORY_BYTES:
        return Finding("memory", "warning", words, "The engine may be killed for lack of it.")
    return Finding("memory", "ok", words)


async def time(loaded: Loaded) -> Finding:  # noqa: ARG001 - one signature for all checks
    """Whether the clock can be right: it is not earlier than the program itself."""
    made_s = assets.build().made_at_s
    if clock.now().timestamp() < made_s:
        return Finding(
            "clock",
            "failure",
            f"It is {clock.now():%Y-%m-%d %H:%M} UTC by this machine, before this Jan was made.",
            "Set the clock, or let it be set: timedatectl set-ntp true",
        )
    return Finding("clock", "ok", f"{clock.now():%Y-%m-%d %H:%M} UTC")


async def port(loaded: Loaded) -> Finding:
    """Whether Jan can listen, or already does."""
    settings = loaded.settings
    try:
        with listener.listen(settings.host, settings.port) as server:
            return Finding("port", "ok", f"{listener.url(server)} is free")
    except Misconfigured:
        if await _is_listening(settings):
            return Finding("port", "ok", f"Jan is listening on port {settings.port}")
        raise


async def engine_port(loaded: Loaded) -> Finding:
    """Whether Jan's own engine can listen. While Jan is running it does."""
    settings = loaded.settings
    if not settings.manages_engine:
        return Finding("engine port", "ok", "not needed: no engine is started here")
    try:
        with listener.listen(settings.runner_host, settings.runner_port) as server:
            return Finding("engine port", "ok", f"{listener.url(server)} is free")
    except Misconfigured as error:
        if await _is_listening(settings):
            words = f"port {settings.runner_port} is in use, and so it should be: Jan is running"
            return Finding("engine port", "ok", words)
        hint = error.hint or ""  # it speaks of the gateway's flags
        hint = hint.replace("--port", "JAN_RUNNER_PORT").replace("--host", "JAN_RUNNER_HOST")
        return Finding("engine port", "failure", error.message, hint)


async def gpu(loaded: Loaded) -> Finding:
    """Whether there is a GPU, how much memory it has, and a driver that works."""
    found = hardware.detect()
    if found.is_broken:
        return Finding("GPU", "failure", found.reason, "Run nvidia-smi: it has the same trouble.")
    if loaded.settings.engine == "cuda" and not found.gpus:
        return Finding(
            "GPU",
            "failure",
            f"The setting `engine` wants a GPU, but {found.reason}.",
            "Install the driver, or set JAN_ENGINE=cpu.",
        )
    if not found.gpus:
        return Finding("GPU", "ok", f"none: {found.reason}")
    words = f"{found.reason}; driver {found.driver or 'unknown'}, CUDA {found.cuda or 'unknown'}"
    if divided := [str(gpu.index) for gpu in found.gpus if gpu.is_divided]:
        hint = "Switch MIG off for them (nvidia-smi -mig 0), or leave them to others."
        return Finding(
            "GPU", "warning", f"{words}; Jan does not use divided ones: {', '.join(divided)}", hint
        )
    return Finding("GPU", "ok", words)


async def permissions(loaded: Loaded) -> Finding:
    """Whether JAN_HOME can be written by us, and not by everyone."""
    home = loaded.settings.home
    parent = _nearest_existing(home)
    if parent != home:
        if not os.access(parent, os.W_OK | os.X_OK):
            return Finding(
                "permissions",
                "failure",
                f"{home} can't be made or entered: {parent} is not yours.",
                "Set JAN_HOME to a folder that you may write to.",
            )
        return Finding("permissions", "ok", f"{home} will be made at the first start")
    if not os.access(home, os.W_OK | os.X_OK):
        return Finding(
            "permissions",
            "failure",
            f"{home} is not yours to write to.",
            f"Run Jan as the user who owns it, or: chown -R $USER {home}",
        )
    if home.stat().st_mode & stat.S_IWOTH:
        return Finding(
            "permissions", "failure", f"Everyone may write to {home}.", f"chmod o-w {home}"
        )
    return Finding("permissions", "ok", f"{home} is yours")


def _nearest_existing(path: Path) -> Path:
    """The lowest folder on the way that is there, or that we know of."""
    return next(step for step in (path, *path.parents) if os.path.exists(step))  # noqa: PTH110 - Path's raises where we may not look


async def _is_listening(settings: Settings) -> bool:
    address = listener.LOCAL.get(settings.host, settings.host)
    url = f"http://[{address}]" if ":" in address else f"http://{address}"
    try:
        async with httpx.AsyncClient(timeout=ANSWER_TIMEOUT_S, trust_env=False) as client:
            answer = await client.get(f"{url}:{settings.port}/healthcheck")
            return answer.text == '"ok"'
    except httpx.HTTPError:
        return False
