"""Engines are installed whole or not at all. uv and its wheels are real, and tiny."""

import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import psutil
import pytest

from jan.errors import Conflict, Misconfigured, NotFound, Unavailable
from jan.runner import engines
from jan.runner.bundles import Bundle
from jan.runner.install import install, torch_index
from jan.sources import ALIASES
from tests.runner import wheels

VERSION = wheels.VLLM["vllm/__init__.py"]
INSTALL = """
import asyncio, sys
from pathlib import Path
from jan.runner.bundles import Bundle
from jan.runner.install import install
asyncio.run(install(Path(sys.argv[1]), Bundle.read(Path(sys.argv[2])), lambda step, share: None))
"""


def ignore(step: str, share: float | None) -> None:
    """Nobody looks on."""


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, the only place where uv may look."""
    folder = tmp_path / "links"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def bundle(tmp_path: Path, links: Path) -> Bundle:
    """Two packages, one of which passes for vLLM."""
    return wheels.lock(
        tmp_path, wheels.build(links, "vllm", files=wheels.VLLM), wheels.build(links, "other")
    )


async def test_an_installed_engine_is_complete_and_compiled(home: Path, bundle: Bundle) -> None:
    steps: list[str] = []

    engine = await install(home, bundle, lambda step, _: steps.append(step))

    assert engine == engines.find(home, bundle)
    assert engine.folder == home / "engines" / "tiny-1.0"
    assert list(engine.folder.glob("vllm/__pycache__/*.pyc"))
    assert steps[0] == "Downloading packages"
    assert steps[-1] == "Checking the engine"
    assert not (home / "engines" / ".cache").exists()


async def test_installing_twice_changes_nothing(home: Path, bundle: Bundle) -> None:
    first = await install(home, bundle, ignore)

    assert await install(home, bundle, ignore) == first


async def test_two_installations_at_once_make_one_engine(home: Path, bundle: Bundle) -> None:
    found: list[engines.Engine] = []

    async def one() -> None:
        found.append(await install(home, bundle, ignore))

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        group.start_soon(one)

    assert found[0] == found[1]


async def test_a_wheel_that_differs_from_the_lock_is_refused(
    home: Path, links: Path, bundle: Bundle
) -> None:
    wheels.build(links, "other", files={"other.py": "answer = 'evil'\n"})

    with pytest.raises(Unavailable) as refused:
        await install(home, bundle, ignore)

    assert refused.value.message.startswith("`uv pip install` failed: ")
    assert "hash" in (refused.value.hint or "").lower()
    assert engines.installed(home) == []


async def test_an_engine_that_can_not_be_imported_is_refused(
    home: Path, tmp_path: Path, links: Path
) -> None:
    wheel = wheels.build(links, "vllm", files={"vllm/__init__.py": "import absent\n"})

    with pytest.raises(Unavailable, match="can't be imported") as refused:
        await install(home, wheels.lock(tmp_path, wheel), ignore)

    assert "No module named 'absent'" in (refused.value.hint or "")
    assert engines.installed(home) == []


async def test_what_is_installed_never_sees_our_secrets(
    home: Path, tmp_path: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JAN_DATABASE_URL", *ALIASES):
        monkeypatch.setenv(name, "hunter2")
    curious = "import os\nassert 'hunter2' not in os.environ.values()\n"
    wheel = wheels.build(links, "vllm", files={"vllm/__init__.py": curious + VERSION})

    engine = await install(home, wheels.lock(tmp_path, wheel), ignore)

    assert engines.installed(home) == [engine]


async def test_too_full_a_disk_is_told_beforehand(home: Path, tmp_path: Path, links: Path) -> None:
    wheel = wheels.build(links, "vllm", files=wheels.VLLM)

    with pytest.raises(Misconfigured, match="are free"):
        await install(home, wheels.lock(tmp_path, wheel, installed_bytes=10**18), ignore)


async def test_another_build_takes_the_place_of_the_first(
    home: Path, tmp_path: Path, links: Path, bundle: Bundle
) -> None:
    await install(home, bundle, ignore)
    newer = wheels.lock(tmp_path, wheels.build(links, "vllm", files=wheels.VLLM))

    engine = await install(home, newer, ignore)

    assert engines.installed(home) == [engine]
    assert not (engine.folder / "other.py").exists()
    assert [path.name for path in (home / "engines").iterdir() if path.is_dir()] == ["tiny-1.0"]


async def test_an_engine_in_use_is_neither_replaced_nor_removed(
    home: Path, tmp_path: Path, links: Path, bundle: Bundle
) -> None:
    engine = await install(home, bundle, ignore)
    newer = wheels.lock(tmp_path, wheels.build(links, "vllm", files=wheels.VLLM))

    with engines.using(engine):
        with pytest.raises(Conflict):
            await install(home, newer, ignore)
        with pytest.raises(Conflict):
            engines.remove(home, engine.name)

    assert (engine.folder / "other.py").exists()


async def test_a_removed_engine_is_gone(home: Path, bundle: Bundle) -> None:
    engine = await install(home, bundle, ignore)

    engines.remove(home, engine.name)

    assert not engine.folder.exists()
    with pytest.raises(NotFound):
        engines.remove(home, engine.name)


class Links(http.server.SimpleHTTPRequestHandler):
    """A page of wheels. The one that is named in `stalled` never arrives."""

    stalled: str | None = None
    asked: list[str]
    has_stalled: threading.Event
    go_on: threading.Event

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.stalled and self.stalled in self.path:
            self.has_stalled.set()
            self.go_on.wait()
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - theirs
        """Say nothing."""


@pytest.fixture
def served_links(links: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Links]]:
    """The same wheels behind HTTP: a download that can be interrupted."""

    class Handler(Links):
        asked: list[str] = []  # noqa: RUF012 - one class per test
        has_stalled = threading.Event()
        go_on = threading.Event()

        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, directory=str(links), **options)  # type: ignore[arg-type]

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("PIP_FIND_LINKS", f"http://127.0.0.1:{server.server_port}/")
        yield Handler
        Handler.go_on.set()
        server.shutdown()
        thread.join()


async def test_an_installation_that_was_killed_goes_on_where_it_was(
    home: Path, bundle: Bundle, served_links: type[Links]
) -> None:
    served_links.stalled = "vllm-"
    argv = [sys.executable, "-c", INSTALL, str(home), str(bundle.lock.parent)]
    with subprocess.Popen(argv) as installing:
        assert await anyio.to_thread.run_sync(served_links.has_stalled.wait, 30)
        with anyio.fail_after(30):
            while not list(home.glob("engines/.cache/archive-v0/*/other.py")):
                await anyio.sleep(0.05)
        children = psutil.Process(installing.pid).children(recursive=True)
        installing.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=5)
    assert children
    assert not alive
    assert engines.installed(home) == []

    served_links.stalled = None
    served_links.asked.clear()
    engine = await install(home, bundle, ignore)

    assert engines.installed(home) == [engine]
    assert not [path for path in served_links.asked if "other-" in path]


def test_the_index_of_pytorch_is_asked_only_without_a_local_wheel(
    tmp_path: Path, links: Path
) -> None:
    wheel = wheels.build(links, "torch", "2.0+cpu")
    bundle = replace(wheels.lock(tmp_path, wheel), torch_backend="cpu")

    assert torch_index(bundle, {"UV_FIND_LINKS": str(links)}) == ()
    assert torch_index(bundle, {"UV_FIND_LINKS": str(tmp_path)}) == ("--torch-backend", "cpu")
    assert torch_index(bundle, {}) == ("--torch-backend", "cpu")
