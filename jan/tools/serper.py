"""Serper: Google's results, and pages read by Serper's own machines.

Source: https://serper.dev
"""

from typing import Any

from pydantic import SecretStr

from jan.tools import provider
from jan.tools.line import Line
from jan.tools.provider import Page, Query, Results

NAME = "Serper"
MAX_RESULTS_BYTES = 2 * 1024 * 1024
"""A hundred results have some 100 KB."""
MAX_PAGE_BYTES = 16 * 1024 * 1024
COUNTRY = "us"
"""Where the query names none."""
NOT_LET_IN = "Its operator looks at the setting `serper_api_key`."


class Serper:
    """Searches and scrapes."""

    name = NAME

    def __init__(self, key: SecretStr, *, url: str, scrape_url: str, timeout_s: float) -> None:
        self._url = url
        self._scrape_url = scrape_url
        self.variant = url

        def line(max_answer_bytes: int) -> Line:
            return Line(
                NAME,
                timeout_s=timeout_s,
                max_answer_bytes=max_answer_bytes,
                not_let_in=NOT_LET_IN,
                headers={"x-api-key": key.get_secret_value()},
            )

        self._searching = line(MAX_RESULTS_BYTES)
        self._scraping = line(MAX_PAGE_BYTES)

    async def search(self, query: Query) -> Results:
        """Ask Google, with all that the query says."""
        asked = {"gl": COUNTRY, **query.parameters}
        found = await self._searching.ask("POST", f"{self._url}/search", json=asked)
        found.pop("credits", None)  # the operator's, not who asks
        found.pop("searchParameters", None)
        return provider.results(query, "google", found)

    async def scrape(self, url: str, *, include_markdown: bool) -> Page:
        """Read a page."""
        asked = {"url": url, "includeMarkdown": include_markdown}
        found = await self._scraping.ask("POST", self._scrape_url, json=asked)
        metadata = found.get("metadata")
        return Page(
            text=_text(found.get("text")),
            markdown=_text(found.get("markdown")) if include_markdown else None,
            metadata=metadata if isinstance(metadata, dict) else {},
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._searching.aclose()
        await self._scraping.aclose()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
