"""Errors as HTTP answers: the one place where an exception becomes a status and a body."""

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from jan import telemetry
from jan.chat.dialect import spoken_at
from jan.errors import JanError, MethodNotAllowed, NotFound, Unauthorized
from jan.gateway import validation

log = structlog.get_logger("jan.gateway")

FIRST_SERVER_ERROR = 500


def as_jan_error(error: Exception, *, method: str, path: str) -> JanError:
    """Put any exception into Jan's words. What is not known is a bug: 500, and nothing told."""
    if isinstance(error, JanError):
        return error
    if isinstance(error, HTTPException) and error.status_code < FIRST_SERVER_ERROR:
        if error.status_code == NotFound.status:
            return NotFound(f"There is no `{path}` here.")
        if error.status_code == MethodNotAllowed.status:
            return MethodNotAllowed(f"`{path}` does not take {method}.")
        return validation.refusal(error)
    if (refusal := validation.unreadable(error)) is not None:
        return refusal
    return JanError("Something went wrong in the server. It has been logged with the request's id.")


def answer(
    error: Exception, exchange: telemetry.Exchange
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Make an error's status, headers and body; log it, with the place, if the fault is ours."""
    known = as_jan_error(error, method=exchange.method, path=exchange.path)
    if known is not error and known.status >= FIRST_SERVER_ERROR:
        log.error("unexpected error", request_id=exchange.request_id, exc_info=error)
    exchange.error_code = known.code
    headers = [("content-type", "application/json")]
    if known.retry_after_s is not None:
        headers.append(("retry-after", str(known.retry_after_s)))
    if isinstance(known, Unauthorized):
        headers.append(("www-authenticate", known.challenge))
    if isinstance(error, HTTPException) and "allow" in (error.headers or {}):
        headers.append(("allow", (error.headers or {})["allow"]))
    body = spoken_at(exchange.path).error_body(known, exchange.request_id)
    return known.status, headers, body


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Render what a handler raised (Litestar's exception handler for everything)."""
    status, headers, body = answer(error, telemetry.exchange_of(request.scope))  # pyright: ignore[reportArgumentType] - a scope is a dict
    return Response(body, status_code=status, headers=dict(headers))
