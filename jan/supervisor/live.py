"""The board on a terminal: a line for each part, redrawn below the log lines while Jan starts."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self, TextIO, cast

import structlog
from rich.console import Console, Group, RenderableType
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from jan import clock
from jan.errors import JanError
from jan.supervisor.board import Board

BAR_WIDTH = 24


@dataclass
class Row:
    """One part's line."""

    name: str
    mark: RenderableType = field(default_factory=lambda: Text("·", style="dim"))
    detail: str = ""
    share: float | None = None
    began_s: float | None = None
    took_s: float | None = None

    def cells(self) -> tuple[RenderableType, ...]:
        """Mark, name, detail, progress and time."""
        seconds = self.took_s
        if seconds is None and self.began_s is not None:
            seconds = clock.monotonic_s() - self.began_s
        share = self.share
        bar = "" if share is None else ProgressBar(1.0, share, width=BAR_WIDTH)
        took = "" if seconds is None else Text(f"{seconds:.1f} s", style="dim")
        return self.mark, Text(self.name), took, Text(self.detail, style="dim"), bar


class LiveBoard(Board):
    """Draws until everything is ready, or the block ends; then it is a board of log lines."""

    def __init__(self, parts: Sequence[str]) -> None:
        super().__init__("console")
        self.has_reader = sys.stdout.isatty()
        console = Console(stderr=True)
        self._rows = {name: Row(name) for name in parts}
        self._foot: list[RenderableType] = []
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=4)
        # Whatever is written through it appears above what is drawn.
        self._above = cast("TextIO", FileProxy(console, sys.stderr))
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(self._above))

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def working(self, part: str, detail: str, share: float | None = None) -> None:
        """Animate the part's line."""
        if not self._live.is_started:
            super().working(part, detail, share)
            return
        row = self._row(part)
        row.detail, row.share = detail, share
        if row.began_s is None or row.took_s is not None:
            row.mark, row.began_s, row.took_s = Spinner("dots"), clock.monotonic_s(), None

    def ready(self, part: str, detail: str = "ready") -> None:
        """Tick the part's line off."""
        if not self._live.is_started:
            super().ready(part, detail)
            return
        self._broken.pop(part, None)
        row = self._row(part)
        now_s = clock.monotonic_s()
        row.mark, row.detail, row.share = Text("✓", style="green"), detail, None
        row.took_s = now_s - (row.began_s or now_s)
        self._stop_when_all_is_done()

    def failed(self, part: str, error: JanError, *, again_in_s: float | None = None) -> None:
        """Mark the part's line, and log the reason: it may be long."""
        super().failed(part, error, again_in_s=again_in_s)
        self._cross_out(part, error)

    def broken(self, part: str, error: JanError, *, again_in_s: float) -> None:
        """Mark the part's line each time, though the reason is logged once."""
        super().broken(part, error, again_in_s=again_in_s)
        self._cross_out(part, error)

    def gone(self, part: str) -> None:
        """Take the part's line away, if it is drawn."""
        super().gone(part)
        if self._live.is_started and self._rows.pop(part, None) is not None:
            self._stop_when_all_is_done()

    def _row(self, part: str) -> Row:
        """Find the part's line. Parts may come at any time; their lines stand last."""
        return self._rows.setdefault(part, Row(part))

    def _stop_when_all_is_done(self) -> None:
        if all(row.took_s is not None for row in self._rows.values()):
            self._live.stop()  # and leave the last picture standing

    def _cross_out(self, part: str, error: JanError) -> None:
        row = self._row(part)
        row.mark, row.detail, row.share = Text("✗", style="red"), error.message, None
        row.took_s = row.began_s = None

    def listening(self, url: str) -> None:
        """Show the address as long as the board is drawn."""
        self._foot.append(Text.assemble("\nJan is at ", (url, "bold")))

    def first_key(self, key: str | None) -> None:
        """Show the key below everything else."""
        if key is None:
            super().first_key(key)
            return
        words = Text(f"{key}\nStore it now: it is not shown again.", style="bold")
        self._foot.append(Panel.fit(words, title="first key", title_align="left"))

    def setup_link(self, link: str | None) -> None:
        """Show the link below everything else, on a line of its own: it is to be copied."""
        if link is None:
            super().setup_link(link)
            return
        self._foot.append(Text("\nNobody owns this Jan yet. Become its owner within 24 hours:"))
        self._foot.append(Text(link, style="bold", no_wrap=True, overflow="ignore"))

    def write(self, line: str) -> None:
        """Write above what is drawn."""
        self._above.write(line + "\n")

    def _draw(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for row in self._rows.values():
            table.add_row(*row.cells())
        return Group(table, *self._foot)
