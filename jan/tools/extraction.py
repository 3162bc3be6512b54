"""The text of a page in HTML, found by trafilatura.

Importing this module imports trafilatura. What runs here runs in a thread beside the event loop, so
nothing may hold Python's lock for long: what makes libxml2 or a regular expression take quadratic
time is taken out before.
"""

import itertools
import logging
import re
from dataclasses import dataclass, field
from typing import Any

import trafilatura
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - written in C
from lxml.html import HtmlElement
from trafilatura.xml import xmltotxt

MAX_HTML = 1_000_000
"""Characters that are looked at; the rest is left out."""
MAX_TAGS = 20_000
"""That are looked at. The longest articles of encyclopedias have as many; of some kinds of tags
trafilatura compares each with all others."""
MAX_TAG = 4_096
MAX_ATTRIBUTES = 64
"""Of a long tag; one with more loses all of them. libxml2 compares each with each: a single tag of
a megabyte took 27 s, and some of it with Python's lock held."""
MAX_SCRIPTS = 16_000
"""Characters of scripts, in all, that are looked into for what they say of the page. Half-open
objects cost trafilatura's regular expressions quadratic time, with the lock held: 1 s for 50,000
characters, 10 s for a megabyte."""
MAX_SPAN = 20
"""Columns of a cell. Each becomes a cell of its own."""
MAX_EMPHASES = 4_000
"""Pages with more lose all of them: 20,000 in a row took 350 MB to be written as Markdown."""
EMPHASES = ("b", "strong", "i", "em", "u", "kbd", "samp", "tt", "var", "sub", "sup", "code", "del")

METADATA = ("title", "description", "author", "date", "sitename", "language")

# Possessive: what was taken is never given back, so each character is looked at once or twice.
_TAG = re.compile(r"""<[a-zA-Z](?:[^>"']++|"[^"]*+"|'[^']*+')*+""")
_PROLOGUE = re.compile(r"\A\s*<\?xml[^>]{0,200}\?>")
_NAME = re.compile(r"<[a-zA-Z][a-zA-Z0-9:-]{0,40}")
_QUOTED = re.compile(r""""[^"]*+"|'[^']*+'""")

# Pages that are no pages are the sites' fault, and told to who asked.
logging.getLogger("trafilatura").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was found. No text: `text` is empty."""

    text: str = ""
    markdown: str = ""
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


def extract(html: str, url: str) -> Extracted:
    """Find the text. Links in it are made whole by `url`."""
    # The text is decoded by now, whatever it says; and without the word trafilatura takes none.
    tree = trafilatura.load_html("<!DOCTYPE html>" + _defused(_PROLOGUE.sub("", html[:MAX_HTML])))
    if tree is None:
        return Extracted()
    _drop_what_explodes(tree)
    said = trafilatura.extract_metadata(tree, default_url=url, extensive=False)
    metadata = {name: value for name in METADATA if (value := getattr(said, name, None))}
    found = trafilatura.bare_extraction(
        tree, url=url, output_format="markdown", include_links=True, include_comments=False
    )
    if found is None or isinstance(found, dict):
        return Extracted(metadata=metadata)
    markdown = xmltotxt(found.body, include_formatting=True).strip()
    etree.strip_tags(found.body, "ref")
    return Extracted(xmltotxt(found.body, include_formatting=False).strip(), markdown, metadata)


def _defused(html: str) -> str:
    last = next(itertools.islice(_TAG.finditer(html), MAX_TAGS, None), None)
    return _TAG.sub(_shortened, html if last is None else html[: last.start()])


def _shortened(found: re.Match[str]) -> str:
    tag = found[0]
    if len(tag) <= MAX_TAG or len(_QUOTED.sub(" ", tag).split()) <= MAX_ATTRIBUTES:
        return tag
    name = _NAME.match(tag)
    return name[0] if name else ""


def _drop_what_explodes(tree: HtmlElement) -> None:
    length = 0
    for script in tree.iter("script", "style"):
        length += len(script.text or "")
        if length > MAX_SCRIPTS:
            script.text = None
    for cell in tree.iter("td", "th"):
        span = cell.get("colspan", "")
        if not (span.isascii() and span.isdigit() and int(span[:9]) <= MAX_SPAN):
            cell.attrib.pop("colspan", None)
    if sum(1 for _ in tree.iter(*EMPHASES)) > MAX_EMPHASES:
        etree.strip_tags(tree, *EMPHASES)
