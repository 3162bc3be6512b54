"""Pages that Jan reads itself, through the outbound guard."""

from jan.tools.page import PageReader
from jan.tools.provider import Page


class Local:
    """Reads pages, without a provider."""

    name = "Jan"

    def __init__(self, reader: PageReader) -> None:
        self._reader = reader

    async def scrape(self, url: str, *, include_markdown: bool) -> Page:
        """Read a page.

        Raises:
            UrlRefused, UrlNotFetched, Unsupported: as `PageReader.read`.
        """
        read = await self._reader.read(url)
        return Page(
            text=read.text,
            markdown=read.markdown if include_markdown else None,
            metadata={**read.metadata, "url": read.url},
            is_cut=read.is_cut,
        )

    async def aclose(self) -> None:
        """Read no more."""
        self._reader.close()
