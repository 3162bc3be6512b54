"""Arguments against schemas: what does not fit is named, and no schema does harm."""

import time
from contextlib import suppress
from typing import Any

import pytest

from jan.errors import InvalidRequest
from jan.tools import arguments
from jan.tools.arguments import Schema
from jan.tools.web import SCRAPE_SCHEMA, SEARCH_SCHEMA
from tests.tools import providers

NESTED = {
    "type": "object",
    "properties": {
        "filters": {
            "type": "array",
            "maxItems": 3,
            "items": {"type": "object", "required": ["name"], "properties": {"name": {}}},
        },
        "unit": {"enum": ["km", "mi"]},
        "size": {"type": ["integer", "null"], "maximum": 5},
        "free": {"type": "object"},
    },
}


@pytest.mark.parametrize(
    ("schema", "said", "param", "words"),
    [
        (SEARCH_SCHEMA, {}, "q", "The argument `q` is missing."),
        (SEARCH_SCHEMA, {"q": 5}, "q", "`q` must be of type string"),
        (SEARCH_SCHEMA, {"q": ""}, "q", "at least 1 characters"),
        (SEARCH_SCHEMA, {"q": "x" * 2049}, "q", "at most 2048 characters"),
        (SEARCH_SCHEMA, {"q": "x", "num": 0}, "num", "`num` must be at least 1"),
        (SEARCH_SCHEMA, {"q": "x", "num": "10"}, "num", "`num` must be of type integer"),
        (SEARCH_SCHEMA, {"q": "x", "page": 1.5}, "page", "integer"),
        (SEARCH_SCHEMA, {"q": "x", "autocorrect": "no"}, "autocorrect", "boolean"),
        (SEARCH_SCHEMA, {"q": "x", "query": "y"}, "query", "no argument `query`, but `q`"),
        (SCRAPE_SCHEMA, {"URL": "x"}, None, ""),
        (NESTED, {"filters": [{"name": 1}, {}]}, "filters[1].name", "`filters[1].name` is missing"),
        (NESTED, {"filters": [{}, {}, {}, {}]}, None, ""),
        (NESTED, {"unit": "m"}, "unit", "`unit` must be one of km, mi"),
        (NESTED, {"size": "x"}, "size", "type integer, null"),
        (NESTED, {"size": 6}, "size", "at most 5"),
    ],
)
def test_the_argument_that_does_not_fit_is_named(
    schema: dict[str, Any], said: dict[str, Any], param: str | None, words: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        Schema(schema).check(said)

    assert words in refusal.value.message
    if param is not None:
        assert refusal.value.param == param


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (SEARCH_SCHEMA, {"q": "x", "num": 10.0, "page": 2}),
        (NESTED, {"filters": [{"name": None}], "free": {"anything": [1, {}]}, "other": 1}),
        ({}, {"a": 1}),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
          "properties": {"a": {"items": [{"type": "string"}]}}}, {"a": ["x", 1]}),
    ],
)  # fmt: skip
def test_what_fits_passes(schema: dict[str, Any], said: dict[str, Any]) -> None:
    Schema(schema).check(said)


def test_a_nested_value_is_not_repeated_at_length() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        Schema({"properties": {"a": {"enum": ["x" * 1000]}}}).check({"a": "y" * 100_000})

    assert len(refusal.value.message) < 1000


@pytest.mark.parametrize(
    "said",
    ["", "{", "[]", "null", '"x"', "{'a': 1}", '{"a": NaN}', "[" * 5000, '{"a":' * 5000,
     '{"a": "\\ud800"}', '{"a": "\ud800"}', '{"a": "' + "x" * 300_000 + '"}'],
    ids=range(12),
)  # fmt: skip
def test_what_is_no_object_is_refused(said: str) -> None:
    if said == "":
        assert arguments.read(said) == ({}, 0)  # what models write for no arguments
        return
    with pytest.raises(InvalidRequest):
        arguments.read(said)


@pytest.mark.parametrize("said", [{"a": "\ud800"}, {"a": object()}, {"a": "x" * 300_000}])
def test_arguments_that_are_no_json_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        arguments.read(said)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"properties": []},
        {"required": "q"},
        {"items": 5},
        {"description": "x" * 70_000},
        {"properties": {f"p{n}": {"type": "string"} for n in range(5000)}},
    ],
    ids=range(6),
)
def test_a_schema_that_is_none_or_too_long_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="schema"):
        Schema(schema)


def test_a_schema_that_is_no_json_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(10_000):
        deep = {"items": deep}

    for document in ({"title": "\ud800"}, {"title": object()}, deep):
        with pytest.raises(InvalidRequest, match="schema"):
            arguments.schema(document)


def doubling(depth: int) -> dict[str, Any]:
    """A few lines that are a million steps."""
    definitions: dict[str, Any] = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(depth)
    }
    definitions[f"d{depth}"] = {"type": "object"}
    return {"$ref": "#/$defs/d0", "$defs": definitions}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (doubling(40), {"a": 1}),
        ({"$ref": "#"}, {"a": 1}),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
          "$ref": "#/$defs/a"}, {"a": 1}),
        ({"properties": {"a": {"$ref": "#/nowhere"}}}, {"a": 1}),
        ({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 40 + "!"}),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False},
         {"a" * 40 + "!": 1}),
        ({"patternProperties": {"^(a+)+$": {}}, "unevaluatedProperties": False},
         {"a" * 40 + "!": 1}),
        ({"properties": {"a": {"uniqueItems": True}}}, {"a": [{"n": n} for n in range(20_000)]}),
        ({"properties": {"a": {"items": {"allOf": [{"type": "integer"}] * 2000}}}},
         {"a": list(range(50_000))}),
        ({"properties": {"a": {"anyOf": [{"required": ["b"] * 5000}] * 10}}},
         {"a": {}}),
    ],
    ids=range(10),
)  # fmt: skip
def test_no_schema_takes_long(schema: dict[str, Any], said: dict[str, Any]) -> None:
    try:
        checking = Schema(schema)
    except InvalidRequest:
        return
    began_s = time.process_time()

    with suppress(InvalidRequest):
        checking.check(said)

    assert time.process_time() - began_s < 2


async def test_no_schema_makes_us_fetch_anything() -> None:
    server = await providers.started(schema=providers.searxng_search)
    schema = {"properties": {"a": {"$ref": f"{server.url}/schema"}}, "required": ["b"]}

    with pytest.raises(InvalidRequest, match="`b` is missing"):
        Schema(schema).check({})
    Schema(schema).check({"a": 1, "b": 2})

    assert server.connections == 0
    await server.kill()
