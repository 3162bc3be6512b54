"""How much an engine has to do, by what it tells."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jan.runner import load
from jan.runner.load import Load

METRICS = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 4.0
vllm:prompt_tokens_total{engine="0",model_name="m"} 10.0
vllm:generation_tokens_total{engine="0",model_name="m"} 5.0
vllm:request_success_total{finished_reason="stop"} 1.0
python_info{version="3.12"} 1.0
"""


def test_what_runs_and_waits_is_summed_over_all_of_the_engine() -> None:
    assert load.parsed(METRICS) == Load(requests=7, done=16)


def test_what_says_nothing_of_requests_says_nothing() -> None:
    assert load.parsed("") is None
    assert load.parsed("{}") is None
    assert load.parsed("vllm:prompt_tokens_total 3") is None


@pytest.fixture
async def silent(home: Path) -> AsyncIterator[Path]:
    """Somebody who listens and never answers."""
    path = home / "silent.sock"
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_unix_server(lambda _, writer: writers.append(writer), path)
    yield path
    for writer in writers:
        writer.close()
    server.close()
    await server.wait_closed()


async def test_one_that_does_not_answer_does_not_tell(
    home: Path, silent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "TIMEOUT_S", 0.05)

    assert await load.read(silent) is None
    assert await load.read(home / "nobody.sock") is None
