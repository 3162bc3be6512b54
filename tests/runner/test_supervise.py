"""Whatever is killed, nothing of a runner is left. The processes are real, their vLLM is not."""

import http.server
import multiprocessing
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Lock
from pathlib import Path

import httpx
import psutil
import pytest

from jan import sockets
from jan.runner import store
from tests.ports import free_port
from tests.runner import fake_engine, models

DEADLINE_S = 30.0

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Run `jan runner` on the fake engine, with `tmp_path / "scratch"` for passing files."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    fake_engine.write(home)
    store.add(home, "tiny", models.write(tmp_path / "tiny"))
    started: list[subprocess.Popen[str]] = []

    def run(
        *engine_args: str, port: int | None = None, uds: Path | None = None
    ) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "jan", "--home", str(home), "runner", "--model", "tiny"]
        argv += ["--engine", "cpu", "--port", str(port or free_port())]
        argv += ["--uds", str(uds)] if uds else []
        argv += [f"--engine-args={' '.join(engine_args)}"]
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def lines_until(
    process: subprocess.Popen[str], words: str, timeout_s: float = DEADLINE_S
) -> list[str]:
    """Read what it says until it says that."""
    assert process.stderr
    guard = threading.Timer(timeout_s, process.kill)
    guard.start()
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line.rstrip())
        if words in line:
            guard.cancel()
            return lines
    raise AssertionError("\n".join(lines))


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


class Healthy(http.server.BaseHTTPRequestHandler):
    """Says yes to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - theirs
        """Say nothing."""


def semaphores(prefix: str) -> list[Path]:
    """Those named so."""
    return list(Path("/dev/shm").glob(f"sem.{prefix}-*"))


def assert_all_gone(processes: list[psutil.Process]) -> None:
    """None of them lives on; a zombie that its reaper has not got to yet counts as gone."""
    _, alive = psutil.wait_procs(processes, timeout=DEADLINE_S)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


def engine_of(runner: subprocess.Popen[str]) -> psutil.Process:
    """The process that serves."""
    return psutil.Process(runner.pid).children()[0]


def core_of(runner: subprocess.Popen[str]) -> psutil.Process:
    """The process that computes."""
    return next(
        each
        for each in engine_of(runner).children()
        if "resource_tracker" not in " ".join(each.cmdline())
    )


def test_a_runner_tells_where_it_is_and_serves(start: Start) -> None:
    runner = start()

    lines = lines_until(runner, "Serving")

    assert lines[0] == "Starting tiny on the cpu engine"
    assert "Reading the model's configuration" in lines
    url = re.findall(r"http://\S+", lines[-1])[0]
    assert httpx.get(f"{url}/health").is_success


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_runner_that_is_told_to_stop_leaves_nothing(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    runner = start("--escape")
    lines_until(runner, "Serving")
    family = fake_engine.family(runner.pid)

    runner.send_signal(number)

    assert runner.wait(DEADLINE_S) == 0
    assert len(family) >= 5
    assert_all_gone(family)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_runner_that_is_killed_leaves_nothing(start: Start, tmp_path: Path) -> None:
    runner = start()
    lines_until(runner, "Serving")
    family = fake_engine.family(runner.pid)

    runner.kill()

    runner.wait(DEADLINE_S)
    assert len(family) >= 4
    assert_all_gone(family)
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("victim", [engine_of, core_of])
def test_a_runner_ends_with_its_engine_and_says_why(
    start: Start, victim: Callable[[subprocess.Popen[str]], psutil.Process]
) -> None:
    runner = start("--escape")
    lines_until(runner, "Serving")
    family = fake_engine.family(runner.pid)

    victim(runner).kill()

    _, said = runner.communicate(timeout=DEADLINE_S)
    assert runner.returncode == 1
    assert "error: The engine " in said
    assert_all_gone(family)


def test_the_semaphores_of_a_killed_engine_are_removed(start: Start, tmp_path: Path) -> None:
    others = Lock(ctx=multiprocessing.get_context("spawn"))
    runner = start()
    lines_until(runner, "Serving")
    (scratch,) = (tmp_path / "scratch").iterdir()
    family = fake_engine.family(runner.pid)
    wait_for(lambda: len(semaphores(scratch.name)) == 2)  # one made by each process

    for each in reversed(family[1:]):  # who would have removed them too
        each.kill()

    assert runner.wait(DEADLINE_S) == 1
    assert semaphores(scratch.name) == []
    assert len(semaphores("mp")) >= 1
    del others


def test_an_engine_that_does_not_start_is_explained(start: Start) -> None:
    runner = start("--break")

    _, said = runner.communicate(timeout=DEADLINE_S)

    assert runner.returncode == 1
    reason = "RuntimeError: the weights are upside down"
    assert f"error: The engine ended with exit code 1 before it was ready: {reason}\n" in said
    assert "hint: Traceback" in said or "\nTraceback" in said


def test_an_option_that_vllm_refuses_is_told_without_its_usage(start: Start) -> None:
    _, said = start("--bogus").communicate(timeout=DEADLINE_S)

    assert "error: vLLM refuses its options: unrecognized arguments: --bogus" in said
    assert "engine_args" in said
    assert "usage: " not in said


def test_an_engine_that_hangs_is_given_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAN_RUNNER_START_TIMEOUT_S", "1")
    runner = start("--hang")

    _, said = runner.communicate(timeout=DEADLINE_S)

    assert runner.returncode == 1
    assert "was not ready after 1 s" in said


def test_a_port_that_is_taken_is_told_at_once(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        runner = start(port=other.getsockname()[1])
        _, said = runner.communicate(timeout=DEADLINE_S)

    assert runner.returncode == 1
    assert "another program uses that port" in said
    assert "choose another port with JAN_RUNNER_PORT" in said


def test_a_runner_serves_on_a_socket_for_its_user_alone_and_takes_it_away(
    start: Start, home: Path
) -> None:
    path = home / "sockets" / "a.sock"
    sockets.make_way(path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    runner = start(uds=path)

    lines = lines_until(runner, "Serving")

    assert f"unix://{path}" in lines[-1]
    assert path.stat().st_mode & 0o077 == 0
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://localhost/health").is_success
    runner.terminate()
    assert runner.wait(DEADLINE_S) == 0
    assert list(path.parent.iterdir()) == []


def test_a_socket_of_an_engine_that_never_listened_is_taken_away(start: Start, home: Path) -> None:
    path = home / "a.sock"
    runner = start("--never-listen", uds=path)
    wait_for(path.exists)

    runner.terminate()

    assert runner.wait(DEADLINE_S) == 0
    assert not path.exists()


def test_a_socket_that_is_taken_is_told_at_once(start: Start, home: Path) -> None:
    path = home / "a.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        _, said = start(uds=path).communicate(timeout=DEADLINE_S)
        assert sockets.is_answered(path)

    assert f"error: Another program listens on {path}." in said
    assert "JAN_RUNNER_SOCKET" in said


def test_who_answers_in_the_engines_place_is_not_taken_for_it(start: Start, home: Path) -> None:
    path = home / "a.sock"
    runner = start("--never-listen", uds=path)
    wait_for(path.exists)
    path.unlink()

    with socketserver.UnixStreamServer(str(path), Healthy) as impostor:
        threading.Thread(target=impostor.serve_forever, daemon=True).start()
        _, said = runner.communicate(timeout=DEADLINE_S)
        impostor.shutdown()

    assert runner.returncode == 1
    assert f"Another program listens on {path}." in said


def test_an_unknown_model_is_told_before_anything_is_fetched(home: Path) -> None:
    argv = [sys.executable, "-m", "jan", "--home", str(home), "runner", "--model", "org/absent"]

    done = subprocess.run(
        [*argv, "--port", str(free_port())], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "no model `org/absent`" in done.stderr
    assert "jan model pull org/absent" in done.stderr
    assert "Did you mean" not in done.stderr
    assert not (home / "engines").exists()
