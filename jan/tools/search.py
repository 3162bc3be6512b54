"""Searching the web and reading pages, by whatever provider there is or what it said lately."""

from dataclasses import asdict

from jan.tools import answers, provider
from jan.tools.answers import Answers
from jan.tools.provider import Page, Query, Results, Scraper, SearchProvider


class Search:
    """Searches the web."""

    def __init__(self, searching: SearchProvider, kept: Answers) -> None:
        self._provider = searching
        self._kept = kept

    async def find(self, query: Query) -> Results:
        """Ask the provider, or tell what it said to the same question a while ago.

        Raises:
            JanError: as `Line.ask`.
        """
        name, variant = self._provider.name, self._provider.variant
        key = answers.key("search", name, variant, asked=query.parameters)
        kept = await self._kept.get(key)
        if kept is not None:
            return provider.results(query, kept.pop("engine"), kept)
        found = await self._provider.search(query)
        document = dict(found.document)
        engine = document.pop("searchParameters")["engine"]
        await self._kept.put(key, name, {**document, "engine": engine})
        return found


class Pages:
    """Reads pages."""

    def __init__(self, scraper: Scraper, kept: Answers) -> None:
        self._scraper = scraper
        self._kept = kept

    async def read(self, url: str, *, include_markdown: bool) -> Page:
        """Read a page, or tell how it was a while ago.

        Raises:
            JanError: it can't be read; says why.
        """
        asked = {"url": url, "markdown": include_markdown}
        key = answers.key("page", self._scraper.name, asked=asked)
        kept = await self._kept.get(key)
        if kept is not None:
            return Page(**kept)
        page = await self._scraper.scrape(url, include_markdown=include_markdown)
        await self._kept.put(key, self._scraper.name, asdict(page))
        return page
