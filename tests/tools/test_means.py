"""The toolbox as it is configured: what is listed, who is asked, and what is missing."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from jan import settings
from jan.caller import Caller
from jan.db.engine import Database, connect
from jan.errors import Misconfigured, ToolNotConfigured
from jan.limits.buckets import Buckets
from jan.tools import means
from jan.tools.provider import Page
from jan.tools.toolbox import Toolbox
from jan.usage.schemas import ToolCallRow
from jan.usage.tool_calls import ToolCallRecorder
from tests.conftest import fetch
from tests.fakes import FakeUpstream, Reply, Seen
from tests.tools import providers


class Local:
    """Reads every page the same."""

    name = "here"

    async def scrape(self, url: str, *, include_markdown: bool) -> Page:
        """Read none."""
        return Page(f"Read {url} here", "# Here" if include_markdown else None)

    async def aclose(self) -> None:
        """Close nothing."""


@asynccontextmanager
async def opened(
    database: Database, said: dict[str, Any], rows: list[ToolCallRow] | None = None
) -> AsyncGenerator[Toolbox]:
    loaded = settings.load(said, environ={}).settings
    record = (rows if rows is not None else []).append
    async with means.opened(loaded, Local(), Buckets(database), record) as toolbox:
        yield toolbox


def of_serper(serper: FakeUpstream, key: str = providers.KEY) -> dict[str, Any]:
    return {
        "serper_api_key": key,
        "serper_url": serper.url,
        "serper_scrape_url": f"{serper.url}/scrape",
    }


def names(toolbox: Toolbox) -> list[str]:
    return [tool.name for tool in toolbox.tools()]


async def test_with_nothing_configured_search_is_not_listed_and_says_what_to_set(
    database: Database, caller: Caller
) -> None:
    async with opened(database, {}) as toolbox:
        assert names(toolbox) == ["scrape"]
        with pytest.raises(ToolNotConfigured, match=r"JAN_SERPER_API_KEY .* JAN_SEARXNG_URL"):
            toolbox.find(caller, "google_search")
        page = await toolbox.call(caller, "scrape", {"url": "https://example.com/"})
    assert page.structured == {"text": "Read https://example.com/ here", "metadata": {}}


async def test_what_is_switched_off_is_not_listed_and_says_so(
    database: Database, caller: Caller, serper: FakeUpstream
) -> None:
    off = {"search_provider": "none", "scrape_provider": "none"}
    async with opened(database, {**of_serper(serper), **off}) as toolbox:
        assert names(toolbox) == []
        for name in ("google_search", "scrape"):
            with pytest.raises(ToolNotConfigured, match="to `none`"):
                toolbox.find(caller, name)


async def test_serper_searches_and_reads_where_it_has_a_key(
    database: Database, caller: Caller, serper: FakeUpstream
) -> None:
    async with opened(
        database, {**of_serper(serper), "searxng_url": "http://127.0.0.1:1"}
    ) as toolbox:
        found = await toolbox.call(caller, "google_search", '{"q": "cats", "tbs": "qdr:d"}')
        page = await toolbox.call(
            caller, "scrape", {"url": "https://example.com/", "includeMarkdown": True}
        )

    document = json.loads(found.text)
    assert document == found.structured
    assert document["searchParameters"]["tbs"] == "qdr:d"
    assert document["peopleAlsoAsk"]
    assert json.loads(page.text) == {
        "text": "All about cats",
        "metadata": {"title": "Cats", "og:type": "article"},
        "markdown": "# All about cats",
    }


async def test_searxng_searches_where_it_has_an_address_and_pages_are_read_here(
    database: Database, caller: Caller, searxng: FakeUpstream
) -> None:
    async with opened(database, {"searxng_url": f"{searxng.url}/"}) as toolbox:
        found = await toolbox.call(caller, "google_search", {"q": "cats"})
        page = await toolbox.call(caller, "scrape", {"url": "https://example.com/"})

    assert found.structured["searchParameters"]["engine"] == "searxng"
    assert page.text.startswith('{"text":"Read https://example.com/ here"')


async def test_either_can_be_chosen_where_both_are_configured(
    database: Database, caller: Caller, serper: FakeUpstream, searxng: FakeUpstream
) -> None:
    chosen = {"search_provider": "searxng", "scrape_provider": "local"}
    async with opened(
        database, {**of_serper(serper), "searxng_url": searxng.url, **chosen}
    ) as toolbox:
        await toolbox.call(caller, "google_search", {"q": "cats"})
        await toolbox.call(caller, "scrape", {"url": "https://example.com/"})

    assert (len(searxng.requests), len(serper.requests)) == (1, 0)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"search_provider": "serper"}, "`serper` wants `serper_api_key` too"),
        ({"search_provider": "searxng"}, "`searxng` wants `searxng_url` too"),
        ({"scrape_provider": "serper"}, "`serper` wants `serper_api_key` too"),
        ({"search_provider": "bing"}, "search_provider"),
        ({"searxng_url": "searxng:8080"}, "searxng_url"),
        ({"searxng_url": "http://me:pw@searxng:8080"}, "without user or password"),
        ({"serper_url": "ftp://x"}, "serper_url"),
        ({"tool_calls_per_minute": 0}, "tool_calls_per_minute"),
    ],
)
def test_settings_that_do_not_fit_are_refused(said: dict[str, Any], words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        settings.load(said, environ={})


def test_jan_servers_name_of_the_key_is_known_and_the_key_shown_to_nobody() -> None:
    loaded = settings.load(environ={"SERPER_API_KEY": "my-secret"})

    assert loaded.settings.serper_api_key
    assert loaded.settings.serper_api_key.get_secret_value() == "my-secret"
    assert "my-secret" not in repr(loaded)


@pytest.mark.parametrize(
    "url", ["", " ", "example.com", "ftp://example.com", "file:///etc/passwd", "javascript:x",
            "http://", "https://[", "data:text/html,x"]
)  # fmt: skip
async def test_what_is_no_address_on_the_web_is_not_read(
    database: Database, caller: Caller, serper: FakeUpstream, url: str
) -> None:
    async with opened(database, of_serper(serper)) as toolbox:
        result = await toolbox.call(caller, "scrape", {"url": url})

    assert result.is_error
    assert "url" in result.text
    assert serper.requests == []


@pytest.mark.parametrize(
    ("status", "headers", "words", "code"),
    [
        (429, {"retry_after": "30"}, "takes no more requests", "rate_limit_exceeded"),
        (500, {}, "does not answer as it should", "service_unavailable"),
        (403, {}, "serper_api_key", "misconfigured"),
        (400, {}, "refused the request", "invalid_request"),
    ],
)
async def test_a_provider_in_trouble_is_a_result_and_a_row(  # noqa: PLR0913, PLR0917
    database: Database,
    caller: Caller,
    serper: FakeUpstream,
    status: int,
    headers: dict[str, str],
    words: str,
    code: str,
) -> None:
    async def refuse(_: Seen, reply: Reply) -> None:
        await reply.json({}, status, **headers)

    serper.script("/search", refuse)
    rows: list[ToolCallRow] = []
    async with opened(database, of_serper(serper), rows) as toolbox:
        result = await toolbox.call(caller, "google_search", {"q": "cats"})

    assert result.is_error
    assert words in result.text
    assert providers.KEY not in result.text
    assert (rows[0].outcome, rows[0].error_code) == ("failed", code)
    assert await fetch("SELECT FROM tool_answer") == []


async def test_a_hundred_searches_at_once_are_all_answered_and_written_down(
    database_url: str, caller: Caller, serper: FakeUpstream
) -> None:
    answers: list[str] = []
    recorder = ToolCallRecorder()
    async with connect(database_url, pool_size=5, application_name="t") as database:
        loaded = settings.load(of_serper(serper), environ={}).settings
        async with means.opened(loaded, Local(), Buckets(database), recorder.record) as toolbox:

            async def search(n: int) -> None:
                result = await toolbox.call(caller, "google_search", {"q": f"question {n}"})
                answers.append(result.structured["searchParameters"]["q"])

            with anyio.fail_after(30):
                async with anyio.create_task_group() as group:
                    for n in range(100):
                        group.start_soon(search, n)
        assert await recorder._flush()
        rows = await fetch("SELECT outcome, project_id, response_bytes > 100 FROM tool_call")

    assert sorted(answers) == sorted(f"question {n}" for n in range(100))
    assert sorted(seen.json["q"] for seen in serper.requests) == sorted(answers)
    assert [tuple(row) for row in rows] == [("completed", "proj_1", True)] * 100


async def test_a_hundred_searches_of_a_provider_that_is_down_do_not_storm_it(
    database_url: str, caller: Caller, serper: FakeUpstream
) -> None:
    async def fail(_: Seen, reply: Reply) -> None:
        await reply.json({}, 500)

    serper.script("/search", fail)
    async with connect(database_url, pool_size=5, application_name="t") as database:
        rows: list[ToolCallRow] = []
        async with opened(database, of_serper(serper), rows) as toolbox:

            async def search(n: int) -> None:
                await toolbox.call(caller, "google_search", {"q": f"question {n}"})

            with anyio.fail_after(30):
                async with anyio.create_task_group() as group:
                    for n in range(100):
                        group.start_soon(search, n)

    assert [row.outcome for row in rows] == ["failed"] * 100
    assert len(serper.requests) <= 100
