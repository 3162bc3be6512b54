"""Stand-ins for Serper and SearXNG: real servers, on real sockets, that answer as those do."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes import FakeUpstream, Reply, Seen

KEY = "serper-very-secret"


def serper_found(**more: Any) -> dict[str, Any]:
    """What Serper answers to a search."""
    return {
        "searchParameters": {"q": "cats", "type": "search", "engine": "google"},
        "organic": [
            {"title": "Cat", "link": "https://en.wikipedia.org/wiki/Cat", "snippet": "The cat…",
             "position": 1, "date": "Nov 1, 2026", "sitelinks": [{"title": "x", "link": "y"}]},
            {"title": "Bad", "link": "javascript:alert(1)", "snippet": "no page", "position": 2},
            {"title": "Cats", "link": "https://example.com/cats", "position": 3},
        ],
        "knowledgeGraph": {"title": "Cat", "type": "Animal"},
        "answerBox": {"answer": "A small carnivore"},
        "peopleAlsoAsk": [{"question": "Why cats?", "link": "https://example.com/why"}],
        "relatedSearches": [{"query": "kittens"}],
        "credits": 1,
        **more,
    }  # fmt: skip


async def serper_search(seen: Seen, reply: Reply) -> None:
    """Search as Serper does."""
    if seen.headers.get("x-api-key") != KEY:
        await reply.json({"message": "Unauthorized.", "statusCode": 403}, 403)
        return
    await reply.json(serper_found())


async def serper_scrape(seen: Seen, reply: Reply) -> None:
    """Read a page as Serper does."""
    if seen.headers.get("x-api-key") != KEY:
        await reply.json({"message": "Unauthorized.", "statusCode": 403}, 403)
        return
    page = {"text": "All about cats", "metadata": {"title": "Cats", "og:type": "article"}}
    if seen.json["includeMarkdown"]:
        page["markdown"] = "# All about cats"
    await reply.json({**page, "credits": 2})


def searxng_found(**more: Any) -> dict[str, Any]:
    """What SearXNG answers to a search."""
    return {
        "query": "cats",
        "number_of_results": 0,
        "results": [
            {"url": "https://en.wikipedia.org/wiki/Cat", "title": "Cat", "content": "The cat…",
             "engine": "duckduckgo", "engines": ["duckduckgo"], "category": "general",
             "publishedDate": "2026-11-01T00:00:00", "score": 2.0},
            {"url": "file:///etc/passwd", "title": "Bad", "content": "", "category": "general"},
            {"url": "https://example.com/cats", "title": "Cats", "content": "Pets",
             "category": "general", "publishedDate": None},
            {"url": "https://example.com/cat", "title": "A cat", "content": "",
             "img_src": "https://example.com/cat.png", "category": "images"},
            {"url": "https://news.example.com/cat", "title": "Cat found", "content": "Today",
             "category": "news"},
        ],
        "answers": [{"answer": "A small carnivore", "url": "https://example.com/a"}],
        "infoboxes": [
            {"infobox": "Cat", "content": "Domesticated species",
             "urls": [{"title": "Wikipedia", "url": "https://en.wikipedia.org/wiki/Cat"}],
             "attributes": [{"label": "Class", "value": "Mammalia"}]},
        ],
        "suggestions": ["kittens"],
        "corrections": [],
        "unresponsive_engines": [["google", "Suspended: CAPTCHA"]],
        **more,
    }  # fmt: skip


async def searxng_search(_: Seen, reply: Reply) -> None:
    """Search as SearXNG does."""
    await reply.json(searxng_found())


def asked(seen: Seen) -> dict[str, str]:
    """What the query part of a request says."""
    parameters = parse_qs(urlsplit(seen.target).query, keep_blank_values=True)
    return {name: values[0] for name, values in parameters.items()}


async def started(**scripts: Any) -> FakeUpstream:
    """Start one that has these scripts by path, written without its slash."""
    fake = FakeUpstream(scripts={f"/{path}": script for path, script in scripts.items()})
    await fake.start()
    return fake
