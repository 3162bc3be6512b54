"""Items in their order: added at the same time, added twice, found again, and nobody else's."""

import asyncio
from contextvars import Context
from dataclasses import replace

import pytest

from jan.caller import Caller
from jan.conversations import items, record
from jan.db import scope
from jan.db.engine import Database
from jan.errors import InvalidRequest, NotFound
from tests.conftest import fetch, locking, until_blocked
from tests.conversations.owners import analyze, new_conversation, rows_read, texts, user


async def title_of(conversation_id: str) -> str | None:
    """Tell what a conversation is called."""
    [row] = await fetch("SELECT title FROM conversation WHERE id = $1", conversation_id)
    return row["title"]


async def test_what_is_added_is_there_in_its_order(owner: Caller) -> None:
    conversation_id = await new_conversation(owner)

    first = await record.append(owner, conversation_id, [user("a"), user("b")])
    second = await record.append(owner, conversation_id, [user("c")])

    said = await record.history(owner, conversation_id)
    assert said == [*first, *second]
    assert texts(said) == ["a", "b", "c"]


async def test_the_rows_tell_what_the_items_do(owner: Caller) -> None:
    conversation_id = await new_conversation(owner)
    call = {"type": "mcp_call", "id": "mcp_1", "name": "f", "arguments": "{}", "server_label": "s"}

    await record.append(
        owner, conversation_id, [user("a", status="failed"), call | {"status": "calling"}]
    )

    rows = await fetch("SELECT type, status FROM conversation_item ORDER BY position")
    assert [tuple(row) for row in rows] == [("message", "failed"), ("mcp_call", None)]


async def test_who_adds_at_the_same_time_comes_after(owner: Caller, database: Database) -> None:
    conversation_id = await new_conversation(owner)
    lock = f"SELECT 1 FROM conversation WHERE id = '{conversation_id}' FOR UPDATE"
    batches = [[user(f"{who}{number}") for number in range(5)] for who in "abc"]

    async with locking(database, lock) as connection:
        adding = [
            asyncio.create_task(record.append(owner, conversation_id, batch)) for batch in batches
        ]
        await until_blocked(connection, len(batches))
    await asyncio.gather(*adding)

    said = texts(await record.history(owner, conversation_id))
    assert len(said) == 15
    by_batch = [said[start : start + 5] for start in (0, 5, 10)]
    assert sorted(by_batch) == [texts(batch) for batch in batches]


async def test_an_item_that_is_committed_later_has_a_later_place(
    owner: Caller, database: Database
) -> None:
    """Else a reader who goes on from the last place it saw would skip it."""
    conversation_id = await new_conversation(owner)

    async with scope.of(owner):
        await record.append(owner, conversation_id, [user("first")])
        late = asyncio.create_task(
            record.append(owner, conversation_id, [user("second")]), context=Context()
        )
        async with database.connection() as watching:
            await until_blocked(watching)
        await record.append(owner, conversation_id, [user("also first")])
    await late

    said = texts(await record.history(owner, conversation_id))
    assert said == ["first", "also first", "second"]


async def test_an_id_that_is_taken_is_replaced(owner: Caller) -> None:
    conversation_id = await new_conversation(owner)
    item = user("a", id="mine")

    kept = await record.append(owner, conversation_id, [item, item])
    kept += await record.append(owner, conversation_id, [item])

    assert [each["id"] == "mine" for each in kept] == [True, False, False]
    assert len({each["id"] for each in kept}) == 3
    assert await record.history(owner, conversation_id) == kept


async def test_an_untitled_conversation_is_called_after_what_was_said_first(owner: Caller) -> None:
    conversation_id = await new_conversation(owner)
    answer = items.with_id({"role": "assistant", "content": "I am a model."})

    await record.append(owner, conversation_id, [answer])
    assert await title_of(conversation_id) is None

    await record.append(owner, conversation_id, [answer | {"id": "a"}, user(" Who are\nyou? ")])
    await record.append(owner, conversation_id, [user("Tell me more.")])
    assert await title_of(conversation_id) == "Who are you?"


async def test_a_title_that_was_given_stays(owner: Caller) -> None:
    conversation_id = await new_conversation(owner, title="Mine")

    await record.append(owner, conversation_id, [user("hi")])

    assert await title_of(conversation_id) == "Mine"


async def test_adding_to_a_long_conversation_reads_none_of_it(
    owner: Caller, owner_url: str
) -> None:
    conversation_id = await new_conversation(owner)
    await record.append(owner, conversation_id, [user(str(number)) for number in range(10_000)])
    await analyze(owner_url)

    async with scope.of(owner) as connection:
        before = await rows_read(connection)
        await record.append(owner, conversation_id, [user("one more"), user("and one")])
        after = await rows_read(connection)
        await record.history(owner, conversation_id)
        at_last = await rows_read(connection)

    assert after - before < 10
    assert at_last - after > 10_000


async def test_items_are_found_by_their_ids(owner: Caller, stranger: Caller) -> None:
    mine, other = await new_conversation(owner), await new_conversation(owner)
    theirs = await new_conversation(stranger)
    await record.append(owner, mine, [user("old", id="twice"), user("a", id="once")])
    await record.append(owner, other, [user("new", id="twice")])
    await record.append(stranger, theirs, [user("secret", id="theirs")])

    found = await record.find(owner, ["twice", "once", "theirs", "nobody's", "once"])

    assert {item_id: texts([item])[0] for item_id, item in found.items()} == {
        "twice": "new",
        "once": "a",
    }


async def test_nobody_reaches_what_is_not_theirs(owner: Caller, stranger: Caller) -> None:
    """Neither somebody else, nor the same person in another project."""
    theirs = await new_conversation(stranger)
    elsewhere = replace(stranger, project_id=owner.project_id)

    for caller in (owner, elsewhere):
        for conversation_id in (theirs, "conv_nobodys"):
            with pytest.raises(NotFound):
                await record.append(caller, conversation_id, [user("hi")])
            with pytest.raises(NotFound):
                await record.history(caller, conversation_id)
    assert await record.history(stranger, theirs) == []


@pytest.mark.parametrize("lacking", ["project_id", "user_id"])
async def test_who_is_nobody_or_nowhere_is_told_so(owner: Caller, lacking: str) -> None:
    caller = replace(owner, **{lacking: None})

    with pytest.raises(InvalidRequest, match="OpenAI-Project"):
        await record.find(caller, [])
