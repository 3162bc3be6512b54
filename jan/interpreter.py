"""The executable in place of Python: uv, vLLM and `multiprocessing` start it as they would Python.

A frozen Jan is the only interpreter on its machine, and `sys.executable` names it. So it does what
Python does with `-c CODE`, `-m MODULE` and `SCRIPT.py`. From a checkout there is a Python for that.
"""

import ctypes
import io
import os
import runpy
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple, TextIO, cast

LENT = "lent"
"""Folder of the executable with libraries that an engine takes for granted."""
FLAGS = frozenset("bBdEiIOPqRsSuvx")
"""Python's options without a value. Those that mean nothing to a frozen program are passed over."""
FLAGS_WITH_VALUE = frozenset("XW")
LOADER_PREFIX = "_PYI_"
LIBRARY_PATH = "LD_LIBRARY_PATH"
"""The loader points it at our libraries, and keeps the caller's value under a second name.
Source: https://pyinstaller.org/en/stable/runtime-information.html"""


class Request(NamedTuple):
    """What Python is asked to run."""

    kind: str
    """`c`, `m` or `script`."""
    what: str
    """The code, or the name of the module or file."""
    arguments: list[str]
    """What it finds in `sys.argv` after the first."""
    flags: frozenset[str]


def stand_in() -> None:
    """Do what Python would do with this process's arguments, and exit. Returns if they are Jan's.

    Does nothing but in a frozen program.
    """
    if not getattr(sys, "frozen", False):
        return
    _restore_environment()
    if sys.argv[1:2] == ["--multiprocessing-fork"]:
        _lend_libraries()
        from multiprocessing import spawn  # noqa: PLC0415 - 10 ms that no command needs to pay

        spawn.freeze_support()  # does the work and ends the process
    request = parse(sys.argv[1:])
    if request is None:
        return
    if (request.kind, request.what) == ("m", "jan"):
        sys.argv[1:] = request.arguments
        return
    _lend_libraries()
    _run(request)
    sys.exit()


def parse(arguments: Sequence[str]) -> Request | None:
    """Read a command line as Python does. None for one that is not for Python."""
    flags: set[str] = set()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            is_script = word.endswith(".py")
            return Request("script", word, rest, frozenset(flags)) if is_script else None
        for place, letter in enumerate(word[1:], start=2):
            if letter in FLAGS:
                flags.add(letter)
                continue
            if letter not in FLAGS_WITH_VALUE | {"c", "m"}:
                return None
            value = word[place:] or (rest.pop(0) if rest else "")
            if letter in FLAGS_WITH_VALUE:
                break
            return Request(letter, value, rest, frozenset(flags)) if value else None
    return None


def _restore_environment() -> None:
    """Leave the environment as it was before the loader: children are other programs than we."""
    for name in [name for name in os.environ if name.startswith(LOADER_PREFIX)]:
        del os.environ[name]
    os.environ.pop(LIBRARY_PATH, None)
    if (original := os.environ.pop(f"{LIBRARY_PATH}_ORIG", None)) is not None:
        os.environ[LIBRARY_PATH] = original


def _lend_libraries() -> None:
    """Load what the machine lacks.

    Its own libraries come first: what a compiler there makes for us may need newer ones than ours.
    """
    folder = os.path.join(str(getattr(sys, "_MEIPASS", "")), LENT)  # noqa: PTH118 - no pathlib here
    for name in os.listdir(folder) if os.path.isdir(folder) else ():  # noqa: PTH112, PTH208
        try:
            ctypes.CDLL(name)
        except OSError:
            ctypes.CDLL(os.path.join(folder, name))  # noqa: PTH118


def _unbuffered(stream: TextIO) -> TextIO:
    """The same stream, of which nothing waits: whoever started us may wait for it."""
    encoding, errors = stream.encoding, stream.errors
    raw = cast("Any", stream).detach()
    if isinstance(raw, io.BufferedWriter):  # not where Python itself was told so
        raw = raw.detach()
    return io.TextIOWrapper(cast("Any", raw), encoding, errors, write_through=True)


def _run(request: Request) -> None:
    is_isolated = "I" in request.flags
    obeys_environment = not is_isolated and "E" not in request.flags
    is_safe = is_isolated or "P" in request.flags
    if obeys_environment:
        is_safe |= bool(os.environ.get("PYTHONSAFEPATH"))
        said = os.environ.get("PYTHONPATH", "")
        sys.path[:0] = [path for path in said.split(os.pathsep) if path]
        is_unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    else:
        is_unbuffered = False
    if is_unbuffered or "u" in request.flags:
        sys.stdout = sys.__stdout__ = _unbuffered(sys.stdout)
        sys.stderr = sys.__stderr__ = _unbuffered(sys.stderr)

    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    if request.kind == "m":
        if not is_safe:
            sys.path.insert(0, "")
        sys.argv[:] = ["-m", *request.arguments]
        # What CPython's own main program calls: `__main__` stays what it is after the end, when
        # threads and `atexit` still need it.
        runpy._run_module_as_main(request.what)  # pyright: ignore[reportAttributeAccessIssue]
    elif request.kind == "c":
        if not is_safe:
            sys.path.insert(0, "")
        sys.argv[:] = ["-c", *request.arguments]
        exec(compile(request.what, "<string>", "exec"), main.__dict__)  # noqa: S102 - as asked
    else:
        if not is_safe:
            sys.path.insert(0, os.path.dirname(os.path.abspath(request.what)))  # noqa: PTH100, PTH120
        sys.argv[:] = [request.what, *request.arguments]
        main.__file__ = request.what
        with open(request.what, "rb") as file:  # noqa: PTH123 - pathlib is not paid for here
            code = compile(file.read(), request.what, "exec")
        exec(code, main.__dict__)  # noqa: S102 - as asked
