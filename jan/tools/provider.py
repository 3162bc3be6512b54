"""What searches the web and reads pages: one question and one answer, whoever gives it.

The shapes are Serper's, which are Jan's own: other providers' answers are mapped to them.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question to a search engine. None: nothing is said of it."""

    q: str
    gl: str | None = None
    """Country, two letters."""
    hl: str | None = None
    """Language, two letters."""
    location: str | None = None
    num: int = 10
    page: int = 1
    tbs: str | None = None
    """Google's word for a time: `qdr:d` is the last day."""
    autocorrect: bool = True

    @property
    def parameters(self) -> Json:
        """What is said, by the provider's names."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Source:
    """A page that was found."""

    title: str
    url: str
    snippet: str


@dataclass(frozen=True, slots=True)
class Results:
    """What was found: `searchParameters`, `organic`, and whatever else the provider knows."""

    document: Json

    @property
    def sources(self) -> list[Source]:
        """The pages, in their order, to be cited."""
        return [
            Source(str(found.get("title") or ""), found["link"], str(found.get("snippet") or ""))
            for found in self.document["organic"]
        ]


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was read."""

    text: str
    markdown: str | None = None
    """None: nobody asked for it."""
    metadata: Json = field(default_factory=dict[str, Any])
    is_cut: bool = False
    """Whether it goes on: only the beginning is here."""


class SearchProvider(Protocol):
    """Searches. Errors are those of `jan.tools.line`."""

    name: str
    variant: str
    """What else its answers depend on than the query: where it is, how it is set up."""

    async def search(self, query: Query) -> Results:
        """Ask."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


class Scraper(Protocol):
    """Reads pages."""

    name: str

    async def scrape(self, url: str, *, include_markdown: bool) -> Page:
        """Read one.

        Raises:
            JanError: it can't be read; says why.
        """
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


def results(query: Query, engine: str, document: Json) -> Results:
    """Put an answer into its shape: what is no page of the web is left out."""
    listed = document.get("organic")
    organic = [found for found in (listed if isinstance(listed, list) else []) if _is_page(found)]
    parameters = {**query.parameters, "type": "search", "engine": engine}
    return Results({"searchParameters": parameters, **document, "organic": organic})


def _is_page(found: Any) -> bool:
    link = found.get("link") if isinstance(found, dict) else None
    return isinstance(link, str) and is_web(link)


def is_web(url: str) -> bool:
    """Whether it is an address on the web: no script, no file."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
