"""The pages that links open: each is whole in itself, runs only its own, and changes nothing."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator

import pytest

from jan.auth import owners
from jan.db.engine import Database
from tests.doors import Door, door

PAGES = ("/setup", "/invite", "/reset")


@pytest.fixture
async def house(database: Database) -> AsyncIterator[Door]:
    async with door(database) as opened:
        yield opened


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


async def test_a_page_runs_its_own_script_and_nothing_else(house: Door) -> None:
    async with house.visitor() as visitor:
        for path in PAGES:
            page = await visitor.get(path, params={"code": "a-code"})

            rules = dict(
                rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; ")
            )
            (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
            (style,) = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
            assert page.status_code == 200
            assert page.headers["content-type"].startswith("text/html")
            assert page.headers["cache-control"] == "no-store"
            assert page.headers["referrer-policy"] == "no-referrer"
            assert page.headers["x-frame-options"] == "DENY"
            assert rules == {
                "default-src": "'none'",
                "script-src": _hash(script),
                "style-src": _hash(style),
                "connect-src": "'self'",
                "form-action": "'none'",
                "base-uri": "'none'",
                "frame-ancestors": "'none'",
            }
            assert "http" not in page.text.replace("http-equiv", "")


async def test_every_field_has_a_label_and_no_page_has_more_than_one_form(house: Door) -> None:
    async with house.visitor() as visitor:
        for path in PAGES:
            text = (await visitor.get(path, params={"code": "a-code"})).text

            labels = re.findall(r'<label for="(\w+)"', text)
            fields = re.findall(r'<input id="(\w+)"', text)
            assert labels == fields
            assert "password" in fields
            assert text.count("<form") == 1
            assert '<html lang="en">' in text


async def test_what_a_link_says_is_shown_as_text_only(house: Door) -> None:
    code = '"><script>alert(1)</script>'
    async with house.visitor() as visitor:
        page = await visitor.get("/setup", params={"code": code})

    assert page.text.count("<script>") == 1
    assert 'value="&#34;&gt;&lt;script&gt;' in page.text


async def test_a_link_that_lost_its_code_says_so(house: Door) -> None:
    async with house.visitor() as visitor:
        for path in PAGES:
            for query in ("", "?code=", "?code=" + "x" * 300):
                page = await visitor.get(path + query)

                assert page.status_code == 400
                assert "incomplete" in page.text
                assert "<form" not in page.text


async def test_to_look_at_a_link_does_not_use_it_up(house: Door) -> None:
    link = await owners.link(codes=house.means.codes, url=house.url)
    async with house.visitor() as visitor:
        pages = [await visitor.get(link) for _ in range(3)]
        code = link.partition("code=")[2]
        said = {"code": code, "email": "ada@example.com", "password": "a difference engine"}
        answer = await visitor.post("/v1/auth/setup", json=said)

    assert [page.status_code for page in pages] == [200] * 3
    assert answer.status_code == 200
