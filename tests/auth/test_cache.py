"""The cache of credentials: fast, and never more trusting than it should be."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from jan import clock
from jan.auth import cache
from jan.auth.cache import Credential, CredentialCache
from jan.auth.tokens import AccessTokens
from jan.caller import Caller
from jan.db import dsn, embedded, migrate
from jan.db.engine import Database, connect
from jan.errors import DatabaseUnavailable, Unauthorized
from jan.keys import service as keys
from jan.keys import text
from jan.keys.schemas import KeyCreate, NewKey
from jan.organization import access
from tests.conftest import execute, locking

SECRET = "s" * 32
TOKENS = AccessTokens("j" * 32)
PASSWORD = "p" * 64
LOCK = "LOCK TABLE api_key IN ACCESS EXCLUSIVE MODE"


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    with anyio.fail_after(within_s):
        while not condition():
            await anyio.sleep(0.005)


async def make(
    heard_by: CredentialCache | None = None, *, expires_at: datetime | None = None
) -> NewKey:
    """Make a key, and wait until that is heard: a change makes a cache ask again."""
    changes = heard_by._changes if heard_by else 0
    new = await keys.create(
        await access.operator(), KeyCreate(name="ci", expires_at=expires_at), hmac_secret=SECRET
    )
    if heard_by:
        await until(lambda: heard_by._changes > changes)
    return new


async def look_ups(connection: Any) -> int:
    """Wait until look-ups stand in line for a locked table. Returns how many."""
    query = "SELECT count(*) FROM pg_locks WHERE relation = 'api_key'::regclass AND NOT granted"
    with anyio.fail_after(5):
        while not (waiting := await connection.fetchval(query)):
            await anyio.sleep(0.005)
    return waiting


def works(keyring: CredentialCache, key: str) -> bool:
    try:
        return keyring.known(Credential(key)) is not None
    except Unauthorized:
        return False


@pytest.fixture
async def listening(database: Database) -> AsyncIterator[CredentialCache]:
    keyring = CredentialCache(database, SECRET, TOKENS)
    async with anyio.create_task_group() as group:
        group.start_soon(keyring.run)
        await until(lambda: keyring._heard_since_s is not None)
        yield keyring
        group.cancel_scope.cancel()


async def test_a_key_is_looked_up_once_and_then_known(
    listening: CredentialCache, database: Database
) -> None:
    new = await make(listening)

    assert listening.known(Credential(new.secret)) is None
    caller = await listening.resolve(Credential(new.secret))

    assert caller.key_id == new.key.id
    await database.pool.close()  # from here on nobody could be asked
    assert listening.known(Credential(new.secret)) == caller


async def test_many_requests_with_a_new_key_make_one_look_up(
    listening: CredentialCache, database: Database
) -> None:
    new = await make(listening)
    callers: list[Caller] = []
    held = 0

    async def ask() -> None:
        callers.append(await listening.resolve(Credential(new.secret)))

    # Look-ups stand still here, where they can be counted.
    async with anyio.create_task_group() as group, locking(database, LOCK) as connection:
        for _ in range(50):
            group.start_soon(ask)
        held = await look_ups(connection)

    assert held == 1
    assert [caller.key_id for caller in callers] == [new.key.id] * 50


async def test_a_client_that_leaves_does_not_take_the_answer_from_others(
    listening: CredentialCache, database: Database
) -> None:
    new = await make(listening)
    callers: list[Caller] = []

    async def ask() -> None:
        callers.append(await listening.resolve(Credential(new.secret)))

    async with (
        anyio.create_task_group() as staying,
        anyio.create_task_group() as leaving,
        locking(database, LOCK) as connection,
    ):
        leaving.start_soon(ask)
        await look_ups(connection)
        staying.start_soon(ask)
        leaving.cancel_scope.cancel()

    assert new.key.id in [caller.key_id for caller in callers]


async def test_a_revoked_key_stops_working_within_a_second(listening: CredentialCache) -> None:
    new = await make(listening)
    await listening.resolve(Credential(new.secret))

    await keys.revoke(await access.operator(), new.key.id)

    await until(lambda: not works(listening, new.secret), within_s=1.0)
    with pytest.raises(Unauthorized, match="revoked"):
        await listening.resolve(Credential(new.secret))


async def test_a_revocation_that_was_not_heard_counts_after_a_second(database: Database) -> None:
    deaf = CredentialCache(database, SECRET, TOKENS)
    new = await make()
    await deaf.resolve(Credential(new.secret))

    await keys.revoke(await access.operator(), new.key.id)

    await until(lambda: not works(deaf, new.secret), within_s=2.0)
    with pytest.raises(Unauthorized, match="revoked"):
        await deaf.resolve(Credential(new.secret))


async def test_a_revocation_while_the_listener_was_away_is_noticed_when_it_is_back(
    listening: CredentialCache, database: Database
) -> None:
    new = await make(listening)
    await listening.resolve(Credential(new.secret))
    # The trigger's message goes to nobody: the listening session dies in the same transaction.
    await execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'jan listen' AND datname = current_database()"
    )
    await keys.revoke(await access.operator(), new.key.id)

    await until(lambda: not works(listening, new.secret), within_s=2.0)
    with pytest.raises(Unauthorized):
        await listening.resolve(Credential(new.secret))


async def test_a_key_expires_in_memory_too(
    listening: CredentialCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    expiry = clock.now() + timedelta(hours=1)
    new = await make(listening, expires_at=expiry)
    await listening.resolve(Credential(new.secret))

    monkeypatch.setattr(clock, "now", lambda: expiry)

    with pytest.raises(Unauthorized, match="expired"):
        listening.known(Credential(new.secret))


@pytest.mark.parametrize(
    "key", ["", "x", "sk-jan-", "Bearer sk-jan-x", "sk-jan-" + "0" * 38, "\udc80", "k" * 1_000_000]
)
async def test_junk_is_refused_without_a_look_up(key: str) -> None:
    async with connect(
        "postgresql://jan@127.0.0.1:1/jan", pool_size=1, application_name="t"
    ) as nowhere:
        with pytest.raises(Unauthorized):
            await CredentialCache(nowhere, SECRET, TOKENS).resolve(Credential(key))


async def test_a_key_that_was_never_made_is_refused(listening: CredentialCache) -> None:
    with pytest.raises(Unauthorized, match="incorrect"):
        await listening.resolve(Credential(text.new()))


async def test_a_flood_of_made_up_keys_fills_no_memory_and_pushes_no_good_key_out(
    listening: CredentialCache, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MAX_BAD", 10)
    new = await make(listening)
    caller = await listening.resolve(Credential(new.secret))

    for _ in range(100):
        with pytest.raises(Unauthorized):
            await listening.resolve(Credential(text.new()))
    for _ in range(10_000):
        with pytest.raises(Unauthorized):
            listening.known(Credential(text.new()[:-1] + "!"))

    assert (len(listening._bad), len(listening._good), len(listening._locks)) == (10, 1, 0)
    assert listening.known(Credential(new.secret)) == caller


async def test_good_keys_fill_no_memory_either(
    listening: CredentialCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MAX_GOOD", 3)
    made = [await make(listening) for _ in range(5)]
    for new in made:
        await listening.resolve(Credential(new.secret))

    assert [works(listening, new.secret) for new in made] == [False, False, True, True, True]
    assert len([subject for subject in listening._by_subject if subject[:4] == "key:"]) == 3


async def test_a_refusal_is_remembered(listening: CredentialCache, database: Database) -> None:
    key = text.new()
    with pytest.raises(Unauthorized):
        await listening.resolve(Credential(key))

    await database.pool.close()

    with pytest.raises(Unauthorized):
        listening.known(Credential(key))


async def test_a_key_that_changes_during_its_look_up_is_not_kept(
    listening: CredentialCache, database: Database
) -> None:
    new = await make(listening)
    async with anyio.create_task_group() as group, locking(database, LOCK) as connection:
        group.start_soon(listening.resolve, Credential(new.secret))
        await look_ups(connection)
        listening._on_change(f"key:{new.key.id}")

    assert not works(listening, new.secret)


async def test_while_the_database_is_down_good_keys_work_and_others_are_not_called_wrong(
    home: Path,
) -> None:
    made: list[NewKey] = []
    owner_url = dsn.own(home, dsn.OWNER, dsn.DATABASE, PASSWORD)
    url = dsn.own(home, dsn.ROLE, dsn.DATABASE, PASSWORD)
    async with (
        connect(owner_url, pool_size=1, application_name="t") as owner,
        connect(url, pool_size=2, application_name="t") as database,
    ):
        keyring = CredentialCache(database, SECRET, TOKENS)
        async with embedded.running(home, PASSWORD):
            await migrate.up(owner, role=dsn.ROLE)
            made = [await make(), await make()]
            await keyring.resolve(Credential(made[0].secret))

        await until(lambda: not works(keyring, made[0].secret))
        for _ in range(3):
            assert (await keyring.resolve(Credential(made[0].secret))).key_id == made[0].key.id
            assert keyring.known(Credential(made[0].secret))
            for key in (made[1].secret, text.new()):
                with pytest.raises(DatabaseUnavailable) as trouble:
                    await keyring.resolve(Credential(key))
                assert trouble.value.retry_after_s

        async with embedded.running(home, PASSWORD), anyio.create_task_group() as group:
            group.start_soon(keyring.run)
            await until(lambda: keyring._heard_since_s is not None)
            assert (await keyring.resolve(Credential(made[1].secret))).key_id == made[1].key.id
            group.cancel_scope.cancel()


async def test_the_grace_for_good_keys_ends(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = CredentialCache(database, SECRET, TOKENS)
    new = await make()
    await keyring.resolve(Credential(new.secret))
    await database.pool.close()
    start_s = clock.monotonic_s()

    monkeypatch.setattr(clock, "monotonic_s", lambda: start_s + cache.GRACE_S - 2)
    assert (await keyring.resolve(Credential(new.secret))).key_id == new.key.id
    monkeypatch.setattr(clock, "monotonic_s", lambda: start_s + cache.GRACE_S + 2)
    with pytest.raises(DatabaseUnavailable):
        await keyring.resolve(Credential(new.secret))


async def test_a_key_expires_while_the_database_is_down(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = CredentialCache(database, SECRET, TOKENS)
    expiry = clock.now() + timedelta(hours=1)
    new = await make(expires_at=expiry)
    await keyring.resolve(Credential(new.secret))
    await database.pool.close()

    monkeypatch.setattr(clock, "now", lambda: expiry)
    monkeypatch.setattr(cache, "UNHEARD_MAX_AGE_S", -1.0)

    with pytest.raises(Unauthorized, match="expired"):
        await keyring.resolve(Credential(new.secret))


async def test_a_database_that_says_nothing_holds_up_one_request_and_no_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LOOK_UP_TIMEOUT_S", 1.0)
    monkeypatch.setattr(cache, "UNHEARD_MAX_AGE_S", 0.0)
    monkeypatch.setattr(cache, "PROBE_EVERY_S", 0.0)
    new = await make()
    keyring = CredentialCache(database, SECRET, TOKENS)
    await keyring.resolve(Credential(new.secret))
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)

    async with (
        listener,
        connect(
            f"postgresql://jan@127.0.0.1:{port}/jan",
            pool_size=1,
            application_name="t",
        ) as silent,
    ):
        keyring._database = silent
        with anyio.fail_after(4):
            await keyring.resolve(Credential(new.secret))  # finds out, and says yes all the same
        async with anyio.create_task_group() as group:
            group.start_soon(keyring.resolve, Credential(new.secret))  # looks whether it is back
            await until(lambda: works(keyring, new.secret), within_s=0.9)


async def test_an_error_of_the_database_is_not_the_keys_fault(
    database: Database, owner_url: str
) -> None:
    async with connect(owner_url, pool_size=1, application_name="t") as owner:
        await owner.pool.execute("ALTER TABLE api_key RENAME TO gone")

    with pytest.raises(DatabaseUnavailable):
        await CredentialCache(database, SECRET, TOKENS).resolve(Credential(text.new()))


async def test_a_key_of_another_secret_does_not_open(database_url: str) -> None:
    async with connect(database_url, pool_size=1, application_name="t") as database:
        new = await make()
        with pytest.raises(Unauthorized):
            await CredentialCache(database, "t" * 32, TOKENS).resolve(Credential(new.secret))
