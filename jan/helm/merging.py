"""Values put together as Helm does it: files over defaults, and what every chart sees of them.

Source: https://helm.sh/docs/chart_template_guide/subcharts_and_globals/
"""

import copy
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from jan.errors import Misconfigured
from jan.helm.chart import Chart

KINDS = {"object": "a table", "array": "a list", "string": "text", "boolean": "true or false"}


def merged(chart: Chart, files: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Put values over those of the chart, the last first.

    Null takes a default away, but not one that the chart has for a chart in it: that sees a null.
    """
    given: dict[str, Any] = {}
    for file in files:
        given = _over(given, file, keeps_null=True)
    values = copy.deepcopy(dict(chart.values))
    inner = {each.name for each in chart.subcharts}
    for key, value in given.items():
        values = _over(values, {key: value}, keeps_null=key in inner)
    return values


def of_subchart(chart: Chart, values: Mapping[str, Any]) -> dict[str, Any]:
    """What one of its charts sees: its own part, and what is global."""
    own = _over(copy.deepcopy(dict(chart.values)), values.get(chart.name) or {})
    own["global"] = _over(own.get("global") or {}, values.get("global") or {})
    return own


def check(values: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """See that values are what the schema allows.

    Raises:
        Misconfigured: they are not; each mistake is named with its place.
    """
    found = Draft202012Validator(dict(schema)).iter_errors(dict(values))
    mistakes = sorted({_words(each) for error in found for each in _narrowed(error)})
    if mistakes:
        raise Misconfigured("\n".join(mistakes))


def _over(
    values: dict[str, Any], given: Mapping[str, Any], *, keeps_null: bool = False
) -> dict[str, Any]:
    for key, value in given.items():
        there = values.get(key)
        if value is None and not keeps_null and key in values:
            del values[key]
        elif isinstance(value, Mapping) and isinstance(there, dict):
            values[key] = _over(there, value, keeps_null=keeps_null)
        else:
            values[key] = copy.deepcopy(value)
    return values


def _narrowed(error: ValidationError) -> list[ValidationError]:
    """One mistake for each unknown key."""
    if error.validator != "additionalProperties" or not isinstance(error.instance, dict):
        return [error]
    known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
    unknown = [key for key in error.instance if key not in known]
    return [
        ValidationError(_unknown(key, known), path=[*error.absolute_path, key], validator="unknown")
        for key in unknown
    ] or [error]


def _unknown(key: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(str(key), list(known), n=1)
    return "is unknown" + (f"; did you mean `{close[0]}`?" if close else "")


def _words(error: ValidationError) -> str:
    wanted = error.validator_value
    match error.validator:
        case "minimum":
            words = f"must be >= {wanted}"
        case "maximum":
            words = f"must be <= {wanted}"
        case "exclusiveMinimum":
            words = f"must be > {wanted}"
        case "enum":
            words = f"must be one of {', '.join(repr(each) for each in _list(wanted))}"
        case "type":
            kinds = (
                KINDS.get(kind, f"a{'n' * (kind == 'integer')} {kind}") for kind in _list(wanted)
            )
            words = f"must be {' or '.join(kinds)}"
        case "pattern":
            words = f"must match {wanted}"
        case "required":
            missing = [key for key in _list(wanted) if key not in dict(error.instance)]  # type: ignore[call-overload]
            words = f"wants `{missing[0]}`"
        case "anyOf":
            words = "is nothing that may stand here"
        case "not":
            words = f"must not be {error.instance!r}"
        case _:
            words = error.message
    place = ".".join(map(str, error.absolute_path)) or "values"
    return f"{place}: {words}"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
