"""What a person sees of `jan serve`: log lines, and on a terminal the state of each part below.

What children say is passed on here too, whole line by whole line. No API key is ever logged, and no
link that opens something.
"""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Literal

import structlog

from jan import telemetry
from jan.errors import JanError
from jan.runner import progress
from jan.settings import Settings

log = structlog.get_logger()


class Board:
    """Log lines only: for files, journals and containers."""

    has_reader = False
    """Whether a person looks on, who may be shown what no log may hold."""

    def __init__(self, log_format: Literal["console", "json"]) -> None:
        self.log_format = log_format
        """In which children are to log."""
        self._reports: dict[str, progress.Report] = {}
        self._ready: dict[str, str] = {}
        """What was last told of parts that work."""
        self._broken: dict[str, str] = {}
        """Why, of parts that are tried again without much hope: nothing more is said of them."""

    def working(self, part: str, detail: str, share: float | None = None) -> None:
        """Tell what is being done for a part, and the share of it that is done."""
        self._ready.pop(part, None)
        if part in self._broken:
            return
        if part not in self._reports:
            self._reports[part] = progress.lines(lambda line: log.info(line, part=part))
        self._reports[part](detail, share)

    def ready(self, part: str, detail: str = "ready") -> None:
        """Tell that a part does its work."""
        self._reports.pop(part, None)
        self._broken.pop(part, None)
        if self._ready.get(part) != detail:
            self._ready[part] = detail
            log.info(detail, part=part)

    def failed(self, part: str, error: JanError, *, again_in_s: float | None = None) -> None:
        """Tell why a part does not work, and when it is tried again."""
        self._reports.pop(part, None)
        self._ready.pop(part, None)
        self._broken.pop(part, None)
        more = {} if again_in_s is None else {"again_in_s": round(again_in_s, 1)}
        self._fail(error.message, part, error.hint, **more)

    def broken(self, part: str, error: JanError, *, again_in_s: float) -> None:
        """Tell that a part keeps failing, and why: once, until it works or fails in another way."""
        self._reports.pop(part, None)
        self._ready.pop(part, None)
        if self._broken.get(part) != error.message:
            self._broken[part] = error.message
            words = f"keeps failing, tried again only every {again_in_s:.0f} s: {error.message}"
            self._fail(words, part, error.hint)

    def gone(self, part: str) -> None:
        """Forget a part that is there no more, because that was wanted."""
        self._reports.pop(part, None)
        self._ready.pop(part, None)
        self._broken.pop(part, None)

    def listening(self, url: str) -> None:
        """Tell where clients find us."""
        log.info("listening", url=url)

    def first_key(self, key: str | None) -> None:
        """Show the first key, if one was made: the only time. Without a person, say how."""
        if key is None:
            log.info("there is no API key yet: `jan key create --name NAME` makes one")

    def setup_link(self, link: str | None) -> None:
        """Show the first owner's link, if one was made. Without a person, say how to get one."""
        if link is None:
            log.info("nobody owns this Jan yet: `jan setup` prints a link for its first owner")

    def relay(self, part: str) -> Callable[[str], None]:
        """Make what takes the lines that a child of ours says: log lines, most of them."""

        def pass_on(line: str) -> None:
            if self.log_format == "json" and not (line.startswith("{") and line.endswith("}")):
                log.warning(line, part=part)
            else:
                self.write(line)

        return pass_on

    def _fail(self, words: str, part: str, hint: str | None, **more: float) -> None:
        """Log an error. Where people read, a child's last words stand below it as they were."""
        if hint is None or self.log_format == "json" or "\n" not in hint:
            log.error(words, part=part, hint=hint, **more)
            return
        log.error(words, part=part, **more)
        for line in hint.splitlines():
            self.write(f"    {line}")

    def write(self, line: str) -> None:
        """Write a line as it stands, in one go, where log lines go."""
        sys.stderr.buffer.write(line.encode() + b"\n")
        sys.stderr.buffer.flush()


@contextmanager
def shown(settings: Settings, parts: Sequence[str]) -> Generator[Board]:
    """Set up logging for this process, and the display if there is a terminal to draw on."""
    telemetry.configure(settings.log_format, settings.log_level)
    is_terminal = sys.stderr.isatty()
    if settings.log_format == "json" or (settings.log_format == "auto" and not is_terminal):
        yield Board("json")
        return
    if not is_terminal:
        yield Board("console")
        return
    from jan.supervisor.live import LiveBoard  # noqa: PLC0415 - only a terminal pays for Rich

    with LiveBoard(parts) as board:
        yield board
