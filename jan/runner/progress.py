"""How long-running work tells where it is: a bar on a terminal, lines elsewhere."""

import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

Report = Callable[[str, float | None], None]
"""Takes what is being done, in words, and the share of it that is done, 0 to 1, where known."""

LINE = re.compile(r"(.+) \((\d+)%\)")

LINE_EVERY = 0.1
"""Share of a step after which another line is worth it."""


@contextmanager
def shown() -> Generator[Report]:
    """Show what is reported on standard error, in the form that suits it."""
    if not sys.stderr.isatty():
        yield lines(lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201 - words
        return
    from rich import console  # noqa: PLC0415 - only a terminal pays for it
    from rich import progress as bars  # noqa: PLC0415

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=console.Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def report(step: str, share: float | None) -> None:
            bar.update(task, description=step, completed=share or 0, total=share and 1)

        yield report


def parsed(line: str) -> tuple[str, float | None]:
    """Read a line of `lines` back: the step, and the share of it that is done."""
    match = LINE.fullmatch(line)
    return (match[1], int(match[2]) / 100) if match else (line, None)


def lines(say: Callable[[str], None]) -> Report:
    """Make a report that says each step once, and again with each tenth of it."""
    last_step, last_share = "", 0.0

    def report(step: str, share: float | None) -> None:
        nonlocal last_step, last_share
        share = share or 0.0
        if step == last_step and share < last_share + LINE_EVERY:
            return
        last_step, last_share = step, share
        say(f"{step} ({share:.0%})" if share else step)

    return report
