"""A frozen Jan does what Python would do; what is meant for Jan is left to it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jan import interpreter

FROZEN = (
    "import sys; sys.frozen = True; from jan import interpreter; interpreter.stand_in(); "
    "print('jan', *sys.argv[1:])"
)
"""Stands for the executable: it is one as far as the code can tell."""


def run(*arguments: str, **environ: str) -> str:
    argv = [sys.executable, "-c", FROZEN, *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "", **environ}
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


@pytest.mark.parametrize(
    ("line", "kind", "what", "arguments"),
    [
        ("-c CODE x -y", "c", "CODE", ["x", "-y"]),
        ("-I -B -c CODE", "c", "CODE", []),
        ("-IBc CODE", "c", "CODE", []),
        ("-cCODE", "c", "CODE", []),
        ("-m json.tool --help", "m", "json.tool", ["--help"]),
        ("-X utf8 -W ignore -m m", "m", "m", []),
        ("-Xutf8 script.py -c", "script", "script.py", ["-c"]),
        ("-P -m jan serve --port 0", "m", "jan", ["serve", "--port", "0"]),
    ],
)
def test_a_command_line_of_python_is_read_as_python_does(
    line: str, kind: str, what: str, arguments: list[str]
) -> None:
    request = interpreter.parse(line.split())

    assert request is not None
    assert request[:3] == (kind, what, arguments)


@pytest.mark.parametrize(
    "line", ["", "--help", "-h", "serve", "key create --name -c", "--home x.py serve", "-m", "-I"]
)
def test_a_command_line_of_jan_is_left_to_jan(line: str) -> None:
    assert interpreter.parse(line.split()) is None


def test_code_finds_its_arguments_and_the_packages_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "found.py").write_text("answer = 42")
    code = "import sys, found; print(sys.argv, found.answer, __name__)"

    assert run("-c", code, "x", PYTHONPATH=str(tmp_path)) == "['-c', 'x'] 42 __main__"


def test_an_isolated_interpreter_obeys_no_variable(tmp_path: Path) -> None:
    code = "import sys; print(any('elsewhere' in path for path in sys.path))"

    # Python itself would have read the variable: nothing stands for the executable here.
    assert run("-I", "-c", code, PYTHONPATH="", PYTHONHOME="") == "False"
    assert run("-c", code, PYTHONPATH="/elsewhere") == "True"


def test_a_script_is_the_main_module_and_finds_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("answer = 42")
    script = tmp_path / "script.py"
    script.write_text("import sys, neighbour, __main__; print(__main__.__file__, neighbour.answer)")

    assert run(str(script)) == f"{script} 42"


def test_a_script_runs_where_folders_are_not_to_be_trusted(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('wrong one')")
    script = tmp_path / "script.py"
    script.write_text("import json; print(json.dumps(1))")

    assert run("-P", str(script)) == "1"


def test_a_module_is_run_as_the_main_one(tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_text("import sys; print(__name__, sys.argv[1:])")

    assert run("-m", "tool", "x", PYTHONPATH=str(tmp_path)) == "__main__ ['x']"


def test_what_is_said_without_a_buffer_is_said_at_once() -> None:
    code = "import os, sys; print('out'); print('err', file=sys.stderr); os._exit(0)"

    assert run("-c", code) == ""
    assert run("-u", "-c", code) == "out"


def test_worker_processes_start(tmp_path: Path) -> None:
    """They run `--multiprocessing-fork`, a tracker of shared memory runs `-c`."""
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "def double(number): return 2 * number\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    multiprocessing.set_executable(sys.argv[1])\n"
        "    with multiprocessing.Pool(1) as pool: print(pool.map(double, [21]))\n"
    )
    program = tmp_path / "jan"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{FROZEN}" "$@"\n')
    program.chmod(0o755)

    assert run(str(script), str(program)) == "[42]"


def test_the_loader_leaves_no_trace_in_the_environment() -> None:
    code = (
        "import os; print(*sorted(name for name in os.environ if 'PYI' in name or 'LD_' in name))"
    )
    code += "; print(os.environ.get('LD_LIBRARY_PATH'))"

    loader = {"_PYI_ARCHIVE_FILE": "/x", "LD_LIBRARY_PATH": "/ours"}
    assert run("-c", code, **loader) == "None"
    assert run("-c", code, **loader, LD_LIBRARY_PATH_ORIG="/theirs").endswith("/theirs")


def test_what_jan_starts_of_itself_is_jan() -> None:
    assert run("-P", "-m", "jan", "serve", "--port", "0") == "jan serve --port 0"
