"""`jan usage`: who used how much of what."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, astuple
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jan.cli import context, output

if TYPE_CHECKING:
    from jan.usage.schemas import ToolTotal, Total

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
    "dollars",
)
TOOL_COLUMNS = (
    "project",
    "key",
    "name",
    "server",
    "tool",
    "calls",
    "errors",
    "seconds",
    "sent",
    "received",
)


def usage(
    since: Annotated[str, typer.Option(help="How far back: `15m`, `24h`, `30d`.")] = "24h",
    tools: Annotated[bool, typer.Option("--tools", help="Show calls of tools.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show requests and tokens by key and model, or calls by key and tool, the largest first."""
    from jan import clock
    from jan.cli import durations
    from jan.db import session
    from jan.organization import access
    from jan.usage import service

    moment = clock.now() - durations.parse(since, param="since")

    async def run() -> "Sequence[Total | ToolTotal]":
        async with session.opened(context.loaded()):
            read = service.tool_totals if tools else service.totals
            return await read(await access.operator(), moment)

    totals = asyncio.run(run())
    output.data(
        [_plain(asdict(total)) for total in totals],
        as_json=json,
        text=output.table(TOOL_COLUMNS if tools else COLUMNS, [astuple(total) for total in totals]),
    )


def _plain(total: dict[str, Any]) -> dict[str, Any]:
    """Write money as text: a JSON number is a float to most who read it."""
    return total | ({"cost_dollars": _text(total["cost_dollars"])} if "model" in total else {})


def _text(dollars: object) -> str | None:
    return None if dollars is None else f"{dollars:f}"
