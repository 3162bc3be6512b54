"""Rows of responses: begun once, ended once, by whoever began them last, seen by their owner."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from jan import ids, permissions
from jan.caller import Caller
from jan.conversations import items
from jan.db import scope
from jan.db.engine import Database
from jan.errors import InvalidRequest, NotFound, UpstreamError
from jan.pages import Wanted
from jan.responses import reading, response, store, tools
from jan.responses.machine import Machine
from tests.conftest import execute, fetch, locking, until_blocked
from tests.conversations.owners import caller_of, new_conversation
from tests.fakes import MODEL
from tests.responses.chats import as_chunk, call, delta, end, usage
from tests.tenants import new_person

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
async def ann(database: Database) -> Caller:
    """Somebody."""
    return caller_of(await new_person("ann"))


@pytest.fixture
async def bob(database: Database) -> Caller:
    """Somebody else."""
    return caller_of(await new_person("bob"))


async def begin(caller: Caller, status: Any = "in_progress", **parameters: Any) -> Machine:
    """Write a response down, and make the machine that makes it."""
    asked = reading.read(json.dumps({"model": MODEL, "input": "hi"} | parameters).encode())
    begun = response.begun(
        asked, response_id=ids.new("resp"), created_at=1_700_000_000, status=status
    )
    given = [items.with_id(item) for item in asked.input]
    async with scope.of(caller) as connection:
        await store.insert(connection, caller, asked, begun, given, status=status)
    toolset = tools.read(asked.create.tools, asked.create.tool_choice)
    return Machine(begun, asked.create, toolset)


def run(machine: Machine, *chunks: dict[str, Any]) -> Machine:
    """Make the response, to its end."""
    machine.begin()
    for chunk in chunks or (delta(content="Hello"), end(), usage()):
        machine.feed(as_chunk(chunk))
    machine.finish()
    return machine


async def test_a_response_is_kept_as_it_was_told(ann: Caller) -> None:
    tool = {"type": "function", "name": "add", "parameters": {"z": 1, "a": {"y": 1, "b": -0.0}}}
    machine = run(
        await begin(ann, tools=[tool], include=["message.output_text.logprobs"]),
        delta(content="é🌍", logprobs={"content": [{"token": "é🌍", "logprob": -1e-9}]}),
        call(0, '{"b":1, "a":2}', "add"),
        end("tool_calls"),
        usage(),
    )

    assert await store.finish(ann, machine)

    kept = await store.get(ann, machine.response.id)
    assert bytes(kept.body) == response.encode(machine.response)


async def test_a_response_that_is_being_made_is_there(ann: Caller) -> None:
    machine = await begin(ann)

    kept = await store.get(ann, machine.response.id)

    assert json.loads(bytes(kept.body))["status"] == "in_progress"
    assert bytes(kept.body) == response.encode(machine.response)


async def test_what_was_asked_is_kept_in_its_order(ann: Caller) -> None:
    schema = {"type": "json_schema", "name": "n", "schema": {"z": {}, "a": {}}}
    machine = run(await begin(ann, text={"format": schema}, top_k=3), delta(content="a"), end())
    machine.engine = "vllm-0.27"
    await store.finish(ann, machine)

    [row] = await fetch("SELECT parameters, engine, caller FROM response")

    assert (
        row["parameters"]
        == msgspec.json.encode({"model": MODEL, "text": {"format": schema}, "top_k": 3}).decode()
    )
    assert row["engine"] == "vllm-0.27"
    assert store.caller_of(row["caller"]) == ann


async def test_input_and_output_are_kept_in_their_order(ann: Caller) -> None:
    said = [{"role": "user", "content": f"{number}"} for number in range(12)]
    machine = run(await begin(ann, input=said), delta(content="a"), call(0, "{}", "f"), end())
    await store.finish(ann, machine)

    rows = await fetch("SELECT is_output, item FROM response_item ORDER BY position")

    kept = [json.loads(row["item"]) for row in rows]
    assert [item["content"][0]["text"] for item in kept[:12]] == [f"{n}" for n in range(12)]
    assert [item["type"] for item in kept[12:]] == ["message", "function_call"]
    assert [row["is_output"] for row in rows] == [False] * 12 + [True] * 2


async def test_a_response_in_progress_is_on_lease_and_one_that_ended_is_not(ann: Caller) -> None:
    machine = await begin(ann)
    select = "SELECT lease_expires_at > now() AS is_held, ended_at, attempt FROM response"
    [before] = await fetch(select)

    await store.finish(ann, run(machine))

    [after] = await fetch(select)
    assert (before["is_held"], before["ended_at"], before["attempt"]) == (True, None, 1)
    assert (after["is_held"], after["ended_at"] is None) == (None, False)


async def test_a_queued_response_waits_without_a_lease(ann: Caller) -> None:
    await begin(ann, "queued", background=True)

    [row] = await fetch("SELECT status, attempt, lease_expires_at, is_background FROM response")

    assert tuple(row) == ("queued", 0, None, True)


@pytest.mark.parametrize("status", ["failed", "cancelled", "completed"])
async def test_what_has_ended_does_not_end_again(ann: Caller, status: str) -> None:
    machine = await begin(ann)
    await execute(
        "UPDATE response SET status = $1, ended_at = now(), lease_expires_at = NULL", status
    )
    machine.begin()
    machine.cut()

    assert not await store.finish(ann, machine)

    kept = await store.get(ann, machine.response.id)
    assert json.loads(bytes(kept.body))["status"] == status
    assert await fetch("SELECT FROM response_item WHERE is_output") == []


async def test_an_older_attempt_writes_nothing(ann: Caller) -> None:
    machine = run(await begin(ann))
    await execute("UPDATE response SET attempt = 2")

    assert not await store.finish(ann, machine, attempt=1)
    assert await store.finish(ann, machine, attempt=2)

    assert len(await fetch("SELECT FROM response_item WHERE is_output")) == 1


async def test_telling_the_end_twice_is_the_same_as_once(ann: Caller) -> None:
    machine = run(await begin(ann))

    assert await store.finish(ann, machine)
    assert await store.finish(ann, machine)

    assert len(await fetch("SELECT FROM response_item WHERE is_output")) == 1


async def test_a_failed_response_keeps_what_had_come(ann: Caller) -> None:
    machine = await begin(ann)
    machine.begin()
    machine.feed(as_chunk(call(0, '{"a', "add")))
    machine.fail(UpstreamError("It broke."))
    await store.finish(ann, machine)

    kept = json.loads(bytes((await store.get(ann, machine.response.id)).body))

    assert (kept["status"], kept["error"]["message"]) == ("failed", "It broke.")
    assert kept["output"][0]["status"] == "incomplete"


async def test_a_deleted_response_leaves_nothing_and_can_not_be_ended(ann: Caller) -> None:
    machine = run(await begin(ann))

    await store.delete(ann, machine.response.id)

    assert not await store.finish(ann, machine)
    assert await fetch("SELECT FROM response_item") == []
    with pytest.raises(NotFound):
        await store.delete(ann, machine.response.id)


@pytest.mark.parametrize("status", ["completed", "incomplete"])
async def test_an_end_waits_for_the_conversation_that_is_being_deleted(
    ann: Caller, database: Database, status: str
) -> None:
    """They lock in the same order, or they would wait for each other."""
    conversation_id = await new_conversation(ann)
    reason = "length" if status == "incomplete" else "stop"
    machine = run(
        await begin(ann, conversation=conversation_id), delta(content="a"), end(reason), usage()
    )
    async with locking(database, "DELETE FROM conversation") as connection:
        ending = asyncio.create_task(store.finish(ann, machine))
        await until_blocked(connection)

    assert await ending
    [row] = await fetch("SELECT status, conversation_id FROM response")
    assert tuple(row) == (status, None)


async def test_a_strangers_response_looks_like_none(ann: Caller, bob: Caller) -> None:
    machine = run(await begin(ann))
    elsewhere = replace(ann, project_id=bob.project_id)

    for stranger in (bob, elsewhere):
        assert not await store.finish(stranger, machine)
        for act in (store.get, store.delete):
            with pytest.raises(NotFound):
                await act(stranger, machine.response.id)
        assert (await store.page(stranger, Wanted())).data == []
    assert await store.finish(ann, machine)


async def test_responses_are_listed_in_pages(ann: Caller) -> None:
    made = [run(await begin(ann)).response.id for _ in range(5)]

    first = await store.page(ann, Wanted(limit=3, order="desc"))
    second = await store.page(ann, Wanted(limit=3, order="desc", after=first.last_id))

    assert [each.id for each in (*first.data, *second.data)] == made[::-1]
    assert (first.has_more, second.has_more) == (True, False)


async def test_who_is_nobody_or_nowhere_can_store_nothing(ann: Caller) -> None:
    nobody = Caller.operator(project_id=ann.project_id)
    nowhere = Caller(kind="user", scopes=permissions.DATA_PLANE, user_id=ann.user_id)

    for caller in (nobody, nowhere):
        with pytest.raises(InvalidRequest):
            await begin(caller)
        with pytest.raises(InvalidRequest):
            await store.page(caller, Wanted())
