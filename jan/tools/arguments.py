"""Arguments of tools, held against the JSON schemas that tools tell.

A schema may come from anybody's server, and arguments from a model that was talked into them. So
nothing is fetched to resolve a reference, the work is bounded, and keywords whose cost nobody can
bound (regular expressions, uniqueness) are left to the tool itself, as is what can't be followed.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any

import msgspec
import referencing
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import extend, validator_for
from referencing.exceptions import Unresolvable

from jan.errors import InvalidRequest
from jan.tools.provider import Json

MAX_BYTES = 256 * 1024
"""Of arguments. What is longer is no question to a tool."""
MAX_SCHEMA_BYTES = 64 * 1024
MAX_SCHEMAS = 256
"""Kept, the last ones used."""
MAX_WORK = 200_000
"""For one check: some 20,000 keywords, a tenth of a second. A few lines of references to references
can be a million steps."""
KEYWORD_WORK = 10
"""One keyword's, beside what is listed in it."""
MAX_ERRORS = 20
"""Looked at, to tell the one that says most."""
MAX_WORDS = 300

WORDS = {
    "type": "must be of type {}",
    "enum": "must be one of {}",
    "const": "must be {}",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
}

COSTLY = frozenset(
    ("pattern", "patternProperties", "uniqueItems", "unevaluatedProperties", "unevaluatedItems")
)

Path = tuple[str | int, ...]
Keyword = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]

_work: ContextVar[int] = ContextVar("work")


class _TooMuch(Exception):
    """A schema that goes round in circles, or multiplies."""


class Schema:
    """The schema of one tool's arguments, ready to check them."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Take it.

        Raises:
            InvalidRequest: it is none, or one that is too long.
        """
        if len(msgspec.json.encode(document)) > MAX_SCHEMA_BYTES:
            raise InvalidRequest("The schema of the tool's arguments is too long.")
        schema = dict(document)
        dialect = validator_for(schema, default=Draft202012Validator)
        try:
            dialect.check_schema(schema)
        except (SchemaError, RecursionError) as error:
            raise InvalidRequest("The schema of the tool's arguments is none.") from error
        # Without a registry the library would fetch references from wherever they point to.
        self._validator = _bounded(dialect)(schema, registry=referencing.Registry())

    def check(self, arguments: Json) -> None:
        """Pass arguments that fit.

        Raises:
            InvalidRequest: they do not; `param` names the argument.
        """
        _work.set(0)
        try:
            found = list(itertools.islice(self._validator.iter_errors(arguments), MAX_ERRORS))
        except (Unresolvable, _TooMuch, RecursionError):
            return
        if found:
            raise _refusal(best_match(found) or found[0])


def schema(document: Mapping[str, Any]) -> Schema:
    """Take the schema that a tool tells. The same one is looked at once: that takes a while.

    Raises:
        InvalidRequest: as `Schema`.
    """
    try:
        encoded = msgspec.json.encode(document)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest("The schema of the tool's arguments is none.") from error
    return _known(encoded)


@lru_cache(MAX_SCHEMAS)
def _known(document: bytes) -> Schema:
    return Schema(msgspec.json.decode(document))


def read(arguments: Mapping[str, Any] | str) -> tuple[Json, int]:
    """Take arguments as a model or a client writes them. Tells their length in bytes too.

    Raises:
        InvalidRequest: they are no JSON object, hold text that is none, or are too long.
    """
    try:
        encoded = (
            arguments.encode() if isinstance(arguments, str) else msgspec.json.encode(arguments)
        )
        if len(encoded) > MAX_BYTES:
            raise InvalidRequest(f"The arguments are longer than {MAX_BYTES} bytes.")
        decoded = msgspec.json.decode(encoded or b"{}")
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest("The arguments are no JSON object.") from error
    if not isinstance(decoded, dict):
        raise InvalidRequest("The arguments are no JSON object.")
    return decoded, len(encoded)


@cache
def _bounded(dialect: Any) -> Any:
    """Make a validator of the dialect that leaves out what is costly, and counts its work."""
    known: Mapping[str, Keyword] = dialect.VALIDATORS
    return extend(
        dialect,
        {name: _passed if name in COSTLY else _counted(name, known[name]) for name in known},
    )


def _counted(name: str, keyword: Keyword) -> Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[ValidationError]:
        done = _work.get() + KEYWORD_WORK + (len(value) if isinstance(value, list | dict) else 0)
        if done > MAX_WORK:
            raise _TooMuch
        _work.set(done)
        if name == "additionalProperties" and "patternProperties" in schema:
            return ()  # it would match their patterns
        return keyword(validator, value, instance, schema) or ()

    return check


def _passed(*_: Any) -> None:
    """Leave a keyword to the tool."""


def _refusal(error: ValidationError) -> InvalidRequest:
    path: Path = tuple(error.absolute_path)
    keyword = str(error.validator)
    told: Any = error.validator_value
    if keyword == "required" and isinstance(error.instance, dict):
        missing = next(str(name) for name in told if name not in error.instance)
        field = _written((*path, missing))
        return InvalidRequest(f"The argument `{field}` is missing.", param=field)
    if keyword == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        extra = next((str(name) for name in error.instance if name not in known), "")
        field = _written((*path, extra))
        names = ", ".join(f"`{name}`" for name in itertools.islice(known, 20))
        return InvalidRequest(f"There is no argument `{field}`, but {names}.", param=field)
    field = _written(path)
    of = f"The argument `{field}`" if field else "The arguments"
    words = WORDS.get(keyword, "does not fit `{}` of the schema")
    words = words.format(_told(told) if keyword in WORDS else keyword)
    return InvalidRequest(f"{of} {words}."[:MAX_WORDS], param=field or None)


def _written(path: Path) -> str:
    """Write where it is, such as `filters[0].name`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text[:MAX_WORDS]


def _told(value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    return ", ".join(
        each if isinstance(each, str) else msgspec.json.encode(each).decode()
        for each in itertools.islice(values, 20)
    )
