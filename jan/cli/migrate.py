"""`jan migrate`: the database's schema."""

import asyncio
from typing import Annotated

import typer

from jan.cli import context, output

app = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def up(json: Json = False) -> None:
    """Run what has not run yet, all of it or nothing. Safe from several machines at once.

    The owners that `organization_admin_emails` names are appointed then too.
    """
    from jan import keyring
    from jan.auth import owners
    from jan.db import session
    from jan.db.prepare import prepare

    async def run() -> list[str]:
        loaded = context.loaded()
        async with session.opened_as_owner(loaded) as database:
            ran = await prepare(loaded.settings, keyring.load(loaded.settings), database)
            await owners.appoint(loaded.settings.organization_admin_emails)
            return ran

    ran = asyncio.run(run())
    output.say(f"{len(ran)} migrations ran." if ran else "Nothing to do.")
    output.data(ran, as_json=json, text="\n".join(ran))


@app.command()
def status(json: Json = False) -> None:
    """List every migration and whether it has run."""
    rows = _status()
    output.data(
        [{"id": step, "has_run": has_run} for step, has_run in rows],
        as_json=json,
        text=output.table(("migration", "has run"), rows),
    )


@app.command()
def check() -> None:
    """Exit with 1 where something has not run yet, or the tables are not as Jan expects."""
    from jan.db import migrate, session
    from jan.doctor.tables import TABLES
    from jan.errors import Conflict

    async def run() -> tuple[list[str], list[str]]:
        async with session.opened_as_owner(context.loaded()) as database:
            pending = [step for step, has_run in await migrate.status(database) if not has_run]
            return pending, [] if pending else await migrate.drift(database, TABLES)

    pending, drift = asyncio.run(run())
    if pending:
        raise Conflict(f"{len(pending)} migrations have not run.", hint="jan migrate up")
    if drift:
        raise Conflict("The tables are not as Jan expects: " + "; ".join(drift))
    output.say("The schema is up to date.")


@app.command()
def new(title: Annotated[str, typer.Argument(help="What it does, e.g. `add budgets`.")]) -> None:
    """Write an empty migration to fill in, in a source checkout."""
    from jan.db import migrate

    path = migrate.new(title)
    output.data(str(path), as_json=False, text=str(path))


def _status() -> list[tuple[str, bool]]:
    from jan.db import migrate, session

    async def run() -> list[tuple[str, bool]]:
        async with session.opened_as_owner(context.loaded()) as database:
            return await migrate.status(database)

    return asyncio.run(run())
