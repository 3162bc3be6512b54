"""`jan setup`, and the owners that settings name, as programs."""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import asyncpg
import pytest

from jan import keyring, settings
from jan.auth import owners
from jan.auth.codes import Codes
from jan.db.engine import Database
from tests.cli.test_key import jan


@pytest.fixture
def environment(home: Path, database_url: str) -> dict[str, str]:
    return {**os.environ, "JAN_HOME": str(home), "JAN_DATABASE_URL": database_url}


async def test_setup_prints_a_link_and_nothing_else(
    environment: dict[str, str], home: Path, database: Database
) -> None:
    plain = await jan(environment, "setup")
    elsewhere = await jan(environment, "setup", "--url", "https://jan.example.com", "--json")

    link = json.loads(elsewhere.stdout)["url"]
    assert plain.stdout.startswith("http://127.0.0.1:8080/setup?code=")
    assert plain.stdout.count("\n") == 1
    assert link.startswith("https://jan.example.com/setup?code=")
    codes = Codes(keyring.load(settings.load({"home": home}).settings).api_key_secret)
    assert await codes.check("setup", urlsplit(link).query.removeprefix("code=")) is None


async def test_setup_refuses_where_there_is_an_owner(
    environment: dict[str, str], database: Database
) -> None:
    await owners.appoint(["ada@example.com"])

    run = await jan(environment, "setup")

    assert run.returncode == 1
    assert run.stdout == ""
    assert "owns this Jan already" in run.stderr


async def test_setup_refuses_an_address_that_is_none(environment: dict[str, str]) -> None:
    run = await jan(environment, "setup", "--url", "jan.example.com/path")

    assert run.returncode == 1
    assert "`public_url`" in run.stderr


async def test_machines_that_come_up_at_once_share_their_owners(
    home: Path, empty_database_url: str
) -> None:
    environment = {
        **os.environ,
        "JAN_HOME": str(home),
        "JAN_DATABASE_URL": empty_database_url,
        "ORGANIZATION_ADMIN_EMAILS": "Ada@example.com, bob@example.com",
    }
    codes: list[int] = []

    async def come_up() -> None:
        codes.append((await jan(environment, "migrate", "up")).returncode)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(come_up)

    connection = await asyncpg.connect(empty_database_url, server_settings={"jan.scope": "system"})
    rows = await connection.fetch(
        "SELECT u.email, m.role FROM users AS u JOIN organization_member AS m ON m.user_id = u.id"
        " ORDER BY u.email"
    )
    await connection.close()
    assert codes == [0, 0, 0]
    assert [tuple(row) for row in rows] == [
        ("ada@example.com", "owner"),
        ("bob@example.com", "owner"),
    ]


async def test_settings_that_name_no_addresses_are_refused(environment: dict[str, str]) -> None:
    run = await jan({**environment, "ORGANIZATION_ADMIN_EMAILS": "ada"}, "migrate", "up")

    assert run.returncode == 1
    assert "`ada` is no e-mail address" in run.stderr
    assert not Path(environment["JAN_HOME"], "secrets.toml").exists()
