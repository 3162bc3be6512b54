"""The toolbox as the settings say it, for as long as the process serves."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from jan.limits.buckets import Buckets
from jan.settings import Settings
from jan.tools import web
from jan.tools.answers import Answers
from jan.tools.provider import Scraper
from jan.tools.search import Pages, Search
from jan.tools.searxng import Searxng
from jan.tools.serper import Serper
from jan.tools.toolbox import Tool, Toolbox
from jan.usage.schemas import ToolCallRow
from jan.valkey.memory import Memory

T = TypeVar("T")

NO_SEARCH = (
    "Its operator sets JAN_SERPER_API_KEY to a key of serper.dev, or JAN_SEARXNG_URL to the address"
    " of a SearXNG."
)
SEARCH_IS_OFF = "Its operator has set JAN_SEARCH_PROVIDER to `none`."
SCRAPE_IS_OFF = "Its operator has set JAN_SCRAPE_PROVIDER to `none`."


@asynccontextmanager
async def opened(
    settings: Settings,
    local: Scraper,
    buckets: Buckets,
    record: Callable[[ToolCallRow], None],
    memory: Memory | None = None,
) -> AsyncGenerator[Toolbox]:
    """Put the configured tools together, and close their connections at the end.

    `local` reads pages without a provider; `memory` is where answers are kept, if there is any.
    """
    kept = Answers(settings.search_cache_s, memory)
    tools: list[Tool] = []
    missing: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        serper, searxng = _serper(settings), _searxng(settings)
        for provider in (serper, searxng, local):
            if provider is not None:
                stack.push_async_callback(provider.aclose)
        searching = _chosen(settings.search_provider, serper=serper, searxng=searxng)
        if searching is not None:
            tools.append(web.google_search(Search(searching, kept)))
        else:
            is_off = settings.search_provider == "none"
            missing[web.SEARCH] = SEARCH_IS_OFF if is_off else NO_SEARCH
        scraping = _chosen(settings.scrape_provider, serper=serper, local=local)
        if scraping is not None:
            tools.append(web.scrape(Pages(scraping, kept)))
        else:
            missing[web.SCRAPE] = SCRAPE_IS_OFF
        yield Toolbox(
            tools,
            buckets=buckets,
            record=record,
            calls_per_minute=settings.tool_calls_per_minute,
            timeout_s=settings.tool_timeout_s,
            missing=missing,
        )


def _chosen(name: str, **known: T | None) -> T | None:
    """Find what is named; `auto` is the first that is there."""
    if name == "auto":
        return next((provider for provider in known.values() if provider is not None), None)
    return known.get(name)


def _serper(settings: Settings) -> Serper | None:
    if settings.serper_api_key is None:
        return None
    return Serper(
        settings.serper_api_key,
        url=settings.serper_url,
        scrape_url=settings.serper_scrape_url,
        timeout_s=settings.search_timeout_s,
    )


def _searxng(settings: Settings) -> Searxng | None:
    if settings.searxng_url is None:
        return None
    return Searxng(
        settings.searxng_url,
        safe_search=settings.searxng_safe_search,
        timeout_s=settings.search_timeout_s,
    )
