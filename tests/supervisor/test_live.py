"""`jan serve` as a person sees it."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from jan.runner import store
from tests.fakes import MODEL, FakeUpstream
from tests.gateways import upstream
from tests.runner import fake_engine, models
from tests.serving import DEADLINE_S, JAN, until

__all__ = ["upstream"]

OWNER = {"email": "ada@example.com", "password": "a difference engine"}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A terminal's output, as it grows."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self.raw = b""
        self._reader = threading.Thread(target=self._read)

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # nobody writes any more
                return
            self.raw += piece

    @property
    def text(self) -> str:
        """What was written, without colours and cursor movements."""
        return ESCAPES.sub("", self.raw.decode(errors="replace"))

    @contextmanager
    def running(self, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
        """Run a command on it."""
        environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
        with subprocess.Popen(
            arguments, env=environ, stdout=self.theirs, stderr=self.theirs, start_new_session=True
        ) as running:
            os.close(self.theirs)
            self._reader.start()
            try:
                yield running
            finally:
                running.terminate()
                running.wait(DEADLINE_S)
                self._reader.join(DEADLINE_S)
                os.close(self._ours)


async def test_a_person_sees_the_start_the_address_and_once_a_key_that_works(
    home: Path, upstream: FakeUpstream
) -> None:
    terminal = Terminal()
    command = [*JAN, "--home", str(home), "serve", "--port", "0", "--upstream", upstream.url]

    with terminal.running(*command) as running:
        # The frame ends behind the key: a repaint that is half read has no whole key in it.
        await until(lambda: re.search(r"sk-jan-\w{38}\b", terminal.text))
        await until(lambda: re.search(r"✓ +gateway ", terminal.text))
        # The first of each: of the last repaint only a part may have been read.
        code = re.findall(r"/setup\?code=([\w-]+)", terminal.text)[0]
        url = re.findall(r"Jan is at (http://[\d.:]+)", terminal.text)[0]
        key = re.findall(r"sk-jan-\w{38}\b", terminal.text)[0]
        async with httpx.AsyncClient(base_url=url) as client:
            headers = {"authorization": f"Bearer {key}"}
            listed: list[Any] = []
            with anyio.fail_after(DEADLINE_S):
                while not listed:  # the gateway has just learnt of the model server, or is about to
                    answer = await client.get("/v1/models", headers=headers)
                    listed = answer.json().get("data", [])  # 503 until then
            owner = await client.post("/v1/auth/setup", json={"code": code, **OWNER})
        running.send_signal(signal.SIGTERM)
        await until(lambda: "stopped" in terminal.text)

    assert [model["id"] for model in listed] == [MODEL]
    assert owner.status_code == 200
    for part in ("gateway", "database", "schema"):
        assert re.search(rf"✓ +{part} ", terminal.text)
    assert '"event"' not in terminal.text
    log_lines = [line for line in terminal.text.splitlines() if "[info" in line]
    assert log_lines
    assert all(re.match(r"\d{4}-\d\d-\d\dT", line.strip()) for line in log_lines)

    again = Terminal()
    with again.running(*command):
        await until(lambda: re.search(r"✓ +schema", again.text))
    assert "sk-jan-" not in again.text
    assert "/setup?code=" not in again.text  # it is owned now


async def test_a_person_sees_how_much_of_the_weights_is_loaded(home: Path, tmp_path: Path) -> None:
    fake_engine.write(home)
    store.add(home, "tiny", models.write(tmp_path / "tiny"))
    go_on, terminal = tmp_path / "go-on", Terminal()
    flags = ["--engine", "cpu", "--model", "tiny", f"--engine-args=--load-until {go_on}"]

    with terminal.running(*JAN, "--home", str(home), "serve", "--port", "0", *flags):
        await until(lambda: re.search(r"model .* Loading weights +━+", terminal.text))
        go_on.touch()
        await until(lambda: re.search(r"✓ +model +[\d.]+ s +tiny", terminal.text))

    assert re.search(r"✓ +engine ", terminal.text)


async def test_a_person_sees_that_it_is_the_engine_that_can_not_be_had(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", "/nowhere")
    terminal = Terminal()

    with terminal.running(*JAN, "--home", str(home), "serve", "--port", "0", "--engine", "cpu"):
        await until(lambda: re.search(r"✗ +engine +`uv pip install` failed: ", terminal.text))

    assert not re.search("✗ +model", terminal.text)


async def test_lines_come_and_go_with_their_parts() -> None:
    program = """
import time
from jan.supervisor.live import LiveBoard
with LiveBoard(["gateway"]) as board:
    board.working("model extra", "Loading weights", 0.5)
    time.sleep(0.5)
    board.gone("model extra")
    board.gone("model nobody")
    board.ready("gateway", "process 1")
    board.working("model later", "Loading")
    board.gone("model later")
    print("done")
"""
    terminal = Terminal()

    with terminal.running(sys.executable, "-c", program):
        await until(lambda: "done" in terminal.text)

    drawn = terminal.text.split("gateway")
    assert any("model extra" in frame for frame in drawn)
    assert "model extra" not in drawn[-1]
    assert re.search(r"✓ +gateway +[\d.]+ s +process 1", terminal.text)
    assert "[info" in drawn[-1]  # the picture stands, and what comes later is a line
