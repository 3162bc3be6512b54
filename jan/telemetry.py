"""Log lines, and the record of one request that ends in one.

Lines go to standard error. Bodies, keys and tokens are never in them: what a line may say about a
request is what `Exchange` holds.
"""

import logging
import sys
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec
import structlog

from jan import clock
from jan.caller import Caller

Format = Literal["auto", "console", "json"]
Level = Literal["debug", "info", "warning", "error"]


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
    is_metered: bool = False
    """Whether it belongs into the usage table: the data plane, once it is known who asks."""
    is_stream: bool = False
    status: int = 0
    """What the client got, or what it would have got: 499 if it left, 502 if a stream broke."""
    error_code: str | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    time_to_first_token_ms: float | None = None
    duration_ms: float = 0.0

    @property
    def elapsed_ms(self) -> float:
        """Since the request's head had come."""
        return (time.perf_counter() - self.started_s) * 1000


def exchange_of(scope: MutableMapping[str, Any]) -> Exchange:
    """Find the record of the request that an ASGI scope belongs to."""
    return scope["state"]["exchange"]


def configure(log_format: Format, level: Level) -> None:
    """Set up logging for this process, the standard library's included."""
    is_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if is_json else _unchanged,
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
    logging.basicConfig(handlers=[_Bridge()], level=max(number, logging.INFO), force=True)


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

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record under its own logger's name."""
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
        )
