"""Citations: where a text names pages that the model was told of."""

from collections.abc import Mapping
from typing import Any

WITHIN_URL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~/%#?&=+")
"""After a page's URL, one of these makes it another page's."""


def found(text: str, sources: Mapping[str, str]) -> list[dict[str, Any]]:
    """Find the URLs of `sources` (their titles, by URL), in the order of the text.

    A Markdown link is cited as a whole, its title included, as OpenAI's `url_citation` has it.
    """
    citations: list[dict[str, Any]] = []
    for url, title in sources.items():
        start = text.find(url)
        while start >= 0:
            end = start + len(url)
            if text[end : end + 1] not in WITHIN_URL:
                first, last = _link(text, start, end)
                citations.append(
                    {
                        "type": "url_citation",
                        "url": url,
                        "title": title,
                        "start_index": first,
                        "end_index": last,
                    }
                )
            start = text.find(url, end)
    return sorted(citations, key=lambda citation: citation["start_index"])


def _link(text: str, start: int, end: int) -> tuple[int, int]:
    """Where the Markdown link around a URL begins and ends; the URL itself where there is none."""
    if text[start - 2 : start] != "](" or text[end : end + 1] != ")":
        return start, end
    opening = text.rfind("[", 0, start - 2)
    return (start, end) if opening < 0 else (opening, end + 1)
