"""Log lines, and the record of one request that ends in one.

Lines go to standard error. Bodies, keys and tokens are never in them: what a line may say about a
request is what `Exchange` holds. Of an exception a line tells the type and the place; its words may
quote a prompt, so they and the traceback are written only at level `debug`.
"""

import logging
import re
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Literal

import msgspec
import structlog

from jan import clock
from jan.caller import Caller

Format = Literal["auto", "console", "json"]
Level = Literal["debug", "info", "warning", "error"]

GAP_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Between which gaps in streams are counted: from a fast model to a stall."""


@dataclass(slots=True)
class Exchange:
    """One request and what became of it, filled in by whoever learns it."""

    request_id: str
    method: str
    path: str
    created_at: datetime = field(default_factory=clock.now)
    started_s: float = field(default_factory=time.perf_counter)
    caller: Caller | None = None
    """Who asks, once that is known."""
    model: str | None = None
    """What answers: not always the one that was asked for."""
    endpoint_id: str | None = None
    """Where it was sent last."""
    provider: str | None = None
    """Whose that is, by name."""
    queue_ms: float | None = None
    """For how long it waited for its turn. None: it was not sent anywhere."""
    is_metered: bool = False
    """Whether it belongs into the usage table: a path of the data plane, and a key that works."""
    is_stream: bool = False
    status: int = 0
    """What the client got, or what it would have got: 499 if it left, 502 if a stream broke."""
    error_code: str | None = None
    request_bytes: int = 0
    """Of the body: those that came, or that were announced where it was too long."""
    response_bytes: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    time_to_first_token_ms: float | None = None
    gaps: list[int] | None = None
    """How many gaps between its pieces a relayed stream had in each part of `GAP_BOUNDS_S`."""
    last_piece_s: float = 0.0
    """When the last of them came. Monotonic, as `started_s`."""
    duration_ms: float = 0.0

    @property
    def elapsed_ms(self) -> float:
        """Since the request's head had come."""
        return (time.perf_counter() - self.started_s) * 1000

    def note_piece(self) -> None:
        """Note that a piece of a stream has come, the first with a token or one after that."""
        now_s = time.perf_counter()
        if self.gaps is None:
            self.gaps = [0] * (len(GAP_BOUNDS_S) + 1)
            self.time_to_first_token_ms = (now_s - self.started_s) * 1000
        else:
            self.gaps[bisect_left(GAP_BOUNDS_S, now_s - self.last_piece_s)] += 1
        self.last_piece_s = now_s


def exchange_of(scope: MutableMapping[str, Any]) -> Exchange:
    """Find the record of the request that an ASGI scope belongs to."""
    return scope["state"]["exchange"]


def configure(log_format: Format, level: Level) -> None:
    """Set up logging for this process, the standard library's included."""
    is_debug = level == "debug"
    is_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            (structlog.processors.format_exc_info if is_json else _unchanged)
            if is_debug
            else _without_words,
            _as_json if is_json else _console(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=(
            structlog.BytesLoggerFactory(sys.stderr.buffer)
            if is_json
            else structlog.PrintLoggerFactory(sys.stderr)
        ),
        cache_logger_on_first_use=True,
    )
    bridge = _Bridge(tells_all=is_debug)
    logging.basicConfig(handlers=[bridge], level=max(number, logging.INFO), force=True)
    # They tell the address of each request, and what is searched for is part of one.
    for library in ("httpx", "httpx2"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # The MCP SDK tells when each request begins and ends, and whatever servers of others do.
    logging.getLogger("mcp").setLevel(max(number, logging.WARNING))
    logging.getLogger("mcp.client").setLevel(logging.CRITICAL)


def brief(error: BaseException) -> dict[str, str]:
    """Tell an exception's type and where it arose, and what of Jan led there if it was not Jan.

    Of a group, the first: groups are made by task groups, and say nothing themselves.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    kind = type(error)
    told = {"error_type": kind.__qualname__}
    if kind.__module__ != "builtins":
        told["error_type"] = f"{kind.__module__}.{kind.__qualname__}"
    places = list(_places(error.__traceback__))
    if places:
        told["raised_at"] = places[-1][1]
        ours = [place for module, place in places if module.partition(".")[0] == "jan"]
        if ours and ours[-1] != told["raised_at"]:
            told["called_at"] = ours[-1]
    return told


def _places(traceback: TracebackType | None) -> Iterator[tuple[str, str]]:
    """Module, and file with line, from the outermost to where it was raised."""
    while traceback is not None:
        frame = traceback.tb_frame
        place = f"{frame.f_code.co_filename}:{traceback.tb_lineno}"
        yield frame.f_globals.get("__name__", ""), place
        traceback = traceback.tb_next


def _without_words(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
    """Put an exception's type and place where the traceback would be."""
    error = event.pop("exc_info", None)
    if error and not isinstance(error, BaseException):
        error = error[1] if isinstance(error, tuple) else sys.exc_info()[1]
    if error:
        event.update(brief(error))
    return event


def _console() -> structlog.dev.ConsoleRenderer:
    # Its other traceback shows the values of variables: keys and prompts among them.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _unchanged(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
    return event


def _as_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)


class _Bridge(logging.Handler):
    """Hands the standard library's records to structlog."""

    def __init__(self, *, tells_all: bool) -> None:
        super().__init__()
        self.tells_all = tells_all

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record under its own logger's name."""
        words = record.getMessage()
        if not self.tells_all and (record.exc_info or record.name == "asyncio"):
            # asyncio writes a task with its exception, and a callback with what it was called with.
            words = re.split(r"[\n(<]", words, maxsplit=1)[0].rstrip()
        structlog.get_logger().log(
            record.levelno, words, logger=record.name, exc_info=record.exc_info
        )
