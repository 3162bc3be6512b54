"""Data goes to standard output, words to standard error. `--json` gives one JSON document."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def say(text: str) -> None:
    """Tell the person at the terminal something that no script wants to read."""
    print(text, file=sys.stderr)  # noqa: T201 - this is the place for it


def data(value: Any, *, as_json: bool, text: str) -> None:
    """Print the result: `value` as JSON, or `text` as it stands."""
    print(json.dumps(value, indent=2, default=_plain) if as_json else text)  # noqa: T201


def listing(
    objects: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, as_json: bool
) -> None:
    """Print objects of the API, a line each: `columns` tells the field under each heading."""
    rows = [[_field(each, name) for name in columns.values()] for each in objects]
    data(objects, as_json=as_json, text="" if as_json else table(list(columns), rows))


def shown(thing: Mapping[str, Any], columns: Mapping[str, str], *, as_json: bool) -> None:
    """Print one object of the API."""
    if as_json:
        data(thing, as_json=True, text="")
    else:
        listing([thing], columns, as_json=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Lay rows out under their headings, for `data(text=...)`. Nothing is cut off.

    On a terminal with lines and colours; elsewhere plain, for `grep` and `awk`.
    """
    if sys.stdout.isatty():
        return _drawn(columns, rows)
    cells = [[_cell(value) for value in row] for row in rows]
    lines = [[name.upper() for name in columns], *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*columns, box=box.SIMPLE_HEAD, header_style="bold")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    console = Console()
    with console.capture() as captured:
        console.print(drawn, soft_wrap=False)
    return captured.get().strip("\n")


def _field(thing: Mapping[str, Any], name: str) -> Any:
    value = thing.get(name)
    if name.endswith(("_at", "_login_at")) and isinstance(value, int):
        return datetime.fromtimestamp(value, UTC)
    return value


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
