"""SearXNG: a search engine of one's own that asks others. Its answers are mapped to Serper's shape.

Source: https://docs.searxng.org/dev/search_api.html
"""

from collections.abc import Iterable
from typing import Any

from jan.errors import Unavailable
from jan.tools import provider
from jan.tools.line import Line
from jan.tools.provider import Json, Query, Results

NAME = "SearXNG"
MAX_RESULTS_BYTES = 4 * 1024 * 1024
NOT_LET_IN = "Its `settings.yml` has to list `json` under `search.formats`."

TIME_RANGES = {"h": "day", "d": "day", "w": "week", "m": "month", "y": "year"}
"""Of Google's `qdr`. SearXNG has no hour."""
SAFE_SEARCH = {"off": "0", "moderate": "1", "strict": "2"}


class Searxng:
    """Searches."""

    name = NAME

    def __init__(self, url: str, *, safe_search: str | None, timeout_s: float) -> None:
        """Make one. `safe_search` is a word of `SAFE_SEARCH`; None: as the instance is set up."""
        self._url = url
        self._safe_search = safe_search
        self.variant = f"{url} {safe_search}"
        self._line = Line(
            NAME, timeout_s=timeout_s, max_answer_bytes=MAX_RESULTS_BYTES, not_let_in=NOT_LET_IN
        )

    async def search(self, query: Query) -> Results:
        """Ask, with what SearXNG has a word for: it knows neither a location nor autocorrection."""
        found = await self._line.ask("GET", f"{self._url}/search", params=self._params(query))
        document = _document(found, query.num)
        if not document["organic"] and (silent := _texts(found.get("unresponsive_engines"))):
            # Nothing was found because nobody looked: that is no answer to keep, or to believe.
            raise Unavailable(f"None of SearXNG's engines answered ({', '.join(silent)}).")
        return provider.results(query, "searxng", document)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._line.aclose()

    def _params(self, query: Query) -> dict[str, str]:
        params = {"q": query.q, "format": "json", "pageno": str(query.page)}
        if query.hl is not None:
            country = f"-{query.gl.upper()}" if query.gl else ""
            params["language"] = f"{query.hl}{country}"
        if (range_ := _time_range(query.tbs)) is not None:
            params["time_range"] = range_
        if self._safe_search is not None:
            params["safesearch"] = SAFE_SEARCH[self._safe_search]
        return params


def _time_range(tbs: str | None) -> str | None:
    named, _, unit = (tbs or "").partition(":")
    return TIME_RANGES.get(unit[:1]) if named == "qdr" else None


def _document(found: Json, num: int) -> Json:
    by_category: dict[str, list[Json]] = {"general": [], "images": [], "news": []}
    for each in _objects(found.get("results")):
        if not provider.is_web(_text(each.get("url"))):
            continue
        category = each.get("category")
        by_category.get(str(category), by_category["general"]).append(each)
    organic = [_organic(each) for each in by_category["general"][:num]]
    document: Json = {
        "organic": [{**each, "position": n} for n, each in enumerate(organic, 1)],
        "knowledgeGraph": next(map(_knowledge, _objects(found.get("infoboxes"))), None),
        "answerBox": next(map(_answer, _list(found.get("answers"))), None),
        "relatedSearches": [{"query": text} for text in _texts(found.get("suggestions"))],
        "images": [_image(each) for each in by_category["images"][:num]],
        "news": [_organic(each) for each in by_category["news"][:num]],
    }
    return {name: value for name, value in document.items() if value or name == "organic"}


def _organic(found: Json) -> Json:
    page = {
        "title": _text(found.get("title")),
        "link": found.get("url"),
        "snippet": _text(found.get("content")),
    }
    date = found.get("publishedDate")
    return {**page, "date": date} if isinstance(date, str) else page


def _image(found: Json) -> Json:
    return {
        "title": _text(found.get("title")),
        "imageUrl": found.get("img_src"),
        "link": found.get("url"),
    }


def _knowledge(infobox: Json) -> Json:
    links = [_text(each.get("url")) for each in _objects(infobox.get("urls"))]
    attributes = {
        _text(each.get("label")): _text(each.get("value"))
        for each in _objects(infobox.get("attributes"))
    }
    graph = {
        "title": _text(infobox.get("infobox")),
        "description": _text(infobox.get("content")),
        "website": next((link for link in links if provider.is_web(link)), None),
        "imageUrl": infobox.get("img_src"),
        "attributes": attributes,
    }
    return {name: value for name, value in graph.items() if value}


def _answer(found: Any) -> Json:
    # A text until 2024, an object since.
    if isinstance(found, dict):
        return {"answer": _text(found.get("answer")), "link": found.get("url")}
    return {"answer": _text(found)}


def _texts(values: Any) -> list[str]:
    """Read texts, and the first one of each list: `[engine, why]`."""
    firsts: Iterable[Any] = (
        value[0] if isinstance(value, list) and value else value for value in _list(values)
    )
    return [value for value in firsts if isinstance(value, str)]


def _objects(values: Any) -> list[Json]:
    return [value for value in _list(values) if isinstance(value, dict)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
