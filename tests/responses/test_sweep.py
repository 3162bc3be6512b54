"""No response hangs: what nobody makes is failed, or promised again."""

import pytest

from jan.caller import Caller
from jan.db import scope
from jan.db.engine import Database
from jan.responses import background, store, sweep
from tests.conftest import execute, fetch
from tests.conversations.owners import caller_of
from tests.responses.stored import rows
from tests.responses.test_store import begin
from tests.tenants import new_person


@pytest.fixture
async def ann(database: Database) -> Caller:
    """Somebody."""
    return caller_of(await new_person("ann"))


async def swept() -> list[str]:
    """Sweep, and tell which responses are promised."""
    await sweep.job().handler(None)
    found = await fetch("SELECT dedupe_key FROM pgqueuer WHERE entrypoint = $1", background.NAME)
    return [row["dedupe_key"] for row in found]


async def age(seconds: int) -> None:
    """Let time pass."""
    await execute(
        "UPDATE response SET created_at = created_at - make_interval(secs => $1),"
        " lease_expires_at = lease_expires_at - make_interval(secs => $1)",
        seconds,
    )


async def test_one_whose_process_is_gone_has_failed(ann: Caller) -> None:
    response_id = (await begin(ann)).response.id
    await age(3600)

    assert await swept() == []

    kept = bytes((await store.get(ann, response_id)).body)
    assert b'"status":"failed"' in kept
    assert b'"error":{"code":"server_error","message":"The server was interrupted' in kept
    assert [row["status"] for row in await rows()] == ["failed"]


async def test_one_whose_lease_holds_is_left_alone(ann: Caller) -> None:
    await begin(ann)
    await age(10)

    assert await swept() == []

    assert [row["status"] for row in await rows()] == ["in_progress"]


async def test_one_without_a_job_is_promised_again_once(ann: Caller) -> None:
    queued = (await begin(ann, status="queued", background=True)).response.id
    begun = (await begin(ann, background=True)).response.id
    await age(3600)

    assert sorted(await swept()) == sorted([queued, begun])
    assert len(await swept()) == 2
    assert sorted(row["status"] for row in await rows()) == ["in_progress", "queued"]


async def test_one_that_waits_for_its_turn_has_a_job_already(ann: Caller) -> None:
    response_id = (await begin(ann, status="queued", background=True)).response.id
    await age(3600)
    async with scope.system() as connection:
        await background.enqueue(connection, response_id)

    assert await swept() == [response_id]


async def test_one_that_was_just_promised_is_left_alone(ann: Caller) -> None:
    await begin(ann, status="queued", background=True)

    assert await swept() == []
