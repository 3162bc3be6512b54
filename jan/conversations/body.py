"""Bodies of requests for what is kept: JSON that the database can hold, or a refusal.

Halves of surrogate pairs are no text and are refused always. NUL characters are text that
PostgreSQL can't hold, and are refused where the text is to be stored.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from jan.chat import request
from jan.errors import InvalidJSON, InvalidRequest
from jan.inference.upstream import UNREADABLE

T = TypeVar("T", bound=msgspec.Struct)

_Trail = tuple["_Trail", str] | None
"""The way to a text: where it goes on from, and the last step. Whole, it may be as long as the body
for each of its texts."""

FREE_LEVELS = 400
"""Of nesting: what has come in must be read and written again, from deeper within the program."""
MAX_PLACE_LENGTH = 200
"""Of what a refusal names. Keys may be as long as the body."""


def read(body: bytes, kind: type[T]) -> T:
    """Read a body, all of which is stored.

    Raises:
        InvalidJSON: as `load`.
        InvalidRequest: a field is missing or wrong, or can't be stored; `param` names it.
    """
    parameters = load(body)
    refuse_nul(body, parameters)
    return convert(parameters, kind)


def load(body: bytes) -> dict[str, Any]:
    """Decode a body.

    Raises:
        InvalidJSON: not JSON, or not text; the sentence names the place.
        InvalidRequest: it is no object.
    """
    try:
        value = msgspec.json.decode(body)
        if body.count(b"[") + body.count(b"{") > FREE_LEVELS:
            deeper = b"[" * FREE_LEVELS + body + b"]" * FREE_LEVELS
            msgspec.json.decode(deeper, type=msgspec.Raw)  # built of nothing, and so quick
    except RecursionError:
        raise InvalidJSON("The request body is nested too deeply.") from None
    except UNREADABLE:
        value = request.load(body)  # raises, with the place, unless it is one of these:
        place = _place(value, _is_broken)
        if place is None:
            raise InvalidJSON("The request body holds a number that can't be read.") from None
        place = place or "the body"
        raise InvalidJSON(
            f"`{place}` holds half of a surrogate pair, which is not a character.", param=place
        ) from None
    if not isinstance(value, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    return value


def convert(parameters: dict[str, Any], kind: type[T]) -> T:
    """Read what has been decoded.

    Raises:
        InvalidRequest: a field is missing or wrong; `param` names it.
    """
    try:
        return msgspec.convert(parameters, kind)
    except msgspec.ValidationError as error:
        raise request.invalid(str(error)) from None


def refuse_nul(body: bytes, parameters: dict[str, Any], advice: str = "") -> None:
    """Refuse NUL characters, in keys too. `parameters` is what the body decodes to.

    Raises:
        InvalidRequest: there is one; `param` names where, and the sentence ends with `advice`.
    """
    if b"\\u0000" not in body:
        return
    # What looks like an escape may be an escaped backslash.
    place = _place(parameters, lambda text: "\x00" in text)
    if place is not None:
        raise InvalidRequest(
            f"`{place}` holds a NUL character, which can't be stored.{advice}", param=place
        )


def _is_broken(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _place(value: Any, is_at_fault: Callable[[str], bool]) -> str | None:
    """Find a text that is at fault, such as `input[0].content`."""
    for trail, text in _texts(value):
        if is_at_fault(text):
            return _written(trail)[:MAX_PLACE_LENGTH].encode(errors="replace").decode()
    return None


def _texts(value: Any) -> Iterator[tuple[_Trail, str]]:
    """List all texts, and where they are. Keys are texts too. No nesting is too deep for it."""
    waiting: list[tuple[_Trail, Any]] = [(None, value)]
    while waiting:
        trail, value = waiting.pop()
        if isinstance(value, str):
            yield trail, value
        elif isinstance(value, dict):
            for key, inner in value.items():
                where = (trail, f".{key}")
                yield where, key
                waiting.append((where, inner))
        elif isinstance(value, list):
            waiting += [((trail, f"[{index}]"), inner) for index, inner in enumerate(value)]


def _written(trail: _Trail) -> str:
    steps: list[str] = []
    while trail is not None:
        trail, step = trail
        steps.append(step)
    return "".join(reversed(steps)).removeprefix(".")
