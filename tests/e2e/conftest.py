"""One `jan serve` with the real engine and the demonstration model, for all of this folder."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from jan import settings, sockets
from jan.runner.prepare import prepare
from tests.conftest import new_home
from tests.serving import DEADLINE_S, Serve, jan, serving

ENGINE_HOME = Path(__file__).parents[2] / ".cache" / "engine-home"
"""Outlives the run: an engine takes minutes to install."""
LOAD_DEADLINE_S = 300.0

MODEL = "SmolLM2-135M-Instruct"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}


@dataclass
class Scene:
    """A served model, and what was seen on the way to it."""

    serve: Serve
    key: str
    engine: Path
    """The socket that it listens on."""
    while_loading: httpx.Response
    """What a chat was answered before the model was there."""

    def engine_client(self) -> httpx.AsyncClient:
        """Make a client of the engine itself."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.engine))
        return httpx.AsyncClient(
            transport=transport, base_url="http://localhost", timeout=DEADLINE_S
        )

    async def running_requests(self) -> float:
        """How many requests the engine works on, by its own count."""
        async with self.engine_client() as client:
            metrics = (await client.get("/metrics")).text
        lines = [line for line in metrics.splitlines() if line.startswith("vllm:num_requests_")]
        return sum(float(line.split()[-1]) for line in lines if "_by_reason" not in line)


@pytest.fixture(scope="session")
async def scene(anyio_backend: str) -> AsyncIterator[Scene]:
    """Go README's way: start, make a key, wait for the model."""
    home = new_home()
    await prepare(settings.load({"home": ENGINE_HOME, "engine": "cpu"}).settings, print)
    for shared in ("engines", "models"):
        (home / shared).symlink_to(ENGINE_HOME / shared)
    async with serving(home, "--engine", "cpu") as serve:
        await serve.until_answering()
        key = await jan(home, "key", "create", "--name", "e2e")
        async with serve.client(key) as client:
            while_loading = await client.post("/v1/chat/completions", json=CHAT)
        await serve.until_ready(deadline_s=LOAD_DEADLINE_S)
        yield Scene(serve, key, sockets.of_engine(home, f"{MODEL}-1"), while_loading)
    shutil.rmtree(home)
