"""Installing an engine: fetched by uv into a folder of its own, checked, then renamed into place.

May be killed at any moment: what was downloaded stays in uv's cache, and no half engine is ever
seen. Two installations at once wait for each other.
"""

import asyncio
import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import anyio
from anyio import to_thread

from jan import clock, process
from jan.errors import Unavailable
from jan.runner import carried, engines, launch, locks, sizes, uv
from jan.runner.bundles import Bundle, normalized
from jan.runner.engines import Engine
from jan.runner.progress import Report
from jan.sources import inherited, made_at

UV_INSTALL = ("pip", "install", "--no-deps", "--require-hashes")
"""Exactly what the lock says, whatever the packages themselves ask for."""
STEPS = {
    "Resolved": "Downloading packages",
    "Prepared": "Installing packages",
    "Installed": "Compiling to byte code",
}
"""What uv does after it has said that word."""
LOOK_EVERY_S = 1.0
"""Between two looks at how much is there. A look at a whole engine takes 0.1 s."""
RENAME_EXCHANGE = 2
"""Source: https://man7.org/linux/man-pages/man2/rename.2.html"""
AT_FDCWD = -100
CHECK = "import vllm; print(vllm.__version__)"


async def install(
    home: Path, bundle: Bundle, report: Report, *, wheels: Path | None = None
) -> Engine:
    """Install the engine, unless it is there.

    It comes from a folder of wheels alone where one is given, else from this executable where it
    carries the engine.

    Raises:
        Misconfigured: there is not enough room, or what is carried is damaged.
        Unavailable: packages can't be had, or don't match the lock, or don't work here.
        Conflict: another build of this engine is there and in use.
    """
    folder = engines.folder_of(home)
    folder.mkdir(parents=True, exist_ok=True)
    async with locks.alone(folder / ".install.lock", report):
        if engine := engines.find(home, bundle):
            return engine
        for other in engines.installed(home):
            if other.name == bundle.name:
                engines.refuse_if_used(other)
        return await _Installation(folder, bundle, report, wheels).run()


def torch_index(bundle: Bundle, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Point uv at the index of PyTorch, unless the wheel lies here: then that is never asked."""
    if bundle.torch_backend is None:
        return ()
    wheel = f"torch-{bundle.pins['torch']}-*.whl"
    if any(list(folder.glob(wheel)) for folder in uv.find_links(environ)):
        return ()
    return ("--torch-backend", bundle.torch_backend)


@dataclass
class _Installation:
    """One installation that has the engines' folder for itself."""

    engines: Path
    bundle: Bundle
    report: Report
    wheels: Path | None

    @property
    def cache(self) -> Path | None:
        """The cache of uv, where it is ours alone."""
        return None if "UV_CACHE_DIR" in inherited() else self.engines / ".cache"

    async def run(self) -> Engine:
        draft = self.engines / f".{self.bundle.name}.new"
        await to_thread.run_sync(engines.discard, draft)
        sizes.require_free(
            self.engines,
            self.bundle.installed_bytes - await self._cached_bytes(),
            f"The {self.bundle.variant} engine",
        )
        interpreter = await uv.interpreter(self.bundle.python, engines=self.engines)
        if self.wheels is None and (part := carried.find(self.bundle.variant)):
            await carried.unpack(part, draft, self.report, "Unpacking the engine")
        else:
            await self._fetch(draft, interpreter)
        self.report("Checking the engine", None)
        await self._check(draft, interpreter)
        engine = Engine(
            variant=self.bundle.variant,
            version=self.bundle.version,
            python=self.bundle.python,
            interpreter=interpreter,
            lock_sha256=self.bundle.lock_sha256,
            installed_at=made_at() or clock.now(),
            size_bytes=await to_thread.run_sync(sizes.of_folder, draft),
            folder=draft,
        )
        engine.write()
        final = self.engines / self.bundle.name
        await to_thread.run_sync(_switch, draft, final)
        if self.cache:  # its files live on in the engine, by hard links
            await to_thread.run_sync(engines.discard, self.cache)
        return replace(engine, folder=final)

    async def _fetch(self, draft: Path, interpreter: Path) -> None:
        """Fill the draft from the lock, and tell how far it is."""
        step = STEPS["Resolved"]

        def on_line(line: str) -> None:
            nonlocal step
            step = STEPS.get(line.split(" ", 1)[0], step)
            self.report(step, None)

        async def watch() -> None:
            while step == STEPS["Resolved"]:
                share = await self._cached_bytes() / self.bundle.installed_bytes
                self.report(step, min(share, 0.99))
                await anyio.sleep(LOOK_EVERY_S)

        options = ["--python", interpreter, "--target", draft, "--compile-bytecode", "--no-build"]
        watching = asyncio.create_task(watch())
        try:
            await uv.run(
                [
                    *UV_INSTALL,
                    *options,
                    *self._sources(),
                    "-r",
                    self.bundle.lock,
                ],
                engines=self.engines,
                on_line=on_line,
            )
        finally:
            watching.cancel()

    def _sources(self) -> tuple[str, ...]:
        if self.wheels is not None:
            return uv.only_from(self.wheels)
        return torch_index(self.bundle, uv.environment(self.engines))

    async def _cached_bytes(self) -> int:
        """What has been downloaded, by this attempt and those before it."""
        return await to_thread.run_sync(sizes.of_folder, self.cache) if self.cache else 0

    async def _check(self, draft: Path, interpreter: Path) -> None:
        """Every distribution of the lock is there, and vLLM can be imported."""
        found = metadata.distributions(path=[str(draft)])
        there = {normalized(each.name): each.version for each in found}
        missing = [f"{name} {v}" for name, v in self.bundle.pins.items() if there.get(name) != v]
        if missing:
            raise Unavailable(f"The engine is incomplete: {', '.join(missing)} is missing.")
        argv = [interpreter, "-c", CHECK]
        environment = launch.packages(draft)
        async with process.spawn(argv, env=environment, cwd=draft, name="vLLM") as child:
            if await child.wait() != 0:
                raise Unavailable(
                    "vLLM was installed but can't be imported.",
                    hint="\n".join(child.last_lines[-12:]) or None,
                )


def _switch(draft: Path, final: Path) -> None:
    """Put the draft in place at once, even where another engine is; nothing of it is lost later."""
    os.sync()  # the whole disk: thousands of files one by one would take longer
    if not final.exists():
        draft.rename(final)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(draft), os.fsencode(final)
    if libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(final))
    engines.discard(draft)
