"""Serper: all that a query says is asked, and all that matters of the answer is kept."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from jan.errors import Misconfigured
from jan.tools.provider import Query
from jan.tools.serper import Serper
from tests.fakes import FakeUpstream, Reply, Seen
from tests.tools import providers


@asynccontextmanager
async def made(server: FakeUpstream, key: str = providers.KEY) -> AsyncGenerator[Serper]:
    made = Serper(SecretStr(key), url=server.url, scrape_url=f"{server.url}/scrape", timeout_s=5)
    try:
        yield made
    finally:
        await made.aclose()


@pytest.fixture
async def asking(serper: FakeUpstream) -> AsyncIterator[Serper]:
    async with made(serper) as asking:
        yield asking


async def test_everything_that_a_query_says_is_asked(serper: FakeUpstream, asking: Serper) -> None:
    query = Query(
        q="cats", gl="de", hl="de", location="Berlin", num=20, page=3, tbs="qdr:w",
        autocorrect=False,
    )  # fmt: skip

    await asking.search(query)

    (seen,) = serper.requests
    assert (seen.method, seen.target) == ("POST", "/search")
    assert seen.headers["x-api-key"] == providers.KEY
    assert seen.json == {
        "q": "cats", "gl": "de", "hl": "de", "location": "Berlin", "num": 20, "page": 3,
        "tbs": "qdr:w", "autocorrect": False,
    }  # fmt: skip


async def test_what_is_not_said_has_jan_servers_defaults(
    serper: FakeUpstream, asking: Serper
) -> None:
    await asking.search(Query(q="cats"))

    (seen,) = serper.requests
    assert seen.json == {"q": "cats", "gl": "us", "num": 10, "page": 1, "autocorrect": True}


async def test_all_that_was_found_is_told_but_what_it_cost_and_what_is_no_page(
    serper: FakeUpstream,
    asking: Serper,
) -> None:
    found = await asking.search(Query(q="cats"))

    expected = providers.serper_found()
    document = dict(found.document)
    assert document.pop("searchParameters")["q"] == "cats"
    assert document.pop("organic") == [expected["organic"][0], expected["organic"][2]]
    assert document == {
        name: expected[name]
        for name in ("knowledgeGraph", "answerBox", "peopleAlsoAsk", "relatedSearches")
    }
    assert [(each.title, each.url, each.snippet) for each in found.sources] == [
        ("Cat", "https://en.wikipedia.org/wiki/Cat", "The cat…"),
        ("Cats", "https://example.com/cats", ""),
    ]


@pytest.mark.parametrize("organic", [None, {}, "x", [1, None, {"link": 5}, {"title": "x"}]])
async def test_results_of_another_shape_are_none(
    serper: FakeUpstream, asking: Serper, organic: Any
) -> None:
    async def strange(_: Seen, reply: Reply) -> None:
        await reply.json({"organic": organic})

    serper.script("/search", strange)

    assert (await asking.search(Query(q="cats"))).document["organic"] == []


async def test_a_page_is_read_with_its_markdown_if_that_is_asked(
    serper: FakeUpstream, asking: Serper
) -> None:
    plain = await asking.scrape("https://example.com/", include_markdown=False)
    marked = await asking.scrape("https://example.com/", include_markdown=True)

    asked = [seen.json for seen in serper.requests]
    assert asked == [
        {"url": "https://example.com/", "includeMarkdown": False},
        {"url": "https://example.com/", "includeMarkdown": True},
    ]
    assert (plain.text, plain.markdown) == ("All about cats", None)
    assert marked.markdown == "# All about cats"
    assert marked.metadata == {"title": "Cats", "og:type": "article"}


async def test_a_wrong_key_is_the_operators_to_mend_and_shown_to_nobody(
    serper: FakeUpstream,
) -> None:
    async with made(serper, "wrong-secret") as asking:
        with pytest.raises(Misconfigured, match="serper_api_key") as refusal:
            await asking.search(Query(q="cats"))

    assert "wrong-secret" not in refusal.value.message
