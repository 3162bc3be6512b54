"""Kept answers: the same question is asked once, and another one never gets its answer."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from jan.db.engine import Database, connect
from jan.tools import answers, jobs, provider
from jan.tools.answers import Answers
from jan.tools.provider import Page, Query, Results
from jan.tools.search import Pages, Search
from tests.conftest import execute, fetch, locking

QUERY = Query(q="cats")
EXPIRE = "UPDATE tool_answer SET expires_at = now() - interval '1 second'"


@dataclass
class Asked:
    """A provider that answers with how often it was asked."""

    name: str = "Numbers"
    variant: str = "http://numbers"
    queries: list[Any] = field(default_factory=list[Any])
    padding: str = ""

    async def search(self, query: Query) -> Results:
        """Count."""
        self.queries.append(query)
        title = f"{len(self.queries)}{self.padding}"
        page = {"title": title, "link": "https://example.com/"}
        return provider.results(query, "numbers", {"organic": [page]})

    async def scrape(self, url: str, *, include_markdown: bool) -> Page:
        """Count."""
        self.queries.append(url)
        text = str(len(self.queries))
        return Page(text, f"# {text}" if include_markdown else None, {"title": "x"})

    async def aclose(self) -> None:
        """Close nothing."""


def searching(asked: Asked, lifetime_s: float = 60) -> Search:
    return Search(asked, Answers(lifetime_s))


async def test_the_same_question_is_asked_once(database: Database) -> None:
    asked = Asked()

    first = await searching(asked).find(QUERY)
    second = await searching(asked).find(Query(q="  cats "))

    assert len(asked.queries) == 1
    assert second.document["organic"] == first.document["organic"]
    assert second.document["searchParameters"] == {
        **first.document["searchParameters"], "q": "  cats "
    }  # fmt: skip


async def test_spaces_and_how_letters_are_composed_make_no_other_question(
    database: Database,
) -> None:
    asked = Asked()

    await searching(asked).find(Query(q="caf\u00e9  noir"))
    await searching(asked).find(Query(q="cafe\u0301 noir"))

    assert len(asked.queries) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"q": "Cats"},
        {"gl": "us"},
        {"gl": "de"},
        {"hl": "de"},
        {"location": "Berlin"},
        {"num": 20},
        {"page": 2},
        {"tbs": "qdr:d"},
        {"autocorrect": False},
    ],
)
async def test_another_question_never_gets_its_answer(
    database: Database, other: dict[str, Any]
) -> None:
    asked = Asked()
    await searching(asked).find(QUERY)

    found = await searching(asked).find(replace(QUERY, **other))

    assert found.document["organic"][0]["title"] == "2"


@pytest.mark.parametrize(
    "other", [{"name": "Letters"}, {"variant": "http://numbers strict"}], ids=str
)
async def test_another_provider_or_one_that_is_set_up_otherwise_is_asked(
    database: Database, other: dict[str, Any]
) -> None:
    await searching(Asked()).find(QUERY)

    elsewhere = replace(Asked(), **other)
    await searching(elsewhere).find(QUERY)

    assert len(elsewhere.queries) == 1


async def test_an_old_answer_is_asked_anew_and_replaced(database: Database) -> None:
    asked = Asked()
    await searching(asked).find(QUERY)
    await execute(EXPIRE)

    titles = [
        (await searching(asked).find(QUERY)).document["organic"][0]["title"] for _ in range(2)
    ]

    assert titles == ["2", "2"]


async def test_who_wants_nothing_kept_has_nothing_kept(database: Database) -> None:
    asked = Asked()

    for _ in range(2):
        await searching(asked, lifetime_s=0).find(QUERY)

    assert len(asked.queries) == 2
    assert await fetch("SELECT FROM tool_answer") == []


async def test_the_question_is_not_kept(database: Database) -> None:
    await searching(Asked()).find(Query(q="my-private-question", location="my-private-place"))

    ((row,),) = await fetch("SELECT convert_from(answer, 'utf8') || t::text FROM tool_answer AS t")
    assert "my-private" not in row


async def test_very_long_answers_are_not_kept(database: Database) -> None:
    await searching(Asked(padding="x" * answers.MAX_ANSWER_BYTES)).find(QUERY)

    assert await fetch("SELECT FROM tool_answer") == []


async def test_without_the_database_one_asks_all_the_same() -> None:
    asked = Asked()
    async with connect("postgresql://x@127.0.0.1:1/x", pool_size=1, application_name="t"):
        found = await searching(asked).find(QUERY)

    assert found.document["organic"][0]["title"] == "1"


async def test_a_database_that_hangs_holds_nobody_up_for_long(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "TIMEOUT_S", 0.1)
    asked = Asked()
    async with locking(database, "LOCK TABLE tool_answer IN ACCESS EXCLUSIVE MODE"):
        await searching(asked).find(QUERY)

    assert len(asked.queries) == 1


async def test_pages_are_kept_with_and_without_markdown_apart(database: Database) -> None:
    asked = Asked()
    pages = Pages(asked, Answers(60))

    plain = [await pages.read("https://a.example/", include_markdown=False) for _ in range(2)]
    marked = [await pages.read("https://a.example/", include_markdown=True) for _ in range(2)]
    other = await pages.read("https://b.example/", include_markdown=False)

    assert plain == [Page("1", None, {"title": "x"})] * 2
    assert marked == [Page("2", "# 2", {"title": "x"})] * 2
    assert other.text == "3"


async def test_a_job_removes_what_is_old_and_of_the_rest_what_does_not_fit(
    database: Database,
) -> None:
    asked = Asked()
    for number in range(5):
        await searching(asked).find(Query(q=f"question {number}"))
    await execute(f"{EXPIRE} WHERE key = (SELECT key FROM tool_answer ORDER BY created_at LIMIT 1)")
    ((size,),) = await fetch("SELECT max(size_bytes) FROM tool_answer")

    await jobs.job(3 * size).handler(None)
    kept = await fetch("SELECT convert_from(answer, 'utf8') FROM tool_answer ORDER BY created_at")
    await jobs.job(0).handler(None)

    assert [row[0].partition('"title":"')[2][0] for row in kept] == ["3", "4", "5"]
    assert await fetch("SELECT FROM tool_answer") == []
