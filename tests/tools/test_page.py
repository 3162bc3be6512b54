"""Pages of real sites, odd sites and hostile sites, read into text."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator

import pytest

from jan.errors import Unsupported, UrlNotFetched, UrlRefused
from jan.tools import page
from jan.tools.page import PageReader
from tests.net.sites import Site, guard, running_site

PARAGRAPH = "Quite some words stand in this paragraph, so that it is taken for one of the text."
ARTICLE = f"""<!DOCTYPE html>
<html lang="en"><head>
<title>Bread &amp; butter</title>
<meta name="description" content="All about bread.">
<meta property="og:site_name" content="The Bakery">
<script>var advertisement = "buy";</script><style>.x {{ color: red }}</style>
</head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/login">Log in</a></li></ul></nav>
<article><h1>Bread</h1>
<p>{PARAGRAPH} See <a href="/rye?a=1">rye</a>, and <b>butter</b>.</p>
<h2>Kinds</h2><ul><li>white</li><li>brown</li></ul>
<table><tr><th>grain</th><th>price</th></tr><tr><td>rye</td><td>2</td></tr></table>
<pre><code>knead()
bake()</code></pre>
<p>{PARAGRAPH}</p></article>
<footer>Copyright of nobody</footer></body></html>"""


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A site."""
    async with running_site() as site:
        yield site


@pytest.fixture
async def reader(site: Site) -> AsyncIterator[PageReader]:
    """Reads from there."""
    async with guard(site.port, max_bytes=3_000_000) as outbound:
        reader = PageReader(outbound)
        yield reader
        reader.close()


async def test_the_text_of_a_page_is_found(site: Site, reader: PageReader) -> None:
    site.page("/bread", gzip.compress(ARTICLE.encode()), "text/html", content_encoding="gzip")
    site.redirect("/", "/bread")

    read = await reader.read(f"{site.url}/")

    assert read.url == f"{site.url}/bread"
    assert read.metadata["title"] == "Bread"
    assert read.metadata["description"] == "All about bread."
    assert read.metadata["sitename"] == "The Bakery"
    assert "# Bread" in read.markdown
    assert "## Kinds" in read.markdown
    assert "- white" in read.markdown
    assert f"[rye]({site.url}/rye?a=1)" in read.markdown
    assert "**butter**" in read.markdown
    assert "| rye | 2 |" in read.markdown
    assert "knead()\nbake()" in read.markdown
    assert "See rye, and butter." in read.text
    for left_out in ("advertisement", "Log in", "color: red", "Copyright"):
        assert left_out not in read.text
        assert left_out not in read.markdown
    assert not read.is_cut
    assert "text/html" in site.requests[0].headers["accept"]


async def test_a_page_of_few_words(site: Site, reader: PageReader) -> None:
    site.page("/", b"<title>Hi</title><p>hello there", "text/html")

    read = await reader.read(f"{site.url}/")

    assert (read.text, read.markdown) == ("hello there", "hello there")
    assert read.metadata["title"] == "Hi"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain; charset=utf-8", "grüße\n  <b>wie</b> es dasteht"),
        ("application/json", '{"a": [1, 2]}'),
        ("application/ld+json", '{"a": 1}'),
        ("text/markdown", "# Title"),
        ("text/csv", "a,b\n1,2"),
        ("application/rss+xml", "<rss/>"),
        ("", "no type at all"),
    ],
)
async def test_what_is_text_passes_as_it_is(
    site: Site, reader: PageReader, kind: str, body: str
) -> None:
    site.page("/", body.encode(), kind)

    read = await reader.read(f"{site.url}/")

    assert read.text == read.markdown == body


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("application/pdf", b"%PDF-1.7 ...", "is a PDF"),
        ("text/html", b"%PDF-1.7 ...", "is a PDF"),
        ("image/png", b"\x89PNG", "is an image"),
        ("video/mp4", b"....", "is a video"),
        ("audio/mpeg", b"....", "is sound"),
        ("application/octet-stream", b"hello", "is no text"),
        ("application/zip", b"PK\x03\x04", "is no text"),
        ("text/plain", b"MZ\x00\x01\x02", "is no text"),
        ("text/html", b"<html>\x00\x00", "is no text"),
        ("", b"\x7fELF\x00", "is no text"),
    ],
)
async def test_what_is_no_text_is_refused_in_words(
    site: Site, reader: PageReader, kind: str, body: bytes, words: str
) -> None:
    site.page("/", body, kind)

    with pytest.raises(Unsupported, match=words):
        await reader.read(f"{site.url}/")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html; charset=iso-8859-1", "<p>größe “x” 5 €".encode("cp1252")),
        ('text/html; charset="Shift_JIS"', "<p>größe “x” 5 €".encode("utf-8-sig")),
        ("text/html", b"<meta charset=windows-1252><p>" + "größe “x” 5 €".encode("cp1252")),
        (
            "text/html",
            b"<meta http-equiv=content-type content='text/html; charset=utf-8'><p>"
            + "größe “x” 5 €".encode(),
        ),
        ("text/html", "<p>größe “x” 5 €".encode()),
        ("text/html", "<p>größe “x” 5 €".encode("cp1252")),
        ("text/html", "\ufeff<p>größe “x” 5 €".encode("utf-16-le")),
        ("text/html; charset=utf-16be", "\ufeff<p>größe “x” 5 €".encode("utf-16-be")),
        ("text/html; charset=klingon", "<p>größe “x” 5 €".encode()),
        ("text/html; charset=zlib", "<p>größe “x” 5 €".encode()),
        ("text/html; charset=unicode_escape", "<p>größe “x” 5 €".encode()),
    ],
)
async def test_letters_are_what_a_browser_would_show(
    site: Site, reader: PageReader, kind: str, body: bytes
) -> None:
    site.page("/", body, kind)

    assert (await reader.read(f"{site.url}/")).text == "größe “x” 5 €"


async def test_wrong_bytes_do_not_stop_a_page(site: Site, reader: PageReader) -> None:
    site.page("/", b"<p>hello \xff\xfe there", "text/html; charset=utf-8")

    assert "hello" in (await reader.read(f"{site.url}/")).text


async def test_a_page_without_text_is_told_so(site: Site, reader: PageReader) -> None:
    site.page("/", b"<html><body><div id=app></div><script>x()</script></body></html>", "text/html")

    with pytest.raises(UrlNotFetched, match="holds no text"):
        await reader.read(f"{site.url}/")


async def test_a_long_text_is_cut_and_says_so(site: Site, reader: PageReader) -> None:
    site.page("/", b"x" * (page.MAX_CHARACTERS + 1), "text/plain")
    site.page("/html", b"<html><body>" + b"<p>word word word</p>" * 15_000, "text/html")

    for path in ("/", "/html"):
        read = await reader.read(f"{site.url}{path}")
        assert read.is_cut
        assert len(read.text) <= page.MAX_CHARACTERS


async def test_pages_come_through_the_guard(site: Site, reader: PageReader) -> None:
    site.redirect("/", "http://169.254.169.254/latest/meta-data/")

    with pytest.raises(UrlRefused):
        await reader.read(f"{site.url}/")


HOSTILE = {
    "attributes": b"<p " + b" ".join(b"a%d=1" % n for n in range(100_000)) + b">x",
    "attributes without spaces": b"<p " + b"".join(b'a%d="1"' % n for n in range(80_000)) + b">x",
    "attributes behind a quoted end": b"<p x='>' " + b" ".join(b"a%d" % n for n in range(99_999)),
    "half-open objects": b"<script type='application/ld+json'>"
    + b'{"@type":"Person","author":"' * 30_000
    + b"</script><p>x",
    "many cells": b"<table>" + b"<tr><td colspan=1000>x" * 30_000,
    "a deep page": b"<div>" * 150_000 + b"x",
    "emphasis": b"<b>a</b> " * 90_000,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_page_made_to_take_long_holds_up_nobody_else(
    site: Site, reader: PageReader, name: str
) -> None:
    """Each of these once took trafilatura or libxml2 from ten seconds to minutes."""
    site.page("/", b"<html><body>" + HOSTILE[name], "text/html")
    longest_s = 0.0

    async def watch() -> None:
        nonlocal longest_s
        while True:
            started_s = time.monotonic()
            await asyncio.sleep(0.005)
            longest_s = max(longest_s, time.monotonic() - started_s)

    watching = asyncio.create_task(watch())
    started_s = time.monotonic()
    try:
        await reader.read(f"{site.url}/")
    except UrlNotFetched as error:
        assert "no text" in error.message or "convoluted" in error.message  # noqa: PT017 - either will do
    finally:
        watching.cancel()

    assert time.monotonic() - started_s < page.TIMEOUT_S + 5
    assert longest_s < 2


async def test_a_page_that_takes_too_long_is_left(
    site: Site, reader: PageReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "TIMEOUT_S", 0.01)
    site.page("/", b"<html><body>" + HOSTILE["emphasis"], "text/html")

    with pytest.raises(UrlNotFetched, match="convoluted"):
        await reader.read(f"{site.url}/")


async def test_metadata_can_be_told_as_json(site: Site, reader: PageReader) -> None:
    site.page("/", ARTICLE.encode(), "text/html")

    json.dumps((await reader.read(f"{site.url}/")).metadata)
