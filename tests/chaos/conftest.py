"""A `jan serve` before a fake upstream, with a key."""

import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import new_home
from tests.fakes import MODEL, FakeUpstream, fake_upstream
from tests.serving import Serve, jan, serving

PATH = "/v1/chat/completions"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}


@dataclass
class Scene:
    """One that is ready, with two gateway workers."""

    serve: Serve
    upstream: FakeUpstream
    key: str

    async def chat(self, serve: Serve | None = None) -> int:
        """Ask on a connection of its own. Returns the status."""
        async with (serve or self.serve).client(self.key) as client:
            return (await client.post(PATH, json=CHAT)).status_code


@asynccontextmanager
async def _playing(home: Path) -> AsyncGenerator[Scene]:
    async with (
        fake_upstream() as upstream,
        serving(home, "--upstream", upstream.url, "--workers", "2") as serve,
    ):
        await serve.until_ready()
        key = await jan(home, "key", "create", "--name", "chaos")
        yield Scene(serve, upstream, key)


@pytest.fixture
async def scene(home: Path) -> AsyncIterator[Scene]:
    """One of its own, which may be ended."""
    async with _playing(home) as scene:
        yield scene


@pytest.fixture(scope="module")
async def lasting_scene(anyio_backend: str) -> AsyncIterator[Scene]:
    """One for all tests of a module: it must heal from what they do to it."""
    home = new_home()
    async with _playing(home) as scene:
        yield scene
    shutil.rmtree(home)
