"""Data goes to standard output, words to standard error. `--json` gives one JSON document."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any


def say(text: str) -> None:
    """Tell the person at the terminal something that no script wants to read."""
    print(text, file=sys.stderr)  # noqa: T201 - this is the place for it


def data(value: Any, *, as_json: bool, text: str) -> None:
    """Print the result: `value` as JSON, or `text` as it stands."""
    print(json.dumps(value, indent=2, default=_plain) if as_json else text)  # noqa: T201


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Lay rows out under their headings, for `data(text=...)`. Nothing is cut off.

    Plain text at any width: what is piped into `grep` or `awk` is what was on the screen.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    lines = [[name.upper() for name in columns], *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


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
