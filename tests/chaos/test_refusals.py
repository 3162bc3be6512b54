"""What can't work ends at once or soon, with the reason."""

import re
import socket
from pathlib import Path

import anyio

from jan import settings, sockets
from jan.db import session
from jan.inference import trouble
from jan.runner import store
from jan.supervisor.restarts import MAX_FAILURES
from tests.chaos.conftest import Scene
from tests.ports import free_port
from tests.runner import fake_engine, models
from tests.serving import DEADLINE_S, Serve, serving, until

UPSIDE_DOWN = "RuntimeError: the weights are upside down"
NOWHERE = "http://127.0.0.1:1"


async def last_words(serve: Serve) -> str:
    """Wait for a refusal. Returns everything that was said."""
    with anyio.fail_after(DEADLINE_S):
        assert await serve.child.wait() == 1
    assert serve.left_behind() == []
    return "\n".join(serve.lines)


async def test_a_second_supervisor_on_one_home_is_refused(scene: Scene) -> None:
    serve = scene.serve

    async with serving(serve.home, "--upstream", scene.upstream.url) as second:
        with anyio.fail_after(DEADLINE_S):
            assert await second.child.wait() == 1

    words = "\n".join(second.lines)
    assert f"Another `jan serve` (process {serve.child.pid}) is running" in words
    assert "hint: " in words
    async with serve.client() as client:
        assert (await client.get("/readyz")).status_code == 200


async def test_a_taken_port_is_refused_before_anything_starts(home: Path) -> None:
    port = free_port()

    with socket.create_server(("127.0.0.1", port)):
        async with serving(home, "--upstream", NOWHERE, "--port", str(port)) as serve:
            words = await last_words(serve)

    assert f"Can't listen on 127.0.0.1:{port}: another program uses that port." in words
    assert "hint: " in words
    assert not (home / "postgres").exists()


async def test_a_database_that_keeps_dying_ends_everything_and_says_why(home: Path) -> None:
    async with session.opened(settings.load({"home": home})):
        pass
    with (home / "postgres" / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write("log_rotation_age = never\n")

    async with serving(home, "--upstream", NOWHERE) as serve:
        words = await last_words(serve)

    assert len(serve.errors) == MAX_FAILURES
    assert "error: postgres ended with exit code 1 before it was ready." in words
    assert 'invalid value for parameter "log_rotation_age": "never"' in words


async def test_a_gateway_that_keeps_dying_ends_everything_and_says_why(home: Path) -> None:
    async with serving(home, "--upstream", NOWHERE) as serve:
        await serve.until_answering()
        while serve.child.returncode is None:
            for worker in serve.children("gateway"):
                worker.kill()
            await anyio.sleep(0.05)
        words = await last_words(serve)

    assert len(serve.errors) == MAX_FAILURES
    assert re.search("error: The gateway was killed by SIGKILL|error: gateway was killed", words)


async def test_a_model_that_is_not_there_is_refused_before_anything_starts(home: Path) -> None:
    async with serving(home, "--engine", "cpu", "--model", "smollm2-135M-Instrukt") as serve:
        words = await last_words(serve)

    assert "error: There is no model `smollm2-135M-Instrukt` here." in words
    assert "hint: Did you mean `SmolLM2-135M-Instruct`?" in words
    assert not (home / "postgres").exists()
    assert not (home / "engines").exists()


async def test_a_broken_engine_leaves_the_gateway_running_and_is_told_of(
    home: Path, tmp_path: Path
) -> None:
    fake_engine.write(home)
    store.add(home, "tiny", models.write(tmp_path / "tiny"))
    flags = ["--engine", "cpu", "--model", "tiny", "--engine-args=--break"]

    async with serving(home, *flags) as serve:
        await until(lambda: len(serve.errors) >= MAX_FAILURES)
        async with serve.client() as client:
            alive = await client.get("/livez")
            with anyio.fail_after(DEADLINE_S):
                while "keeps failing" not in (await client.get("/readyz")).text:
                    await anyio.sleep(0.05)
            ready = await client.get("/readyz")
        code = await serve.end()

    reason = f"The engine ended with exit code 1 before it was ready: {UPSIDE_DOWN}"
    assert (alive.status_code, ready.status_code, code) == (200, 503, 0)
    assert ready.json()["dependencies"]["inference"]["last_error"] == (
        f"The engine keeps failing: {reason}"
    )
    told = [(event["event"], event["again_in_s"]) for event in serve.errors[:-1]]
    assert [words for words, _ in told] == [reason] * (MAX_FAILURES - 1)
    assert [seconds for _, seconds in told] == sorted(seconds for _, seconds in told)
    assert serve.errors[-1]["event"].startswith("keeps failing, tried again only every 60 s: The ")
    assert serve.left_behind() == []


async def test_an_engine_that_works_again_is_not_spoken_ill_of(home: Path, tmp_path: Path) -> None:
    fake_engine.write(home)
    store.add(home, "tiny", models.write(tmp_path / "tiny"))
    flag = tmp_path / "broken"
    flag.touch()
    flags = ["--engine", "cpu", "--model", "tiny", f"--engine-args=--break-while {flag}"]

    async with serving(home, *flags) as serve:
        await until(lambda: serve.errors)
        async with serve.client() as client:
            with anyio.fail_after(DEADLINE_S):
                while UPSIDE_DOWN not in (await client.get("/readyz")).text:
                    await anyio.sleep(0.05)
        flag.unlink()
        await serve.until_ready()

        assert not trouble.told(sockets.of_engine(home, "tiny-1"))
