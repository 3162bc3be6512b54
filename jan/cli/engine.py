"""`jan engine`: install, list and remove inference engines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jan.cli import context, output

if TYPE_CHECKING:
    from jan.runner.engines import Engine

app = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def install(
    variant: Annotated[
        Literal["cpu", "cuda", "auto"] | None,
        typer.Argument(help="`auto` takes `cuda` where an NVIDIA GPU is seen, else `cpu`."),
    ] = None,
    wheels: Annotated[
        Path | None,
        typer.Option("--from", help="Folder that `jan engine bundle` made; nothing is downloaded."),
    ] = None,
) -> None:
    """Install an engine, or finish an installation that was cut short."""
    import asyncio

    from jan.runner import demonstration, prepare, progress, sizes
    from jan.runner.wheels import has_model

    settings = context.loaded(engine=variant).settings
    wheels = _existing(wheels) if wheels is not None else None

    async def run() -> "Engine":
        with progress.shown() as report:
            engine = await prepare.engine_for(settings, report, wheels=wheels)
            if wheels is not None and has_model(wheels):
                await demonstration.install(settings.home, engine, report, wheels=wheels)
            return engine

    engine = asyncio.run(run())
    output.say(
        f"The engine {engine.name} is installed in {engine.folder} "
        f"({sizes.in_words(engine.size_bytes)})."
    )


@app.command()
def bundle(
    folder: Annotated[Path, typer.Argument(help="Where to put the wheels.")],
    variant: Annotated[
        Literal["cpu", "cuda", "auto"] | None, typer.Argument(help="As for `install`.")
    ] = None,
) -> None:
    """Collect all that an engine is installed from, for a machine without a network."""
    import asyncio

    from jan.runner import bundles, hardware, progress, sizes, wheels

    settings = context.loaded(engine=variant).settings
    chosen = hardware.chosen(settings.engine).variant
    folder.mkdir(parents=True, exist_ok=True)
    with progress.shown() as report:
        asyncio.run(wheels.collect(bundles.find(chosen), folder.resolve(), report))
    held = list(folder.glob("*.whl"))
    size = sizes.in_words(sum(wheel.stat().st_size for wheel in held))
    output.say(f"{len(held)} wheels, {size}, are in {folder}.")
    output.say(f"There: jan engine install {chosen} --from {folder}")


@app.command("list")
def list_engines(*, json: Json = False) -> None:
    """List installed engines."""
    from jan.runner import bundles, engines, sizes

    home = context.loaded().settings.home
    found = engines.installed(home)
    current = [engines.find(home, bundles.find(engine.variant)) for engine in found]
    rows = [
        (e.name, sizes.in_words(e.size_bytes), e.python, e in current, e.installed_at)
        for e in found
    ]
    columns = ("name", "size", "python", "current", "installed")
    output.data(
        [
            {
                "name": engine.name,
                "variant": engine.variant,
                "version": engine.version,
                "python": engine.python,
                "size_bytes": engine.size_bytes,
                "is_current": engine in current,
                "installed_at": engine.installed_at,
                "folder": engine.folder,
            }
            for engine in found
        ],
        as_json=json,
        text=output.table(columns, rows),
    )


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Its name in `jan engine list`.")],
) -> None:
    """Remove an engine. It must not be running."""
    from jan.runner import engines, sizes

    engine = engines.remove(context.loaded().settings.home, name)
    output.say(f"Removed {engine.name}, {sizes.in_words(engine.size_bytes)}.")


def _existing(folder: Path) -> Path:
    from jan.errors import Misconfigured

    if not folder.is_dir():
        raise Misconfigured(f"There is no folder {folder}.")
    return folder.resolve()
