"""`jan engine`: install, list and remove inference engines."""

from typing import Annotated, Literal

import typer

from jan.cli import context, output

app = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def install(
    variant: Annotated[
        Literal["cpu", "cuda", "auto"] | None,
        typer.Argument(help="`auto` takes `cuda` where an NVIDIA GPU is seen, else `cpu`."),
    ] = None,
) -> None:
    """Install an engine, or finish an installation that was cut short."""
    import asyncio

    from jan.runner import prepare, progress, sizes

    settings = context.loaded(engine=variant).settings
    with progress.shown() as report:
        engine = asyncio.run(prepare.engine_for(settings, report))
    output.say(
        f"The engine {engine.name} is installed in {engine.folder} "
        f"({sizes.in_words(engine.size_bytes)})."
    )


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
