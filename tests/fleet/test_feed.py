"""What the database says of the fleet reaches a process, whatever lies in it."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from structlog.testing import capture_logs

from jan.db.engine import Database
from jan.fleet.credentials import ProviderKeys
from jan.fleet.feed import Feed
from jan.inference.registry import Described, Registry, Served
from tests.conftest import execute, fetch
from tests.fleets import KEYS, NODE, add_endpoint, add_provider
from tests.gateways import until

URL = "http://127.0.0.1:1"


@asynccontextmanager
async def feeding(dsn: str, node: str = NODE) -> AsyncGenerator[list[Registry]]:
    """Run a feed; the value is what it has handed on."""
    got: list[Registry] = []
    feed = Feed(dsn, node, KEYS, got.append)
    running = asyncio.create_task(feed.run())
    try:
        await until(lambda: got)
        yield got
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def read(node: str = NODE) -> Registry:
    got: list[Registry] = []
    await Feed("", node, KEYS, got.append).read()
    return got[0]


async def test_all_of_it_is_read(database: Database) -> None:
    await add_provider(
        sealed=KEYS.close("prov_1", [URL], "sk-secret"), prefix="acme/", only_models=["a", "b"]
    )
    served = '[{"id": "a", "created": 3, "capabilities": ["chat"], "something": "new"}]'
    since = datetime(2026, 1, 5, tzinfo=UTC)
    await add_endpoint(
        URL, served=served, weight=3, max_running=4, state="degraded", since=since, last_error="x"
    )
    await execute(
        "INSERT INTO model (id, owned_by, fallbacks, prompt_price) VALUES ('a', 'me', '{b}', 7)"
    )
    await execute("INSERT INTO model_alias VALUES ('best', 'a')")

    registry = await read()

    [endpoint] = registry.endpoints
    assert endpoint.served == (Served("a", 3, capabilities=("chat",)),)
    assert (endpoint.provider, endpoint.kind, endpoint.api_key) == ("acme", "openai", "sk-secret")
    assert (endpoint.prefix, endpoint.only_models) == ("acme/", ("a", "b"))
    assert (endpoint.weight, endpoint.max_running, endpoint.is_shared) == (3, 4, True)
    assert (endpoint.state, endpoint.since, endpoint.last_error) == ("degraded", since, "x")
    assert registry.models == {"a": Described(owned_by="me", fallbacks=("b",), prompt_price=7)}
    assert registry.aliases == {"best": "a"}


async def test_what_is_switched_off_or_elsewhere_is_not_read(database: Database) -> None:
    await execute(
        "INSERT INTO node SELECT n, '{}', now(), now() FROM unnest($1::text[]) AS n",
        [NODE, "other"],
    )
    await add_provider()
    await add_provider("prov_off", "off", is_enabled=False)
    await add_endpoint(URL, "ep_off", is_enabled=False)
    await add_endpoint(URL, "ep_of_off", "prov_off")
    await add_endpoint("unix:///here", "ep_here", node=NODE)
    await add_endpoint("unix:///there", "ep_there", node="other")

    registry = await read()

    assert [(each.id, each.is_shared) for each in registry.endpoints] == [("ep_here", False)]


async def test_what_sleeps_here_is_read(database: Database) -> None:
    await execute(
        "INSERT INTO node SELECT n, '{}', now(), now() FROM unnest($1::text[]) AS n",
        [NODE, "other"],
    )
    insert = "INSERT INTO deployment (id, node, model, status) VALUES ($1, $2, $3, $4)"
    await execute(insert, "depl_1", NODE, "sleeper", "idle")
    await execute(insert, "depl_2", NODE, "runner", "loaded")
    await execute(insert, "depl_3", "other", "far", "idle")

    [sleeping] = (await read()).sleeping

    assert (sleeping.model, sleeping.deployment_id) == ("sleeper", "depl_1")


async def test_a_change_arrives_at_once(database: Database, database_url: str) -> None:
    async with feeding(database_url) as got:
        await add_provider()
        began_s = time.monotonic()
        await add_endpoint(URL)
        await until(lambda: got[-1].endpoints)
        assert time.monotonic() - began_s < 0.5

        await execute("UPDATE provider SET is_enabled = false")
        await until(lambda: not got[-1].endpoints)


async def test_many_changes_are_read_together(database: Database, database_url: str) -> None:
    await add_provider()
    async with feeding(database_url) as got:
        await asyncio.gather(
            *(database.pool.execute("SELECT pg_notify('jan_fleet', 'x')") for _ in range(50))
        )
        await add_endpoint(URL)
        await until(lambda: got[-1].endpoints)
        await asyncio.sleep(0.1)

        assert len(got) <= 4, "what is read as it was before is no news"


async def test_an_unreadable_key_leaves_out_its_endpoint_alone(database: Database) -> None:
    other = ProviderKeys("x" * 32)
    await add_provider()
    await add_endpoint(URL, "ep_good")
    bad = {
        "prov_other_secret": other.close("prov_other_secret", [URL], "sk-a-secret"),
        "prov_of_another": KEYS.close("prov_1", [URL], "sk-a-secret"),
        "prov_for_elsewhere": KEYS.close("prov_for_elsewhere", ["http://evil"], "sk-a-secret"),
        "prov_garbage": "garbage",
    }
    for number, (provider_id, sealed) in enumerate(bad.items()):
        await add_provider(provider_id, f"bad-{number}", sealed=sealed)
        await add_endpoint(URL, f"ep_{number}", provider_id)
    got: list[Registry] = []
    feed = Feed("", NODE, KEYS, got.append)

    with capture_logs() as lines:
        await feed.read()
        await feed.read()

    assert [each.id for each in got[0].endpoints] == ["ep_good"]
    told = [line for line in lines if line["event"] == "an endpoint is left out"]
    assert sorted(line["provider"] for line in told) == ["bad-0", "bad-1", "bad-2", "bad-3"]
    assert "sk-a-secret" not in repr(lines)


async def test_what_a_row_should_not_hold_leaves_it_out_alone(database: Database) -> None:
    await add_provider()
    await add_endpoint(URL, "ep_good")
    await add_endpoint(URL + "/2", "ep_bad", served='{"id": 7}')

    assert [each.id for each in (await read()).endpoints] == ["ep_good"]


async def test_a_thousand_endpoints_load_quickly(database: Database) -> None:
    sealed = KEYS.close("prov_1", [URL], "sk-secret")
    await add_provider(sealed=sealed)
    await execute(
        "INSERT INTO endpoint (id, provider_id, url, served)"
        " SELECT 'ep_' || n, 'prov_1', $1 || '/' || n,"
        " (SELECT jsonb_agg(jsonb_build_object('id', 'model-' || m))"
        "  FROM generate_series(1, 20) AS m)"
        " FROM generate_series(1, 1000) AS n",
        URL,
    )
    got: list[Registry] = []
    feed = Feed("", NODE, KEYS, got.append)

    began_s = time.monotonic()
    await feed.read()
    first_s = time.monotonic() - began_s
    await execute("UPDATE endpoint SET weight = 2 WHERE id = 'ep_7'")
    began_s = time.monotonic()
    await feed.read()
    again_s = time.monotonic() - began_s

    assert len(got[1].endpoints) == 1000
    assert got[0].endpoints[6].weight == 1
    assert first_s < 2
    assert again_s < first_s


async def test_before_there_are_tables_it_waits(empty_database_url: str) -> None:
    from jan.db.engine import connect  # noqa: PLC0415 - the fixture's is another one

    async with connect(empty_database_url, pool_size=1, application_name="test"):
        got: list[Registry] = []
        running = asyncio.create_task(Feed(empty_database_url, NODE, KEYS, got.append).run())
        await asyncio.sleep(0.5)

        assert not running.done()
        assert got == []
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_it_is_nobodys_but_the_systems(database: Database) -> None:
    await add_provider()

    assert await database.pool.fetch("SELECT * FROM provider") == []
    assert len(await fetch("SELECT * FROM provider")) == 1
