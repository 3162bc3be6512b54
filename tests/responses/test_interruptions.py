"""Workers that die, sleep or are stopped at a response, and a database that goes away meanwhile."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from jan.db import dsn, migrate
from jan.db.engine import Database, connect
from jan.errors import Unavailable
from jan.responses import background, making
from tests.conftest import PASSWORD, execute, fetch
from tests.fakes import FakeUpstream, chat, fake_upstream
from tests.gateways import until
from tests.jobs.test_connection import served
from tests.jobs.workers import until_empty
from tests.responses import rules
from tests.responses.backgrounds import (
    CHAT,
    PATH,
    STREAM,
    Replica,
    Replicas,
    Stalling,
    in_turn,
    replicas,
    stored,
    until_status,
    until_stored,
)
from tests.responses.chats import delta, end, usage

DEADLINE_S = 10


def halves() -> Stalling:
    """Script an answer that stops in the middle."""
    return Stalling([delta(content="Hel")], [delta(content="lo"), end(), usage()])


def silence() -> Stalling:
    """Script an answer that stops before its first word."""
    return Stalling([], [delta(content="late"), end(), usage()])


async def expire() -> None:
    """Let the leases run out: whoever holds them has been silent for long."""
    await execute("UPDATE response SET lease_expires_at = now() WHERE status = 'in_progress'")


async def attempts() -> list[Any]:
    """Tell how often responses were begun."""
    return [row["attempt"] for row in await fetch("SELECT attempt FROM response")]


def texts(response: dict[str, Any]) -> list[str]:
    """Tell what a response says."""
    return [item["content"][0]["text"] for item in response["output"]]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_worker_that_slept_finds_that_another_has_made_it(
    several: Replicas, one: Replica, upstream: FakeUpstream, stream: bool
) -> None:
    sleeper, two = silence(), await several.new()
    await until(lambda: two.gateway.catalog.is_ready)
    upstream.script(CHAT, in_turn(sleeper, chat))
    response_id = await one.begin() if stream else (await one.ask())["id"]
    sleeping = asyncio.create_task(one.background.run(response_id))
    await until(lambda: upstream.running)
    await expire()

    await two.background.run(response_id)
    made, told = await one.get(response_id), await stored(response_id)
    sleeper.may_go_on.set()
    await sleeping

    assert texts(made) == ["Hello there!"]
    assert await one.get(response_id) == made
    assert await stored(response_id) == told
    assert await attempts() == [2]
    if stream:
        assert rules.check(rules.parsed(told)) == made


async def test_a_worker_that_slept_in_the_middle_is_fenced_off(
    several: Replicas, one: Replica, upstream: FakeUpstream
) -> None:
    sleeper, two = halves(), await several.new(is_told=False)
    upstream.script(CHAT, sleeper)
    response_id = await one.begin()
    sleeping = asyncio.create_task(one.background.run(response_id))
    await until_stored(response_id, b'"delta":"Hel"')
    following = [await each.follow(response_id) for each in (one, two)]
    await expire()

    await two.background.run(response_id)
    sleeper.may_go_on.set()
    await sleeping

    told = await stored(response_id)
    failed = rules.check(rules.parsed(told))
    assert (failed["status"], texts(failed)) == ("failed", ["Hel"])
    assert failed["error"] == {"code": "server_error", "message": background.INTERRUPTED}
    assert failed == await one.get(response_id)
    assert await asyncio.gather(*following) == [told, told]
    events = [event + b"\n\n" for event in told[:-2].split(b"\n\n")]
    for number in range(len(events)):
        assert await two.resume(response_id, number) == b"".join(events[number + 1 :])
    assert len(upstream.requests) == 1


async def test_nobody_takes_over_what_is_being_made(
    several: Replicas, one: Replica, upstream: FakeUpstream
) -> None:
    script, two = halves(), await several.new()
    upstream.script(CHAT, script)
    response_id = await one.begin()
    working = asyncio.create_task(one.background.run(response_id))
    await until_status(response_id, "in_progress")

    with pytest.raises(Unavailable, match="may still be making"):
        await two.background.run(response_id)
    script.may_go_on.set()
    await working

    assert texts(await one.get(response_id)) == ["Hello"]


@pytest.mark.parametrize("stream", [True, False])
async def test_what_kills_every_worker_is_given_up(
    one: Replica, upstream: FakeUpstream, stream: bool
) -> None:
    response_id = await one.begin() if stream else (await one.ask())["id"]
    for attempt in range(background.MAX_ATTEMPTS):
        await one.background._claim(response_id)
        assert await attempts() == [attempt + 1]
        await expire()

    await one.background.run(response_id)

    failed = await one.get(response_id)
    assert (failed["status"], failed["error"]["message"]) == ("failed", background.INTERRUPTED)
    assert upstream.requests == []
    if stream:
        assert rules.check(rules.parsed(await one.resume(response_id))) == failed


async def test_a_worker_that_is_stopped_before_a_word_leaves_it_to_another_at_once(
    several: Replicas, one: Replica, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, in_turn(silence(), chat))
    two = await several.new()
    async with one.working():
        response_id = await one.begin()
        await until(lambda: upstream.running)

    async with two.working():
        made = await two.ended(response_id)

    assert texts(made) == ["Hello there!"]
    events = rules.parsed(await stored(response_id))
    assert rules.check(events) == made
    assert [event["type"] for event in events].count("response.in_progress") == 1
    assert upstream.aborts_s


async def test_a_worker_that_is_stopped_in_the_middle_ends_it(
    one: Replica, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, halves())
    async with one.working():
        response_id = await one.begin()
        await until_stored(response_id, b'"delta":"Hel"')

    failed = await one.get(response_id)
    assert (failed["status"], texts(failed)) == ("failed", ["Hel"])
    assert failed["error"]["message"] == making.STOPPED
    assert rules.check(rules.parsed(await stored(response_id))) == failed


async def test_what_nobody_streams_is_made_again_though_some_had_come(
    several: Replicas, one: Replica, database: Database, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, in_turn(halves(), chat))
    two = await several.new()
    async with one.working():
        response_id = (await one.ask())["id"]
        await until_stored(response_id, b'"delta":"Hel"')

    async with two.working():
        made = await two.ended(response_id)
        await until_empty(database)

    assert texts(made) == ["Hello there!"]
    assert await stored(response_id) == b""


async def test_a_database_that_is_away_for_a_while_loses_nothing(home: Path) -> None:
    """Neither of what is made meanwhile, nor of what is told."""
    script = halves()
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(fake_upstream())
        upstream.script(CHAT, script)
        url = dsn.own(home, dsn.OWNER, dsn.DATABASE, PASSWORD)
        database = await stack.enter_async_context(
            connect(url, pool_size=6, application_name="test")
        )
        async with served(home) as migrating:
            await migrate.up(migrating)
            several = await stack.enter_async_context(replicas(database, upstream))
            one = await several.new()
            await until(lambda: one.gateway.catalog.is_ready)
            await stack.enter_async_context(one.working())
            response_id = await one.begin()
            await until_stored(response_id, b'"delta":"Hel"')
            following = await one.follow(response_id)
            lines = stack.enter_context(capture_logs())
        script.may_go_on.set()
        await until(lambda: one.usage)
        await until(lambda: [line for line in lines if "jobs wait" in line["event"]])
        async with served(home):
            told = await following
            made = rules.check(rules.parsed(told))
            assert await one.get(response_id) == made
            assert await stored(response_id) == told
            assert texts(made) == ["Hello"]


async def test_a_foreground_response_is_lost_with_its_lease(
    one: Replica, upstream: FakeUpstream
) -> None:
    """As when the database was away for long, and others have said that it failed."""
    script = halves()
    upstream.script(CHAT, script)
    asking = asyncio.create_task(one.client.post(PATH, json=STREAM | {"background": False}))
    with anyio.fail_after(DEADLINE_S):
        while not (rows := await fetch("SELECT id FROM response WHERE status = 'in_progress'")):
            await asyncio.sleep(0.01)
    await until(lambda: upstream.running)
    await execute(
        "UPDATE response SET attempt = attempt + 1 WHERE id = $1",
        rows[0]["id"],
    )
    one.leases._doubts.set()

    answer = await asking

    failed = rules.check(rules.parsed(answer.content))
    assert failed["status"] == "failed"
    assert "given up" in failed["error"]["message"]
    assert upstream.aborts_s
