"""`jan config`: what is set, to what, and by whom."""

from typing import Annotated

import typer

from jan.cli import context, output

app = typer.Typer(no_args_is_help=True)


@app.command()
def show(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print every setting, its value and where that came from. Secrets are not shown."""
    from jan.settings import shown

    loaded = context.loaded()
    rows = [
        (name, shown(getattr(loaded.settings, name)), origin)
        for name, origin in loaded.origins.items()
    ]
    output.say(f"Configuration file: {loaded.config_path or 'none'}")
    output.data(
        {name: {"value": value, "origin": origin} for name, value, origin in rows},
        as_json=json,
        text=output.table(("setting", "value", "from"), rows),
    )


@app.command()
def check() -> None:
    """Check the settings and the secrets without starting anything."""
    from jan import keyring

    loaded = context.loaded()
    keyring.load(loaded.settings)
    output.say("The configuration is good.")
