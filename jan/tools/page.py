"""Reads a page as a person would: what is written there, without menus, advertisements and scripts.

The page comes through the guard. What it says of itself is believed as browsers believe it, and
whatever it is, it takes no longer than `TIMEOUT_S` of anybody's time and never the event loop's.
"""

import asyncio
import codecs
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from jan.errors import Unsupported, UrlNotFetched
from jan.net.guard import Fetched, Guard

HEADERS = {
    "accept": "text/html, application/xhtml+xml, text/markdown, text/plain, application/json;q=0.9",
}
TIMEOUT_S = 10.0
"""Of finding the text in a page. Real ones take tens of milliseconds."""
THREADS = 2
"""A page made to take long holds one for some seconds, whoever waits for it."""
MAX_CHARACTERS = 200_000
"""Of what is returned: more than most models can read."""

HTML = frozenset({"text/html", "application/xhtml+xml"})
TEXTS = frozenset({"application/json", "application/xml", "application/yaml", "application/toml"})
TEXT_ENDINGS = ("+json", "+xml", "+yaml")
KINDS = {"application/pdf": "a PDF", "image": "an image", "audio": "sound", "video": "a video"}

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_LOOKED_AT_BYTES = 4096
"""Of a page, for its charset: browsers look no further than 1,024."""
_FALLBACK = "cp1252"
"""What browsers take for a charset that is not told. They mean it also by these names."""
_MEANS_FALLBACK = frozenset({"iso8859-1", "ascii", "latin-1"})
_NOT_CHARSETS = frozenset(
    {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7", "mbcs"}
)
"""Python's, which are none of a page's."""


@dataclass(frozen=True, slots=True)
class WebPage:
    """What a page says."""

    url: str
    """Where it was in the end."""
    text: str
    markdown: str
    """The same with headings, links and lists. What is no HTML is the same twice."""
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    """What is known of `title`, `description`, `author`, `date`, `sitename` and `language`."""
    is_cut: bool = False
    """Whether it goes on: only the beginning is here."""


class PageReader:
    """Fetches pages and finds their texts."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="page")

    async def read(self, url: str) -> WebPage:
        """Read a page.

        Raises:
            UrlRefused, UrlNotFetched: as `Guard.fetch`; or no text is found in it.
            Unsupported: it is no text.
        """
        fetched = await self._guard.fetch(url, headers=HEADERS)
        kind, is_html = _kind(fetched)
        if not is_html:
            return _cut(WebPage(fetched.url, said := _decoded(fetched, kind), said))
        read = await self._in_time(fetched.url, lambda: _read_html(fetched))
        if not read.text:
            raise UrlNotFetched(
                f"`{fetched.url}` holds no text. It may need a browser that runs its scripts."
            )
        return _cut(read)

    def close(self) -> None:
        """Read no more. Does not wait for pages that take long."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_time(self, url: str, read: Callable[[], WebPage]) -> WebPage:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await loop.run_in_executor(self._threads, read)
        except TimeoutError:
            raise UrlNotFetched(f"`{url}` is too convoluted to be read.") from None


def _read_html(fetched: Fetched) -> WebPage:
    from jan.tools import extraction  # noqa: PLC0415 - 0.25 s and 10 MB, for whoever reads pages

    read = extraction.extract(_decoded(fetched, "text/html"), fetched.url)
    return WebPage(fetched.url, read.text, read.markdown, read.metadata)


def _cut(page: WebPage) -> WebPage:
    if len(page.text) <= MAX_CHARACTERS and len(page.markdown) <= MAX_CHARACTERS:
        return page
    text, markdown = page.text[:MAX_CHARACTERS], page.markdown[:MAX_CHARACTERS]
    return WebPage(page.url, text, markdown, page.metadata, is_cut=True)


def _kind(fetched: Fetched) -> tuple[str, bool]:
    """The media type, and whether it is HTML.

    Raises:
        Unsupported: neither HTML nor text.
    """
    kind = fetched.content_type.partition(";")[0].strip().lower()
    start = fetched.body[:_LOOKED_AT_BYTES]
    if start.startswith(b"%PDF-"):
        kind = "application/pdf"
    is_text = kind.startswith("text/") or kind in TEXTS or kind.endswith(TEXT_ENDINGS)
    if kind in HTML or is_text or not kind:
        is_binary = b"\0" in start and not start.startswith(tuple(bom for bom, _ in _BOMS[1:]))
        if not is_binary:
            looks_like_html = start.lstrip().lower().startswith((b"<!doctype html", b"<html"))
            return kind, kind in HTML or (not kind and looks_like_html)
    name = KINDS.get(kind) or KINDS.get(kind.partition("/")[0]) or "no text"
    raise Unsupported(f"`{fetched.url}` is {name}: only pages and plain text can be read.")


def _decoded(fetched: Fetched, kind: str) -> str:
    """Decode as browsers do: by the mark at the start, the header, the page, or as UTF-8."""
    body = fetched.body
    for mark, name in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, errors="replace")
    told = [fetched.content_type]
    if kind in HTML or kind.endswith("xml"):
        start = body[:_LOOKED_AT_BYTES].decode("latin-1")
        told += [start, start.replace("encoding", "charset")]
    for words in told:
        found = _CHARSET.search(words)
        name = _codec(found[1]) if found else None
        if name is not None:
            return body.decode(name, errors="replace")
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body.decode(_FALLBACK, errors="replace")


def _codec(name: str) -> str | None:
    """Find the codec of a charset, if there is one."""
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    if not info._is_text_encoding or info.name.replace("_", "-") in _NOT_CHARSETS:
        return None
    return _FALLBACK if info.name in _MEANS_FALLBACK else info.name
