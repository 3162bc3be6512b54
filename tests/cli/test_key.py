"""`jan key` and `jan usage`, as programs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from jan import clock, keyring
from jan.auth.cache import Credential, CredentialCache
from jan.auth.tokens import AccessTokens
from jan.caller import Caller
from jan.db.engine import Database
from jan.errors import Unauthorized
from jan.keys import text
from jan.settings import Settings
from jan.usage.recorder import UsageRecorder
from tests.usage.test_recorder import row
from tests.usage.test_tool_calls import call, written

Finished = subprocess.CompletedProcess[str]


@pytest.fixture
def environment(home: Path, database_url: str) -> dict[str, str]:
    return {**os.environ, "JAN_HOME": str(home), "JAN_DATABASE_URL": database_url}


async def jan(environment: dict[str, str], *arguments: str) -> Finished:
    run = await anyio.run_process(
        [sys.executable, "-m", "jan", *arguments], env=environment, check=False
    )
    return Finished(arguments, run.returncode, run.stdout.decode(), run.stderr.decode())


async def read(environment: dict[str, str], *arguments: str) -> Any:
    return json.loads((await jan(environment, *arguments, "--json")).stdout)


async def test_create_prints_the_key_and_nothing_else(environment: dict[str, str]) -> None:
    run = await jan(environment, "key", "create", "--name", "ci", "--expires", "30d")

    key = run.stdout.removesuffix("\n")
    assert text.is_well_formed(key)
    (listed,) = await read(environment, "key", "list")
    assert listed["id"] in run.stderr
    shown = (listed["name"], listed["redacted_value"], listed["status"])
    assert shown == ("ci", f"sk-jan-...{key[-4:]}", "active")
    assert key not in json.dumps(listed)


async def test_revoke_stops_a_key_in_another_process_within_a_second(
    environment: dict[str, str], home: Path, database: Database
) -> None:
    new = await read(environment, "key", "create", "--name", "ci")
    cache = CredentialCache(
        database, keyring.load(Settings(home=home)).api_key_secret, AccessTokens("j" * 32)
    )
    async with anyio.create_task_group() as group:
        group.start_soon(cache.run)
        with anyio.fail_after(5):
            while cache._heard_since_s is None:
                await anyio.sleep(0.005)
        assert (await cache.resolve(Credential(new["value"]))).key_id == new["id"]

        run = await jan(environment, "key", "revoke", new["id"])

        assert (run.returncode, run.stdout) == (0, "")
        with pytest.raises(Unauthorized, match="revoked"), anyio.fail_after(1):
            while cache.known(Credential(new["value"])) is None:
                await cache.resolve(Credential(new["value"]))
        group.cancel_scope.cancel()
    assert (await read(environment, "key", "show", new["id"]))["status"] == "revoked"


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "--name", ""),
        ("create", "--name", "two\nlines"),
        ("create", "--name", "x", "--expires", "soon"),
        ("create", "--name", "x", "--expires", "2001-01-01"),
        ("create", "--name", "x", "--expires", "0001-01-01"),
        ("show", "key_missing"),
        ("revoke", "key_missing"),
    ],
    ids=" ".join,
)
async def test_what_can_not_be_done_is_refused_in_words(
    environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    run = await jan(environment, "key", *arguments)

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("error: ")


async def test_usage_is_shown_by_key_and_model(
    environment: dict[str, str], operator: Caller
) -> None:
    taking = UsageRecorder()
    for _ in range(3):
        taking.record(row(organization_id=operator.organization_id, created_at=clock.now()))
    assert await taking._flush()

    (total,) = await read(environment, "usage", "--since", "1h")
    table = await jan(environment, "usage")

    assert (total["model"], total["requests"], total["prompt_tokens"]) == ("m", 3, 15)
    assert [line.split()[1] for line in table.stdout.splitlines()] == ["KEY", "key_1"]


async def test_usage_is_shown_by_tool(environment: dict[str, str], operator: Caller) -> None:
    await written(*[call(organization_id=operator.organization_id)] * 3)

    (total,) = await read(environment, "usage", "--tools", "--since", "1h")
    table = await jan(environment, "usage", "--tools")

    assert (total["tool"], total["calls"], total["errors"]) == ("google_search", 3, 0)
    assert [line.split()[1] for line in table.stdout.splitlines()] == ["KEY", "key_1"]
