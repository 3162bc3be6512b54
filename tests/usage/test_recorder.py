"""Usage rows: none is lost that could be kept, and none stands in the way."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from jan import clock
from jan.caller import Caller
from jan.db import dsn, embedded, migrate
from jan.db.engine import Database, connect
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from jan.usage import recorder, service
from jan.usage.recorder import UsageRecorder
from jan.usage.schemas import UsageRow
from tests.conftest import fetch, locking

PASSWORD = "p" * 64
WAITING = "SELECT count(*) FROM pg_locks WHERE relation = 'usage'::regclass AND NOT granted"


def row(**changes: Any) -> UsageRow:
    values: dict[str, Any] = {
        "id": "req-1", "key_id": "key_1", "model": "m", "path": "/v1/chat/completions",
        "status": 200, "prompt_tokens": 5, "completion_tokens": 7, "cached_tokens": 2,
        "time_to_first_token_ms": 1.5, "duration_ms": 9.0, "request_bytes": 100,
        "response_bytes": 200, "is_stream": True, "created_at": clock.now(),
    }  # fmt: skip
    return UsageRow(**{**values, **changes})


async def stop_cleanly(taking: UsageRecorder) -> None:
    """Run it, and cancel it at once: what a clean stop does."""
    async with anyio.create_task_group() as group:
        group.start_soon(taking.run)
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()


async def rows() -> list[Any]:
    return await fetch("SELECT * FROM usage ORDER BY id")


async def test_a_clean_stop_loses_nothing(database: Database) -> None:
    taking = UsageRecorder()
    for number in range(25_000):
        taking.record(row(id=f"req-{number}"))

    await stop_cleanly(taking)

    ((written,),) = await fetch("SELECT count(DISTINCT request_id) FROM usage")
    assert (written, taking.lost_rows) == (25_000, 0)


async def test_rows_are_written_within_about_a_second(database: Database) -> None:
    taking = UsageRecorder()
    async with anyio.create_task_group() as group:
        group.start_soon(taking.run)
        taking.record(row())
        with anyio.fail_after(3):
            while not await rows():
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    "poison",
    [
        {"model": "nul\0"},
        {"model": "\ud800"},
        {"model": "m" * 1_000_000},
        {"id": "x" * 1000},
        {"prompt_tokens": 2**40, "completion_tokens": -1},
        {"error_code": "\0" * 10},
    ],
)
async def test_a_strange_row_is_written_as_well_as_it_can_be(
    database: Database, poison: dict[str, Any]
) -> None:
    taking = UsageRecorder()
    taking.record(row(**poison))

    await stop_cleanly(taking)

    assert (len(await rows()), taking.lost_rows) == (1, 0)


async def test_a_row_that_is_refused_does_not_take_others_with_it(database: Database) -> None:
    taking = UsageRecorder()
    for number in range(100):
        taking.record(row(id=f"req-{number}", status=1_000_000 if number == 37 else 200))

    await stop_cleanly(taking)

    assert (len(await rows()), taking.lost_rows) == (99, 1)


@pytest.mark.parametrize(
    "poison",
    [
        {"status": "nonsense"},
        {"duration_ms": None},
        {"request_bytes": 2**70},
        {"model": None},
        {"created_at": "yesterday"},
        {"prompt_tokens": "many"},
    ],
)
async def test_a_row_of_the_wrong_type_stops_nothing(
    database: Database, poison: dict[str, Any]
) -> None:
    taking = UsageRecorder()
    for changes in ({}, poison, {}):
        taking.record(row(**changes))

    assert await taking._flush()

    assert (len(await rows()), taking.lost_rows) == (2, 1)


async def test_rows_wait_while_the_database_restarts(home: Path) -> None:
    owner_url = dsn.own(home, dsn.OWNER, dsn.DATABASE, PASSWORD)
    url = dsn.own(home, dsn.ROLE, dsn.DATABASE, PASSWORD)
    async with (
        connect(owner_url, pool_size=1, application_name="t") as owner,
        connect(url, pool_size=2, application_name="t"),
    ):
        taking = UsageRecorder()
        async with embedded.running(home, PASSWORD):
            await migrate.up(owner, role=dsn.ROLE)
            taking.record(row(id="before"))
            assert await taking._flush()

        taking.record(row(id="between"))
        assert not await taking._flush()
        taking.record(row(id="between too"))
        assert taking.waiting_rows == 2

        async with embedded.running(home, PASSWORD):
            taking.record(row(id="after"))
            assert await taking._flush()
            written = [found["request_id"] for found in await rows()]

    assert written == ["before", "between", "between too", "after"]
    assert taking.lost_rows == 0


async def test_rows_wait_for_a_database_that_takes_none(
    database_name: str, database_url: str, owner_url: str
) -> None:
    async with connect(owner_url, pool_size=1, application_name="t") as owner:
        await owner.pool.execute(
            f"ALTER DATABASE {database_name} SET default_transaction_read_only = on"
        )  # as after a failover
    async with connect(database_url, pool_size=1, application_name="t"):
        taking = UsageRecorder()
        taking.record(row())
        assert not await taking._flush()

    assert (taking.waiting_rows, taking.lost_rows) == (1, 0)


async def test_a_batch_whose_confirmation_got_lost_is_written_once(database: Database) -> None:
    taking = UsageRecorder()
    for _ in range(10):
        taking.record(row())
    taking._batch = [(next(taking._ids), taking._waiting.popleft()) for _ in range(10)]
    await taking._write(taking._batch[:4])  # came through, and nobody was told

    assert await taking._flush()

    assert (len(await rows()), taking.lost_rows) == (10, 0)


async def test_a_stop_in_the_middle_of_writing_writes_every_row_once(database: Database) -> None:
    taking = UsageRecorder()
    for number in range(100):
        taking.record(row(id=f"req-{number}"))
    lock = "LOCK TABLE usage IN ACCESS EXCLUSIVE MODE"
    async with anyio.create_task_group() as group, locking(database, lock) as connection:
        group.start_soon(taking.run)
        with anyio.fail_after(5):
            while not await connection.fetchval(WAITING):
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()

    assert (len(await rows()), taking.lost_rows) == (100, 0)


async def test_what_is_too_much_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_WAITING_ROWS", 10)
    monkeypatch.setattr(recorder, "LAST_FLUSH_TIMEOUT_S", 0.1)
    async with connect("postgresql://jan@127.0.0.1:1/jan", pool_size=1, application_name="t"):
        taking = UsageRecorder()
        for _ in range(15):
            taking.record(row())
        assert (taking.waiting_rows, taking.lost_rows) == (10, 5)

        await stop_cleanly(taking)

    assert taking.lost_rows == 15


async def test_a_keys_last_use_is_kept(operator: Caller) -> None:
    new = await keys.create(operator, KeyCreate(name="ci"), hmac_secret="s" * 32)
    taking = UsageRecorder()
    taking.record(row(key_id=new.key.id))

    await stop_cleanly(taking)

    assert (await keys.get(operator, new.key.id)).last_used_at


async def test_a_locked_key_does_not_hold_rows_up(database: Database, operator: Caller) -> None:
    new = await keys.create(operator, KeyCreate(name="ci"), hmac_secret="s" * 32)
    taking = UsageRecorder()
    taking.record(row(key_id=new.key.id))

    async with locking(database, "SELECT * FROM api_key FOR UPDATE"):
        with anyio.fail_after(3):
            assert await taking._flush()

    assert len(await rows()) == 1


async def test_totals_are_by_key_and_model(operator: Caller) -> None:
    taking = UsageRecorder()
    long_ago = clock.now() - timedelta(days=2)
    for changes in (
        {}, {"status": 499}, {"model": "other"}, {"key_id": "key_2"}, {"created_at": long_ago},
    ):  # fmt: skip
        taking.record(row(organization_id=operator.organization_id, **changes))
    await stop_cleanly(taking)

    totals = await service.totals(operator, clock.now() - timedelta(days=1))

    assert [(t.key_id, t.model, t.requests, t.errors, t.prompt_tokens) for t in totals] == [
        ("key_1", "m", 2, 1, 10),
        ("key_1", "other", 1, 0, 5),
        ("key_2", "m", 1, 0, 5),
    ]


async def test_a_keys_use_for_what_leaves_no_row_is_kept_too(operator: Caller) -> None:
    new = await keys.create(operator, KeyCreate(name="ci", kind="admin"), hmac_secret="s" * 32)
    taking = UsageRecorder()
    taking.note_use(new.key.id)

    await stop_cleanly(taking)

    assert (await keys.get(operator, new.key.id)).last_used_at
    assert await rows() == []
