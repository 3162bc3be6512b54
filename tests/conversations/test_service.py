"""Conversations: whose they are, where they are filed, their lists, and what ends them."""

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest

from jan import ids, permissions
from jan.caller import Caller
from jan.conversations import contents, record
from jan.conversations import service as conversations
from jan.conversations.schemas import ConversationCreate, ConversationUpdate
from jan.db import scope
from jan.db.engine import Database
from jan.errors import InvalidRequest, NotFound
from jan.pages import Wanted
from jan.projects import accounts
from tests.conftest import execute, fetch, locking, until_blocked
from tests.conversations.owners import analyze, new_conversation, rows_read, texts, user
from tests.tenants import Tenants

NOTHING: frozenset[str] = frozenset()
USER = {"role": "user", "content": "hi"}


async def new_workspace(caller: Caller) -> str:
    """Put a workspace into the open database."""
    workspace_id = ids.new("ws")
    await execute(
        "INSERT INTO workspace (id, project_id, owner_id, name) VALUES ($1, $2, $3, 'Work')",
        *(workspace_id, caller.project_id, caller.owner_id),
    )
    return workspace_id


async def listed(caller: Caller, workspace_id: str | None = None, limit: int = 100) -> list[str]:
    """Tell the ids that somebody finds in the list."""
    page = await conversations.page(caller, Wanted(limit=limit), workspace_id)
    return [conversation.id for conversation in page.data]


async def test_nobody_reaches_what_is_not_theirs(owner: Caller, stranger: Caller) -> None:
    """Foreign and missing look alike; who owns the organization is a stranger as well."""
    made = await conversations.create(owner, ConversationCreate(items=[USER]))
    [item] = await record.history(owner, made.id)
    beside = replace(stranger, project_id=owner.project_id)
    above = replace(beside, scopes=permissions.OPERATOR)

    for caller in (stranger, beside, above, replace(owner, project_id=stranger.project_id)):
        assert await listed(caller) == []
        for conversation_id in (made.id, "conv_nobodys"):
            for refused in (
                conversations.get(caller, conversation_id),
                conversations.update(caller, conversation_id, ConversationUpdate(title="x")),
                conversations.move(caller, conversation_id, None),
                conversations.delete(caller, conversation_id),
                contents.add(caller, conversation_id, [USER]),
                contents.page(caller, conversation_id, Wanted(), NOTHING),
                contents.get(caller, conversation_id, item["id"], NOTHING),
                contents.delete(caller, conversation_id, item["id"]),
            ):
                with pytest.raises(NotFound) as caught:
                    await refused
                assert conversation_id in caught.value.message
        with pytest.raises(NotFound):
            await conversations.create(
                caller, ConversationCreate(items=[{"type": "item_reference", "id": item["id"]}])
            )
    assert await conversations.get(owner, made.id) == made


async def test_a_service_account_and_a_key_of_nobody_own_theirs(owner: Caller) -> None:
    robot = replace(owner, kind="key", user_id=None, service_account_id="svcacct_1", key_id="key_1")
    nobody = replace(robot, service_account_id=None)

    by_robot = await conversations.create(robot, ConversationCreate())
    by_key = await conversations.create(nobody, ConversationCreate())

    assert await listed(replace(robot, key_id="key_2")) == [by_robot.id]
    assert await listed(nobody) == [by_key.id]


@pytest.mark.parametrize("lacking", ["project_id", "user_id"])
async def test_who_is_nobody_or_nowhere_is_told_so(owner: Caller, lacking: str) -> None:
    caller = replace(owner, **{lacking: None})

    for refused in (
        conversations.create(caller, ConversationCreate()),
        conversations.page(caller, Wanted()),
        contents.get(caller, "conv_1", "msg_1", NOTHING),
    ):
        with pytest.raises(InvalidRequest, match="OpenAI-Project"):
            await refused


async def test_conversations_are_filed_in_workspaces(owner: Caller) -> None:
    work, play = await new_workspace(owner), await new_workspace(owner)
    first = await conversations.create(owner, ConversationCreate(workspace_id=work))
    loose = await conversations.create(owner, ConversationCreate(workspace_id=" "))

    assert first.workspace_id == work
    assert await listed(owner, work) == [first.id]
    assert await listed(owner, "None") == [loose.id]
    assert await listed(owner) == await listed(owner, "") == [first.id, loose.id]

    assert (await conversations.move(owner, first.id, play)).workspace_id == play
    assert await listed(owner, work) == []
    assert (await conversations.move(owner, first.id, None)).workspace_id is None
    assert await listed(owner, "none") == [first.id, loose.id]


async def test_a_workspace_of_somebody_elses_is_none(owner: Caller, stranger: Caller) -> None:
    made = await conversations.create(owner, ConversationCreate())
    elsewhere = replace(owner, project_id=stranger.project_id)

    for workspace_id in (
        await new_workspace(stranger),
        await new_workspace(elsewhere),
        "ws_nobodys",
        "none",
    ):
        for refused in (
            conversations.create(owner, ConversationCreate(workspace_id=workspace_id)),
            conversations.move(owner, made.id, workspace_id),
        ):
            with pytest.raises(NotFound, match="There is no workspace"):
                await refused
    assert await listed(owner, "ws_nobodys") == []
    assert await listed(owner) == [made.id]


async def test_a_workspace_that_is_deleted_meanwhile_is_none(
    owner: Caller, database: Database
) -> None:
    work = await new_workspace(owner)
    made = await conversations.create(owner, ConversationCreate())

    async with locking(database, f"DELETE FROM workspace WHERE id = '{work}'") as connection:
        moving = asyncio.create_task(conversations.move(owner, made.id, work))
        await until_blocked(connection)
    with pytest.raises(NotFound):
        await moving

    assert await conversations.get(owner, made.id) == made


async def test_a_conversation_whose_items_are_refused_is_not_made(owner: Caller) -> None:
    with pytest.raises(InvalidRequest):
        await conversations.create(
            owner, ConversationCreate(items=[USER | {"id": "a"}, USER | {"id": "a"}])
        )

    assert await listed(owner) == []


async def test_an_id_that_is_taken_refuses_all_of_what_is_added(owner: Caller) -> None:
    made = await conversations.create(owner, ConversationCreate(items=[USER | {"id": "a"}]))

    with pytest.raises(InvalidRequest) as refused:
        await contents.add(owner, made.id, [USER, USER | {"id": "a"}])

    assert refused.value.param == "items[1].id"
    assert len(await record.history(owner, made.id)) == 1
    other = await conversations.create(owner, ConversationCreate(items=[USER | {"id": "a"}]))
    assert [item["id"] for item in await record.history(owner, other.id)] == ["a"]


LONG: list[tuple[Wanted, int]] = [
    (Wanted(limit=10), 0),
    (Wanted(limit=10, after="item_5000"), 5001),
    (Wanted(limit=10, after="item_9989"), 9990),
    (Wanted(limit=10, before="item_5000"), 4990),
    (Wanted(limit=10, order="desc"), 9990),
    (Wanted(limit=10, order="desc", after="item_10"), 0),
]
"""Pages of a conversation of 10,000 items, and the first of the items in them."""


async def test_pages_of_a_long_conversation_read_what_they_show(
    owner: Caller, owner_url: str
) -> None:
    conversation_id = await new_conversation(owner)
    said = [user("hi", id=f"item_{number}") for number in range(10_000)]
    await record.append(owner, conversation_id, said)
    await analyze(owner_url)

    for wanted, first in LONG:
        async with scope.of(owner) as connection:
            before = await rows_read(connection)
            page = await contents.page(owner, conversation_id, wanted, NOTHING)
            read = await rows_read(connection) - before
        expected = [f"item_{number}" for number in range(first, first + 10)]
        assert [item["id"] for item in page.data] == (
            expected if wanted.order == "asc" else expected[::-1]
        )
        assert page.has_more == (first not in {0, 9990} or wanted.cursor is None)
        assert read < 20, wanted


@pytest.mark.parametrize("workspace", [None, "none", "full"])
async def test_pages_of_many_conversations_read_what_they_show(
    owner: Caller, owner_url: str, workspace: str | None
) -> None:
    """At both ends and in the middle, wherever most of them are filed."""
    full = await new_workspace(owner)
    await execute(
        "INSERT INTO conversation (id, project_id, owner_id, workspace_id, created_at)"
        " SELECT 'conv_' || n, $1, $2, CASE WHEN n % 100 > 0 THEN $3 END,"
        " now() + n * interval '1 second' FROM generate_series(1, 20000) AS n",
        *(owner.project_id, owner.owner_id, full),
    )
    await analyze(owner_url)
    workspace_id = full if workspace == "full" else workspace
    middle = "conv_10001" if workspace == "full" else "conv_10000"

    for wanted in (
        Wanted(limit=10),
        Wanted(limit=10, order="desc"),
        Wanted(limit=10, after=middle),
        Wanted(limit=10, before=middle),
    ):
        async with scope.of(owner) as connection:
            before = await rows_read(connection, "conversation")
            page = await conversations.page(owner, wanted, workspace_id)
            read = await rows_read(connection, "conversation") - before
        assert len(page.data) == 10
        assert page.has_more
        assert read < 20, wanted


async def test_two_who_add_at_once_lose_nothing(owner: Caller, database: Database) -> None:
    conversation_id = await new_conversation(owner)
    lock = f"SELECT 1 FROM conversation WHERE id = '{conversation_id}' FOR UPDATE"
    first, second = [
        [{"role": "user", "content": f"{who}{number}"} for number in range(20)] for who in "ab"
    ]

    async with locking(database, lock) as connection:
        adding = [
            asyncio.create_task(contents.add(owner, conversation_id, given))
            for given in (first, second)
        ]
        await until_blocked(connection, 2)
    await asyncio.gather(*adding)

    said = texts(await record.history(owner, conversation_id))
    assert sorted([said[:20], said[20:]]) == [
        [item["content"] for item in first],
        [item["content"] for item in second],
    ]


async def test_adding_to_what_is_deleted_meanwhile_finds_nothing(
    owner: Caller, database: Database
) -> None:
    made = await conversations.create(owner, ConversationCreate())

    async with locking(database, f"DELETE FROM conversation WHERE id = '{made.id}'") as connection:
        adding = asyncio.create_task(contents.add(owner, made.id, [USER]))
        await until_blocked(connection)
    with pytest.raises(NotFound):
        await adding


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM users WHERE id = $1",
        "DELETE FROM project WHERE owner_user_id = $1",
        "DELETE FROM workspace WHERE owner_id = $1",
    ],
)
async def test_what_goes_takes_its_conversations_with_it(
    owner: Caller, stranger: Caller, statement: str
) -> None:
    work = await new_workspace(owner)
    await conversations.create(owner, ConversationCreate(workspace_id=work, items=[USER]))
    theirs = await conversations.create(stranger, ConversationCreate(items=[USER]))

    await execute(statement, owner.user_id)

    assert [row["id"] for row in await fetch("SELECT id FROM conversation")] == [theirs.id]
    assert len(await fetch("SELECT 1 FROM conversation_item")) == 1


async def test_a_conversation_is_touched_by_what_is_done_to_it(owner: Caller) -> None:
    made = await conversations.create(owner, ConversationCreate(items=[USER]))
    [item] = await record.history(owner, made.id)

    async def updated_at() -> datetime:
        [row] = await fetch("SELECT updated_at FROM conversation WHERE id = $1", made.id)
        return row["updated_at"]

    times = [await updated_at()]
    for act in (
        lambda: conversations.update(owner, made.id, ConversationUpdate(title="x")),
        lambda: contents.add(owner, made.id, [USER]),
        lambda: contents.delete(owner, made.id, item["id"]),
        lambda: conversations.move(owner, made.id, None),
    ):
        await act()
        times.append(await updated_at())

    assert times == sorted(times)
    assert len(set(times)) == len(times)


async def test_programs_that_go_take_their_conversations_with_them(tenants: Tenants) -> None:
    """A service account, and a key that belongs to nobody."""
    a = tenants.a
    robot = await tenants.caller(a.service_key)
    nobody = replace(robot, service_account_id=None)
    assert (robot.owner_id, nobody.owner_id) == (a.service_account_id, a.service_key.id)
    for caller in (robot, nobody):
        await conversations.create(caller, ConversationCreate(items=[USER]))

    await execute("DELETE FROM api_key WHERE id = $1", a.service_key.id)
    assert await listed(nobody) == []
    assert len(await listed(robot)) == 1

    owner = await tenants.caller(a.owner)
    await accounts.delete(owner, a.project_id, a.service_account_id)
    assert await fetch("SELECT 1 FROM conversation_item") == []
