"""A command finds the database, whoever else is starting, running or stopping it."""

from pathlib import Path

import anyio
import pytest

from jan import keyring, settings
from jan.db import embedded, session
from tests.conftest import fetch

pytestmark = pytest.mark.slow


async def _count(home: Path) -> int:
    loaded = settings.load({"home": home}, environ={})
    async with session.opened(loaded) as database:
        assert database
        ((count,),) = await fetch("SELECT count(*) FROM api_key")
        return count


async def test_a_command_alone_starts_the_server_and_stops_it(home: Path) -> None:
    assert await _count(home) == 0
    assert not (home / "postgres/data/postmaster.pid").exists()


async def test_commands_at_once_all_work(home: Path) -> None:
    found: list[int] = []

    async def command() -> None:
        found.append(await _count(home))

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(command)

    assert found == [0] * 4


async def test_a_command_waits_for_a_server_that_is_being_started(home: Path) -> None:
    password = keyring.load(settings.load({"home": home}, environ={}).settings).database_password
    has_lock, may_stop = anyio.Event(), anyio.Event()

    async def serve() -> None:
        async with embedded.running(home, password, on_line=lambda _: has_lock.set()):
            await may_stop.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        await has_lock.wait()
        with anyio.fail_after(30):
            assert await _count(home) == 0
        may_stop.set()
