"""Pages that Jan reads itself: as any page is told, and within what may be fetched."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from jan import settings
from jan.caller import Caller
from jan.db.engine import Database
from jan.limits.buckets import Buckets
from jan.net.guard import Guard
from jan.tools import means
from jan.tools.local import Local
from jan.tools.page import PageReader
from jan.tools.toolbox import Result
from jan.usage.schemas import ToolCallRow
from tests.fakes import FakeUpstream, Reply, Seen
from tests.tools import providers

HTML = b"""<!doctype html><html><head><title>All about cats</title></head><body><article>
<h1>All about cats</h1><p>The cat is a small carnivore that people keep, and that keeps people.</p>
<p>It sleeps for most of the day, and hunts for the rest of it.</p></article></body></html>"""


@pytest.fixture
async def site() -> AsyncIterator[FakeUpstream]:
    async def page(_: Seen, reply: Reply) -> None:
        await reply.whole(HTML, 200, content_type="text/html; charset=utf-8")

    fake = await providers.started(cats=page)
    yield fake
    await fake.kill()


async def scraped(
    database: Database, caller: Caller, rows: list[ToolCallRow], url: str, **said: Any
) -> Result:
    loaded = settings.load(said, environ={}).settings
    async with Guard.configured(loaded) as guard:
        local = Local(PageReader(guard))
        async with means.opened(loaded, local, Buckets(database), rows.append) as toolbox:
            return await toolbox.call(caller, "scrape", {"url": url, "includeMarkdown": True})


async def test_a_page_is_read_here_where_no_provider_does(
    database: Database, caller: Caller, site: FakeUpstream
) -> None:
    rows: list[ToolCallRow] = []
    url = f"{site.url}/cats"

    result = await scraped(database, caller, rows, url, outbound_allow=f"127.0.0.1:{site.port}")

    page = result.structured
    assert "small carnivore" in page["text"]
    assert page["markdown"].startswith("# All about cats")
    assert (page["metadata"]["title"], page["metadata"]["url"]) == ("All about cats", url)
    assert rows[0].outcome == "completed"


async def test_what_may_not_be_fetched_is_told_to_the_model_and_never_asked(
    database: Database, caller: Caller, site: FakeUpstream
) -> None:
    rows: list[ToolCallRow] = []

    result = await scraped(database, caller, rows, f"{site.url}/cats")

    assert result.is_error
    assert (rows[0].outcome, rows[0].error_code) == ("failed", "url_refused")
    assert site.connections == 0
