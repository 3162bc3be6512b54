"""The model server that the settings name, in the registry."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from jan import settings
from jan.db.engine import Database
from jan.fleet import configured
from jan.fleet.credentials import ProviderKeys
from jan.settings import Settings
from tests.conftest import execute, fetch
from tests.fleets import KEYS, add_provider

URL = "http://models.example:8000"
FIELDS = "p.kind, p.managed_by, e.url, e.node"


def said(**more: Any) -> Settings:
    return settings.load(more, environ={}).settings


async def there() -> list[tuple[Any, ...]]:
    rows = await fetch(
        f"SELECT {FIELDS} FROM provider AS p JOIN endpoint AS e ON e.provider_id = p.id"
        " WHERE p.name = 'configured'"
    )
    return [tuple(row) for row in rows]


async def key_there() -> str:
    [row] = await fetch("SELECT id, sealed FROM provider WHERE name = 'configured'")
    assert row["sealed"]
    return KEYS.read_for(row["id"], row["sealed"], URL)


async def test_what_the_settings_name_is_a_provider(database: Database) -> None:
    given = said(inference_model_url=URL, inference_model_api_key="sk-secret")

    await configured.write(given, KEYS, is_alone=False)

    assert await there() == [("openai", "settings", URL, None)]
    assert await key_there() == "sk-secret"


async def test_twice_changes_nothing(database: Database) -> None:
    given = said(inference_model_url=URL, inference_model_api_key="sk-secret")
    await configured.write(given, KEYS, is_alone=False)
    query = "SELECT p.*, e.* FROM provider AS p JOIN endpoint AS e ON true"
    before = await fetch(query)

    await configured.write(given, KEYS, is_alone=True)

    assert await fetch(query) == before


async def test_several_gateways_may_do_it_at_once(database: Database) -> None:
    given = said(inference_model_url=URL, inference_model_api_key="sk-secret")

    await asyncio.gather(*(configured.write(given, KEYS, is_alone=True) for _ in range(8)))

    assert await there() == [("openai", "settings", URL, None)]


async def test_another_url_or_key_takes_the_old_ones_place(database: Database) -> None:
    await configured.write(
        said(inference_model_url="http://old", inference_model_api_key="sk-old"),
        KEYS,
        is_alone=False,
    )
    [before] = await fetch("SELECT id FROM provider")

    await configured.write(
        said(inference_model_url=URL, inference_model_api_key="sk-new"), KEYS, is_alone=False
    )

    assert await there() == [("openai", "settings", URL, None)]
    assert await key_there() == "sk-new"
    assert [before] == await fetch("SELECT id FROM provider")


async def test_a_key_that_is_not_said_any_more_is_gone(database: Database) -> None:
    await configured.write(
        said(inference_model_url=URL, inference_model_api_key="sk-old"), KEYS, is_alone=False
    )

    await configured.write(said(inference_model_url=URL), KEYS, is_alone=False)

    [row] = await fetch("SELECT sealed FROM provider")
    assert row["sealed"] is None


async def test_a_key_sealed_with_another_secret_is_sealed_anew(database: Database) -> None:
    given = said(inference_model_url=URL, inference_model_api_key="sk-secret")
    await configured.write(given, ProviderKeys("x" * 32), is_alone=False)

    await configured.write(given, KEYS, is_alone=False)

    assert await key_there() == "sk-secret"


async def test_a_gateway_alone_asks_the_engine_that_jan_runner_starts(database: Database) -> None:
    await configured.write(said(runner_port=8199), KEYS, is_alone=True)

    assert await there() == [("runner", "settings", "http://127.0.0.1:8199", None)]


async def test_an_engine_that_nobody_named_is_not_supposed_beside_others(
    database: Database,
) -> None:
    await add_provider("prov_own", "own")

    await configured.write(said(), KEYS, is_alone=True)

    assert await there() == []


async def test_jan_serve_takes_away_what_is_not_said_any_more(database: Database) -> None:
    await add_provider("prov_own", "own")
    await configured.write(said(inference_model_url=URL), KEYS, is_alone=False)

    await configured.write(said(), KEYS, is_alone=False)
    await configured.write(said(), KEYS, is_alone=False)

    assert [row["name"] for row in await fetch("SELECT name FROM provider")] == ["own"]


ACME = {"name": "acme", "urls": ["http://one.example/v1", "http://two.example"]}


async def named() -> list[tuple[Any, ...]]:
    rows = await fetch(
        "SELECT p.name, p.kind, p.prefix, p.only_models, e.url, e.max_running FROM provider AS p"
        " JOIN endpoint AS e ON e.provider_id = p.id ORDER BY p.name, e.url"
    )
    return [tuple(row) for row in rows]


async def test_several_servers_with_all_that_is_said_of_them(database: Database) -> None:
    more = {"kind": "jan", "prefix": "acme/", "models": ["large"], "max_running": 8}
    engine = {"name": "engine-small", "urls": ["http://small-0:8101"], "kind": "runner"}

    await configured.write(said(providers=[{**ACME, **more}, engine]), KEYS, is_alone=True)

    assert await named() == [
        ("acme", "jan", "acme/", ["large"], "http://one.example", 8),
        ("acme", "jan", "acme/", ["large"], "http://two.example", 8),
        ("engine-small", "runner", "", None, "http://small-0:8101", None),
    ]


async def test_servers_that_are_said_again_stay_as_they_are(database: Database) -> None:
    given = said(providers=[{**ACME, "api_key": "sk-acme"}])
    await configured.write(given, KEYS, is_alone=True)
    query = "SELECT p.*, e.* FROM provider AS p JOIN endpoint AS e ON true ORDER BY e.id"
    before = await fetch(query)

    await configured.write(given, KEYS, is_alone=True)

    assert await fetch(query) == before


async def test_servers_that_are_said_differently_are_changed(database: Database) -> None:
    await configured.write(said(providers=[{**ACME, "max_running": 8}]), KEYS, is_alone=True)
    other = {"name": "acme", "urls": ["http://two.example", "http://three.example"], "prefix": "a/"}

    await configured.write(said(providers=[other]), KEYS, is_alone=True)

    assert await named() == [
        ("acme", "openai", "a/", None, "http://three.example", None),
        ("acme", "openai", "a/", None, "http://two.example", None),
    ]


async def test_a_key_is_good_for_every_address_of_its_server(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("sk-acme\n", encoding="utf-8")
    first = {**ACME, "urls": ["http://one.example"], "api_key_file": tmp_path / "key"}
    await configured.write(said(providers=[first]), KEYS, is_alone=True)

    await configured.write(said(providers=[{**first, **ACME}]), KEYS, is_alone=True)

    [row] = await fetch("SELECT id, sealed FROM provider")
    assert {
        KEYS.read_for(row["id"], row["sealed"], url) for _, _, _, _, url, _ in await named()
    } == {"sk-acme"}


async def test_servers_that_are_said_no_more_are_gone_and_engines_of_nodes_stay(
    database: Database,
) -> None:
    await add_provider("prov_own", "own")
    await execute("INSERT INTO node (name, started_at, seen_at) VALUES ('box:/srv', now(), now())")
    await execute(
        "INSERT INTO provider (id, name, kind, node, managed_by)"
        " VALUES ('prov_node', 'runner.box', 'runner', 'box:/srv', 'settings')"
    )
    await configured.write(said(providers=[ACME], inference_model_url=URL), KEYS, is_alone=True)

    await configured.write(said(), KEYS, is_alone=False)

    names = [row["name"] for row in await fetch("SELECT name FROM provider ORDER BY name")]
    assert names == ["own", "runner.box"]


@pytest.mark.parametrize("given", [{"inference_model_url": URL}, {}])
async def test_an_operators_provider_of_that_name_stays(
    database: Database, given: dict[str, Any]
) -> None:
    await add_provider(name="configured")

    with capture_logs() as lines:
        await configured.write(said(**given), KEYS, is_alone=False)

    assert len(lines) == bool(given)
    [row] = await fetch("SELECT managed_by FROM provider")
    assert row["managed_by"] == "operator"


async def test_a_gateway_alone_waits_for_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute("SELECT 1")
    database.pool.terminate()
    trying = asyncio.create_task(configured.keep_trying(said(), KEYS))
    await asyncio.sleep(0.5)

    assert not trying.done()
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
