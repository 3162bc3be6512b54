"""Other gateways to compare with in the same run, each installed in a temporary folder for it."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from bench import report
from bench.load import Target
from bench.subjects import START_TIMEOUT_S, Subject, environment, free_port, running, until_ok

LITELLM = "litellm[proxy]==1.*"
KEY = "sk-bench-0123456789abcdef"
CONFIG = """\
model_list:
  - model_name: {model}
    litellm_params:
      model: hosted_vllm/{model}
      api_base: http://127.0.0.1:{port}/v1
      api_key: none
general_settings:
  master_key: {key}
"""


@asynccontextmanager
async def litellm(upstream: Target, folder: Path) -> AsyncGenerator[Subject]:
    """Install LiteLLM from PyPI and run its proxy, with one worker and one key."""
    report.say(f"installing {LITELLM} ...")
    await _run(sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    await _run(sys.executable, "-m", "uv", "pip", "install", "-q", "--python", python, LITELLM)
    config, log, port = folder / "config.yaml", folder / "bench.log", free_port()
    content = CONFIG.format(model=upstream.model, port=upstream.port, key=KEY)
    config.write_text(content, encoding="utf-8")
    argv = [str(folder / "bin" / "litellm"), "--config", str(config), "--num_workers", "1"]
    # Its list of prices is otherwise fetched at every start.
    env = environment(LITELLM_LOCAL_MODEL_COST_MAP=True)
    async with running([*argv, "--host", "127.0.0.1", "--port", str(port)], env, log) as process:
        target = Target("litellm", port, upstream.model, KEY)
        await until_ok(target, "/health/liveliness", process, log, timeout_s=START_TIMEOUT_S)
        yield Subject(target, process)


async def _run(*argv: str | Path) -> None:
    child = await asyncio.create_subprocess_exec(*argv)
    if await child.wait():
        raise RuntimeError(f"{argv[0]} failed.")
