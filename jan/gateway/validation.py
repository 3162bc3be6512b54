"""What Litestar finds wrong with a request, in Jan's words, with the field that is to blame."""

import re
from typing import Any

from litestar.exceptions import HTTPException, SerializationException, ValidationException

from jan.errors import BodyTooLarge, InvalidJSON, InvalidRequest

BODY = "data"
"""What handlers call it, and so does Litestar."""

_MISSING = re.compile(r"Object missing required field `(.+?)`")


def unreadable(error: Exception) -> InvalidJSON | None:
    """Say what is wrong with a body, where msgspec says it in ways that Litestar does not know."""
    if isinstance(error, RecursionError) and "deserializing" in str(error):
        return InvalidJSON("The body is nested too deeply.")
    if isinstance(error, UnicodeDecodeError):
        return InvalidJSON("The body is not UTF-8.")
    return None


def refusal(error: HTTPException) -> InvalidRequest:
    """Say what is wrong with the rest."""
    if error.status_code == BodyTooLarge.status:
        return BodyTooLarge("The body is longer than what is asked for here ever is.")
    if isinstance(error.__cause__, SerializationException):
        return InvalidJSON(f"The body is not JSON: {_first_lower(error.detail)}.")
    if isinstance(error, ValidationException) and isinstance(error.extra, list) and error.extra:
        return _of_field(error.extra[0])
    return InvalidRequest(error.detail)


def _of_field(trouble: dict[str, Any]) -> InvalidRequest:
    message, key = str(trouble.get("message", "")), str(trouble.get("key", ""))
    missing = _MISSING.match(message)
    if missing and key == BODY:
        return InvalidRequest(f"`{missing[1]}` is missing.", param=missing[1])
    if key == BODY:
        return InvalidJSON(f"The body is not what it should be: {_first_lower(message)}.")
    return InvalidRequest(f"`{key}`: {_first_lower(message)}.", param=key or None)


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]
