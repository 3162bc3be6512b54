"""How figures are shown: a Markdown table, a row for each measure, a column for each subject."""

import math
import sys
from collections.abc import Mapping

import psutil

Figures = dict[str, dict[str, float]]
"""Measure, then subject, then the figure. The order is that of the table."""


def say(text: str) -> None:
    """Tell a person what is going on."""
    print(text, file=sys.stderr, flush=True)


def show(
    title: str,
    figures: Figures,
    *,
    targets: Mapping[str, str],
    ratio: tuple[str, str] | None = None,
) -> None:
    """Print the table; `ratio` names the column to divide and the one to divide it by."""
    subjects = list(dict.fromkeys(name for row in figures.values() for name in row))
    if ratio is not None:
        above, below = ratio
        subjects.append(f"{above} / {below}")
        for row in figures.values():
            if above in row and row.get(below):
                row[subjects[-1]] = row[above] / row[below]
    rows = [["", *subjects, "target"], ["---", *("---:" for _ in subjects), "---"]]
    for measure, row in figures.items():
        cells = [_number(row[name]) if name in row else "" for name in subjects]
        rows.append([measure, *cells, targets.get(measure, "")])
    print(f"\n{title} ({psutil.cpu_count()} cores)\n")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    sys.stdout.flush()


def _number(value: float) -> str:
    """Write three digits that mean something, or the whole number where there are more."""
    if not math.isfinite(value):
        return "none"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 3)}f}"
