"""Kept answers in Valkey: shared as in the database, and its loss is no more than asking anew."""

import asyncio
import signal
from collections.abc import AsyncGenerator

import anyio
import pytest

from jan.db.engine import Database
from jan.tools import answers
from jan.tools.answers import Answers
from jan.tools.provider import Page, Query
from jan.tools.search import Pages, Search
from tests.conftest import fetch
from tests.tools.test_search import QUERY, Asked
from tests.valkeys import ValkeyServer, remembering, until_used, valkey


@pytest.fixture
async def server() -> AsyncGenerator[ValkeyServer]:
    async with valkey() as started:
        yield started


async def test_another_gateway_tells_what_one_was_told(
    database: Database, server: ValkeyServer
) -> None:
    asked = Asked()
    async with remembering(server.url) as one, remembering(server.url) as other:
        await Search(asked, Answers(60, await until_used(one))).find(QUERY)
        found = await Search(asked, Answers(60, await until_used(other))).find(QUERY)
        pages = Pages(asked, Answers(60, other))
        read = [await pages.read("https://a.example/", include_markdown=True) for _ in range(2)]

    assert len(asked.queries) == 2
    assert found.document["organic"][0]["title"] == "1"
    assert read == [Page("2", "# 2", {"title": "x"})] * 2
    assert await fetch("SELECT FROM tool_answer") == []


async def test_an_old_answer_is_asked_anew(database: Database, server: ValkeyServer) -> None:
    asked = Asked()
    async with remembering(server.url) as memory:
        search = Search(asked, Answers(0.1, await until_used(memory)))
        with anyio.fail_after(5):
            while len(asked.queries) < 3:
                await search.find(QUERY)
                await asyncio.sleep(0.01)


async def test_nothing_of_question_or_answer_can_be_read_there(
    database: Database, server: ValkeyServer
) -> None:
    async with remembering(server.url) as memory:
        search = Search(Asked(padding="my-private-answer"), Answers(60, await until_used(memory)))
        await search.find(Query(q="my-private-question"))

        (key,) = await server.keys("*tool answer*")
        is_readable = await server.command("EVAL", FIND, "1", key, "my-private")

    assert "my-private" not in key
    assert is_readable == "no"


FIND = "return {ok = redis.call('GET', KEYS[1]):find(ARGV[1], 1, true) and 'yes' or 'no'}"


async def test_what_was_altered_there_is_asked_anew(
    database: Database, server: ValkeyServer
) -> None:
    asked = Asked()
    async with remembering(server.url) as memory:
        search = Search(asked, Answers(60, await until_used(memory)))
        await search.find(QUERY)
        (key,) = await server.keys("*tool answer*")
        await server.command("SET", key, '{"engine": "evil", "organic": []}')

        found = await search.find(QUERY)

    assert found.document["organic"][0]["title"] == "2"


async def test_very_long_answers_are_not_kept(database: Database, server: ValkeyServer) -> None:
    async with remembering(server.url) as memory:
        kept = Answers(60, await until_used(memory))
        await Search(Asked(padding="x" * answers.MAX_ANSWER_BYTES), kept).find(QUERY)

        assert await server.keys("*tool answer*") == []


@pytest.mark.parametrize("trouble", [signal.SIGKILL, signal.SIGSTOP])
async def test_while_it_is_away_the_database_keeps_them(
    database: Database, server: ValkeyServer, trouble: signal.Signals
) -> None:
    asked = Asked()
    async with remembering(server.url) as memory:
        search = Search(asked, Answers(60, await until_used(memory)))
        await search.find(QUERY)
        server.signal(trouble)

        with anyio.fail_after(5):
            found = [await search.find(QUERY) for _ in range(3)]

    assert [each.document["organic"][0]["title"] for each in found] == ["2"] * 3
    assert len(await fetch("SELECT FROM tool_answer")) == 1
