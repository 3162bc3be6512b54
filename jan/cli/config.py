"""`jan config`: what is set, to what, and by whom."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from jan.cli import context, output

app = typer.Typer(no_args_is_help=True)


@app.command()
def show(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print every setting, its value and where that came from. Secrets are not shown."""
    from jan import keyring
    from jan.values import shown

    loaded = context.loaded()
    kept = _kept_secrets(loaded.settings.home / keyring.FILE)
    rows: list[tuple[str, str, str]] = []
    for name, origin in loaded.origins.items():
        row = (name, shown(getattr(loaded.settings, name)), origin)
        if kept and name in keyring.NAMES and getattr(loaded.settings, name) is None:
            row = (name, "***", str(kept))
        rows.append(row)
    output.say(f"Configuration file: {loaded.config_path or 'none'}")
    output.data(
        {name: {"value": value, "origin": origin} for name, value, origin in rows},
        as_json=json,
        text=output.table(("setting", "value", "from"), rows),
    )


@app.command()
def check() -> None:
    """Check the settings and the secrets. Nothing is started, made or written."""
    from jan import keyring
    from jan.db import dsn

    settings = context.loaded().settings
    dsn.configured(settings)
    dsn.resolve_direct(settings)
    dsn.resolve_reads(settings)
    has_secrets = keyring.check(settings)
    output.say("The configuration is good.")
    if not has_secrets:
        output.say(f"{settings.home / keyring.FILE} will be made at the first start.")


def _kept_secrets(path: Path) -> Path | None:
    """The file that supplies secrets which no setting does, if it is there."""
    with suppress(PermissionError):  # a home that can't be entered: `jan doctor` is for that
        return path if path.exists() else None
    return None
