"""`jan usage`: who used how much of what."""

import asyncio
from dataclasses import asdict, astuple
from typing import TYPE_CHECKING, Annotated

import typer

from jan.cli import context, output

if TYPE_CHECKING:
    from jan.usage.schemas import Total

COLUMNS = (
    "project",
    "key",
    "name",
    "model",
    "requests",
    "errors",
    "prompt",
    "completion",
    "cached",
)


def usage(
    since: Annotated[str, typer.Option(help="How far back: `15m`, `24h`, `30d`.")] = "24h",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show requests and tokens by key and model, the largest first."""
    from jan import clock
    from jan.cli import durations
    from jan.db import session
    from jan.organization import access
    from jan.usage import service

    moment = clock.now() - durations.parse(since, param="since")

    async def run() -> "list[Total]":
        async with session.opened(context.loaded()):
            return await service.totals(await access.operator(), moment)

    totals = asyncio.run(run())
    output.data(
        [asdict(total) for total in totals],
        as_json=json,
        text=output.table(COLUMNS, [astuple(total) for total in totals]),
    )
