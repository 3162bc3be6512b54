"""Who listens where the engine might gets no prompt, and is not taken for it."""

from pathlib import Path

import pytest

from jan import sockets
from jan.runner import store
from tests.chaos.conftest import CHAT, PATH
from tests.fakes import fake_upstream
from tests.runner import fake_engine, models
from tests.serving import jan, serving, until


@pytest.mark.parametrize("place", ["port", "socket"])
async def test_the_engine_is_the_child_that_was_started_and_no_other(
    home: Path, tmp_path: Path, place: str
) -> None:
    """On the port of `jan runner`, or on the socket that a killed supervisor's engine had."""
    fake_engine.write(home)
    store.add(home, "tiny", models.write(tmp_path / "tiny"))
    path = sockets.of_engine(home, "tiny-1")
    sockets.make_way(path)
    flags = ("--engine", "cpu", "--model", "tiny", "--engine-args=--never-listen")

    async with (
        fake_upstream(path if place == "socket" else None) as impostor,
        serving(home, *flags, JAN_RUNNER_PORT=str(impostor.port or 8101)) as serve,
    ):
        await until(lambda: "Reading the model's configuration" in serve.words("model"))
        await until(path.is_socket)
        key = await jan(home, "key", "create", "--name", "chaos")
        async with serve.client(key) as client:
            ready = await client.get("/readyz")
            answer = await client.post(PATH, json=CHAT)

        assert (ready.status_code, answer.status_code) == (503, 503)
        assert impostor.connections == 0
        assert "tiny" not in serve.words("model")
