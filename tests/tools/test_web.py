"""`google_search` and `scrape`: arguments become questions, answers become JSON."""

import json
from typing import Any

import pytest

from jan.errors import InvalidRequest
from jan.tools import web
from jan.tools.provider import Page, Query

SEARCH_ARGUMENTS = {
    "q": "string", "gl": "string", "hl": "string", "location": "string", "num": "integer",
    "tbs": "string", "page": "integer", "autocorrect": "boolean",
}  # fmt: skip


def types_of(schema: dict[str, Any]) -> dict[str, str]:
    return {name: about["type"] for name, about in schema["properties"].items()}


def test_the_tools_take_jan_servers_arguments_and_explain_each() -> None:
    assert types_of(web.SEARCH_SCHEMA) == SEARCH_ARGUMENTS
    assert types_of(web.SCRAPE_SCHEMA) == {"url": "string", "includeMarkdown": "boolean"}
    assert web.SEARCH_SCHEMA["required"] == ["q"]
    assert web.SCRAPE_SCHEMA["required"] == ["url"]
    for schema in (web.SEARCH_SCHEMA, web.SCRAPE_SCHEMA):
        assert all(about["description"].endswith(".") for about in schema["properties"].values())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"q": " cats "}, Query(q="cats")),
        ({"q": "x", "gl": "US", "hl": "EN"}, Query(q="x", gl="us", hl="en")),
        ({"q": "x", "gl": " ", "location": "", "tbs": ""}, Query(q="x")),
        ({"q": "x", "num": 20.0, "page": 2.0}, Query(q="x", num=20, page=2)),
        ({"q": "x", "autocorrect": False}, Query(q="x", autocorrect=False)),
        (
            {"q": "x", "location": "Berlin", "tbs": "qdr:d"},
            Query(q="x", location="Berlin", tbs="qdr:d"),
        ),
    ],
)
def test_arguments_become_a_question(said: dict[str, Any], expected: Query) -> None:
    found = web.query(said)

    assert found == expected
    assert isinstance(found.num, int)


def test_nothing_is_no_question() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        web.query({"q": "  "})

    assert refusal.value.param == "q"


@pytest.mark.parametrize("length", [10, web.MAX_TEXT + 1])
def test_a_page_is_told_as_far_as_a_model_can_read(length: int) -> None:
    document = web._page(Page("x" * length, "y" * length, {"title": "t"}))

    assert document["text"] == "x" * min(length, web.MAX_TEXT)
    assert document["markdown"] == "y" * min(length, web.MAX_TEXT)
    assert document["metadata"] == {"title": "t"}
    assert ("truncated" in document) == (length > web.MAX_TEXT)
    assert json.dumps(document)


def test_a_page_that_was_cut_by_who_read_it_says_so() -> None:
    assert web._page(Page("x", is_cut=True))["truncated"] is True
