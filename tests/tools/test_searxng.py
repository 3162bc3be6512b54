"""SearXNG: asked in its own words, and its answers are in Serper's."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from jan.errors import Misconfigured, Unavailable
from jan.tools.provider import Query
from jan.tools.searxng import Searxng
from tests.fakes import FakeUpstream, Reply, Seen
from tests.tools import providers


@asynccontextmanager
async def made(server: FakeUpstream, safe_search: str | None = None) -> AsyncGenerator[Searxng]:
    made = Searxng(server.url, safe_search=safe_search, timeout_s=5)
    try:
        yield made
    finally:
        await made.aclose()


@pytest.fixture
async def asking(searxng: FakeUpstream) -> AsyncIterator[Searxng]:
    async with made(searxng) as asking:
        yield asking


def answering(server: FakeUpstream, document: Any, status: int = 200) -> None:
    async def answer(_: Seen, reply: Reply) -> None:
        await reply.json(document, status)

    server.script("/search", answer)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {}),
        ({"gl": "us"}, {}),
        ({"hl": "de"}, {"language": "de"}),
        ({"hl": "de", "gl": "at"}, {"language": "de-AT"}),
        ({"page": 3}, {"pageno": "3"}),
        ({"tbs": "qdr:h"}, {"time_range": "day"}),
        ({"tbs": "qdr:w"}, {"time_range": "week"}),
        ({"tbs": "qdr:m6"}, {"time_range": "month"}),
        ({"tbs": "qdr:"}, {}),
        ({"tbs": "li:1"}, {}),
        ({"location": "Berlin", "autocorrect": False}, {}),
    ],
)
async def test_a_query_is_asked_in_its_words(
    searxng: FakeUpstream, asking: Searxng, said: dict[str, Any], expected: dict[str, str]
) -> None:
    await asking.search(Query(q="cats & dogs", **said))

    (seen,) = searxng.requests
    assert seen.method == "GET"
    assert providers.asked(seen) == {
        "q": "cats & dogs", "format": "json", "pageno": "1", **expected
    }  # fmt: skip


async def test_what_is_left_out_is_the_operators_choice(searxng: FakeUpstream) -> None:
    async with made(searxng, "strict") as asking:
        await asking.search(Query(q="cats"))

    assert providers.asked(searxng.requests[0])["safesearch"] == "2"


async def test_an_answer_has_the_shape_of_serpers(searxng: FakeUpstream, asking: Searxng) -> None:
    found = await asking.search(Query(q="cats", hl="en"))

    assert found.document == {
        "searchParameters": {
            "q": "cats", "hl": "en", "num": 10, "page": 1, "autocorrect": True,
            "type": "search", "engine": "searxng",
        },
        "organic": [
            {"title": "Cat", "link": "https://en.wikipedia.org/wiki/Cat", "snippet": "The cat…",
             "date": "2026-11-01T00:00:00", "position": 1},
            {"title": "Cats", "link": "https://example.com/cats", "snippet": "Pets",
             "position": 2},
        ],
        "knowledgeGraph": {
            "title": "Cat", "description": "Domesticated species",
            "website": "https://en.wikipedia.org/wiki/Cat", "attributes": {"Class": "Mammalia"},
        },
        "answerBox": {"answer": "A small carnivore", "link": "https://example.com/a"},
        "relatedSearches": [{"query": "kittens"}],
        "images": [
            {"title": "A cat", "imageUrl": "https://example.com/cat.png",
             "link": "https://example.com/cat"}
        ],
        "news": [
            {"title": "Cat found", "link": "https://news.example.com/cat", "snippet": "Today"}
        ],
    }  # fmt: skip


async def test_no_more_are_told_than_were_asked_for(searxng: FakeUpstream, asking: Searxng) -> None:
    pages = [{"url": f"https://example.com/{n}", "title": "x"} for n in range(30)]
    answering(searxng, {"results": pages})

    found = await asking.search(Query(q="cats", num=7))

    assert [each["position"] for each in found.document["organic"]] == list(range(1, 8))


async def test_an_answer_may_be_a_text_as_it_was_once(
    searxng: FakeUpstream, asking: Searxng
) -> None:
    answering(searxng, {"results": [], "answers": ["42"]})

    found = await asking.search(Query(q="6*7"))

    assert found.document["answerBox"] == {"answer": "42"}


@pytest.mark.parametrize(
    "strange",
    [
        {},
        {"results": None},
        {"results": ["x", 1, {}, {"url": 5, "title": 5, "content": []}]},
        {"results": [], "infoboxes": [{}], "answers": {}, "suggestions": [None, 1]},
        {"results": {}, "infoboxes": "x", "answers": 1, "unresponsive_engines": "x"},
        {"results": [], "unresponsive_engines": [[], None]},
    ],
)
async def test_an_answer_of_another_shape_finds_nothing(
    searxng: FakeUpstream, asking: Searxng, strange: dict[str, Any]
) -> None:
    answering(searxng, strange)

    assert (await asking.search(Query(q="cats"))).document["organic"] == []


async def test_nothing_found_because_nobody_looked_is_an_error(
    searxng: FakeUpstream, asking: Searxng
) -> None:
    answering(searxng, providers.searxng_found(results=[]))

    with pytest.raises(Unavailable, match=r"engines answered \(google\)"):
        await asking.search(Query(q="cats"))


async def test_one_that_gives_no_json_is_the_operators_to_mend(
    searxng: FakeUpstream, asking: Searxng
) -> None:
    answering(searxng, "Forbidden", 403)

    with pytest.raises(Misconfigured, match=r"`json` under `search.formats`"):
        await asking.search(Query(q="cats"))
