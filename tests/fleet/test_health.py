"""Several processes on one database: all of them know how endpoints are, whoever looked."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from jan import clock
from jan.db.engine import Database
from jan.fleet import leader
from jan.inference import trouble
from tests.conftest import execute, fetch
from tests.fakes import MODEL, FakeUpstream, Reply, Seen, fake_upstream
from tests.fleet.test_leader import cut, holders
from tests.fleets import KEYS, NODE, Process, add_endpoint, add_provider, process
from tests.gateways import until

SOON_S = 1.0
"""Within which every replica has to know."""


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with fake_upstream() as fake:
        yield fake


@pytest.fixture
async def processes(
    database: Database, database_url: str, upstream: FakeUpstream
) -> AsyncIterator[list[Process]]:
    """Three, to whom one endpoint is known, and well."""
    await add_provider()
    await add_endpoint(upstream.url)
    async with several(database_url, 3) as known:
        await until(lambda: all(each.state() == "healthy" for each in known))
        await until(lambda: all(each.leader.is_connected for each in known))
        await until(lambda: sum(each.leads for each in known) == 1)
        await until_written("healthy")
        yield known


@asynccontextmanager
async def several(url: str, count: int, **more: Any) -> AsyncGenerator[list[Process]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(process(url, **more)) for _ in range(count)]


async def until_written(state: str, endpoint_id: str = "ep_1") -> None:
    async with asyncio.timeout(5):
        while (await written(endpoint_id))["state"] != state:
            await asyncio.sleep(0.01)


async def written(endpoint_id: str = "ep_1") -> Any:
    [row] = await fetch("SELECT * FROM endpoint WHERE id = $1", endpoint_id)
    return row


def count_looks(upstream: FakeUpstream) -> list[float]:
    """Keep when its models are asked for."""
    looks_s: list[float] = []
    answer = upstream.scripts["/v1/models"]

    async def script(seen: Seen, reply: Reply) -> None:
        looks_s.append(time.monotonic())
        await answer(seen, reply)

    upstream.script("/v1/models", script)
    return looks_s


async def stall(_: Seen, reply: Reply) -> None:
    await reply.stall()


async def test_all_see_within_a_second_that_it_is_away_and_that_it_is_back(
    processes: list[Process], upstream: FakeUpstream
) -> None:
    await upstream.kill()
    began_s = time.monotonic()
    await until(lambda: all(each.state() == "ejected" for each in processes))
    assert time.monotonic() - began_s < SOON_S

    await asyncio.sleep(1.5)
    await upstream.start()
    began_s = time.monotonic()
    await until(lambda: all(each.state() == "healthy" for each in processes))
    assert time.monotonic() - began_s < SOON_S + 0.25
    await until_written("healthy")
    assert (await written())["last_error"]


async def test_what_it_serves_is_written_down_and_known_to_all(
    processes: list[Process], upstream: FakeUpstream
) -> None:
    def served(each: Process) -> list[str]:
        return [model.id for model in each.fleet.instances["ep_1"].endpoint.served]

    assert all(served(each) == [MODEL] for each in processes)

    async def two(_: Seen, reply: Reply) -> None:
        await reply.json({"data": [{"id": "a", "created": time.time_ns()}, {"id": "b"}]})

    upstream.script("/v1/models", two)
    await until(lambda: all(served(each) == ["a", "b"] for each in processes))
    row = await written()
    assert '"a"' in row["served"]
    assert row["latency_ms"] > 0


async def test_only_one_looks(processes: list[Process], upstream: FakeUpstream) -> None:
    looks_s = count_looks(upstream)

    await asyncio.sleep(1)

    assert 3 <= len(looks_s) <= 8, "at 0.2 s, by one of three"


async def test_that_nothing_is_new_notifies_nobody(
    processes: list[Process], database_url: str
) -> None:
    heard: list[object] = []
    before = await written()
    connection = await asyncpg.connect(database_url)
    await connection.add_listener("jan_fleet", lambda *got: heard.append(got[3]))

    await asyncio.sleep(leader.NOTE_EVERY_S + 1)

    after = await written()
    await connection.close()
    assert heard == []
    assert after["since"] == before["since"]
    assert after["checked_at"] > before["checked_at"]


async def test_a_process_that_sees_failures_has_the_leader_look_at_once(
    database: Database, database_url: str, upstream: FakeUpstream
) -> None:
    await add_provider()
    await add_endpoint(upstream.url)
    async with several(database_url, 2, interval_s=60) as known:
        await until(lambda: all(each.leader.is_connected for each in known))
        await until(lambda: all(each.state() == "healthy" for each in known))
        await until_written("healthy")
        [follower] = [each for each in known if not each.leads]
        await upstream.kill()

        began_s = time.monotonic()
        follower.fleet.instances["ep_1"].condition.bad("Connection refused", is_gone=True)
        follower.checks.doubt("ep_1")
        await until(lambda: all(each.state() == "ejected" for each in known))

        assert time.monotonic() - began_s < SOON_S


async def test_a_storm_of_doubts_is_no_storm_of_looks(
    processes: list[Process], upstream: FakeUpstream
) -> None:
    looks_s = count_looks(upstream)

    for _ in range(100):
        for each in processes:
            each.checks.doubt("ep_1")
            each.checks.doubt("ep_of_nobody")
        await asyncio.sleep(0.01)

    assert len(looks_s) <= 10


async def test_whom_only_one_process_finds_unwell_it_looks_at_by_itself(
    database: Database, database_url: str, upstream: FakeUpstream
) -> None:
    await add_provider()
    await add_endpoint(upstream.url)
    async with several(database_url, 2, interval_s=60) as known:
        await until(lambda: all(each.leader.is_connected for each in known))
        await until(lambda: all(each.state() == "healthy" for each in known))
        await until_written("healthy")
        [follower] = [each for each in known if not each.leads]

        follower.fleet.instances["ep_1"].condition.bad("Connection refused", is_gone=True)
        follower.checks.doubt("ep_1")

        assert follower.state() == "ejected"
        await until(lambda: follower.state() == "healthy")


async def test_when_the_leader_is_cut_off_another_goes_on(
    processes: list[Process],
    upstream: FakeUpstream,
    database: Database,
    postgres: Path,
    database_name: str,
) -> None:
    await cut(postgres, database_name, list(set(await holders(database))))
    await upstream.kill()

    await until(lambda: all(each.state() == "ejected" for each in processes))
    await until(lambda: sum(each.leads for each in processes) == 1)
    await until_written("ejected")


async def test_while_the_database_is_away_each_looks_for_itself(
    processes: list[Process],
    upstream: FakeUpstream,
    postgres: Path,
    database_name: str,
) -> None:
    for each in processes:
        each.leader._dsn = "postgresql://nobody@127.0.0.1:1/none"
    await cut(postgres, database_name)
    await until(lambda: not any(each.leader.is_connected for each in processes))

    await upstream.kill()
    await until(lambda: all(each.state() == "ejected" for each in processes))

    async def other(_: Seen, reply: Reply) -> None:
        await reply.json({"data": [{"id": "other"}]})

    upstream.script("/v1/models", other)
    await upstream.start()
    await until(lambda: all(each.state() == "healthy" for each in processes))
    for each in processes:
        await until(
            lambda each=each: (
                [model.id for model in each.fleet.instances["ep_1"].endpoint.served] == ["other"]
            )
        )
    assert (await written())["state"] == "healthy", "nobody could write"


async def test_a_slow_health_endpoint_delays_nobody(
    database: Database, database_url: str, upstream: FakeUpstream
) -> None:
    await add_provider()
    async with fake_upstream() as slow, process(database_url, timeout_s=30) as one:
        slow.scripts.update({f"/{number}/v1/models": stall for number in range(20)})
        for number in range(20):
            await add_endpoint(f"{slow.url}/{number}", f"ep_slow_{number}")
        await until(lambda: len(one.fleet.instances) == 20)

        began_s = time.monotonic()
        await add_endpoint(upstream.url)
        await until(lambda: one.state() == "healthy")
        assert time.monotonic() - began_s < SOON_S

        looks_s = count_looks(upstream)
        await asyncio.sleep(1)
        assert len(looks_s) >= 3
        assert one.state("ep_slow_1") == "unknown"


async def test_one_that_accepts_and_never_answers_is_ejected(
    processes: list[Process], upstream: FakeUpstream
) -> None:
    upstream.script("/v1/models", stall)

    await until(lambda: all(each.state() == "degraded" for each in processes))
    await until(lambda: all(each.state() == "ejected" for each in processes))

    assert processes[0].fleet.instances["ep_1"].condition.last_error == "no answer within 1 s"


async def test_one_that_flaps_rests_longer_each_time(
    database: Database, database_url: str, upstream: FakeUpstream
) -> None:
    await add_provider()
    await add_endpoint(upstream.url)
    async with process(database_url) as one:
        rests_s: list[float] = []
        for _ in range(4):
            await until(lambda: one.state() == "healthy")
            await upstream.kill()
            await until(lambda: one.state() == "ejected")
            await upstream.start()
            began_s = time.monotonic()
            await until(lambda: one.state() == "healthy")
            rests_s.append(time.monotonic() - began_s)

    assert rests_s[0] < 0.6
    assert rests_s[3] > 1.2
    assert rests_s[3] > rests_s[1]


async def test_a_jump_of_the_wall_clock_changes_nothing(
    processes: list[Process], upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in (3650, -3650):
        far = datetime.now(UTC) + timedelta(days=days)
        monkeypatch.setattr(clock, "now", lambda far=far: far)
        looks_s = count_looks(upstream)
        await asyncio.sleep(0.6)

        assert 1 <= len(looks_s) <= 6
        assert all(each.state() == "healthy" for each in processes)

    await upstream.kill()
    await until(lambda: all(each.state() == "ejected" for each in processes))


async def test_a_wrong_key_is_told_in_words_once_and_never_itself(
    database: Database, database_url: str, upstream: FakeUpstream
) -> None:
    async def guarded(seen: Seen, reply: Reply) -> None:
        is_right = seen.headers.get("authorization") == "Bearer sk-right-key"
        await reply.json({"data": [{"id": "m"}]}, 200 if is_right else 401)

    upstream.script("/v1/models", guarded)
    await add_provider(sealed=KEYS.close("prov_1", [upstream.url], "sk-wrong-key"))
    await add_endpoint(upstream.url)
    with capture_logs() as lines:
        async with process(database_url) as one:
            await until_written("ejected")
            await asyncio.sleep(0.5)
            told = [line for line in lines if line["event"] == "inference is away"]
            assert len(told) == 1
            assert told[0]["error"] == "it refuses the API key (status 401)"
            assert (await written())["last_error"] == told[0]["error"]

            sealed = KEYS.close("prov_1", [upstream.url], "sk-right-key")
            await execute("UPDATE provider SET sealed = $1", sealed)
            await until(lambda: one.state() == "healthy")
    assert "-key" not in repr(lines)


async def test_all_are_down_and_come_back(database: Database, database_url: str) -> None:
    await add_provider()
    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(fake_upstream()) for _ in range(5)]
        names = [f"ep_{number}" for number in range(5)]
        for name, upstream in zip(names, upstreams, strict=True):
            await add_endpoint(upstream.url, name)
        known = await stack.enter_async_context(several(database_url, 2))

        def are(state: str) -> bool:
            return all(each.state(name) == state for each in known for name in names)

        await until(lambda: are("healthy"))
        for upstream in upstreams:
            await upstream.kill()
        await until(lambda: are("ejected"))
        for upstream in upstreams:
            await upstream.start()
        await until(lambda: are("healthy"))


async def test_one_that_is_deleted_while_it_is_looked_at_is_forgotten(
    processes: list[Process], upstream: FakeUpstream
) -> None:
    upstream.script("/v1/models", stall)
    await asyncio.sleep(0.3)

    await execute("DELETE FROM endpoint")
    await until(lambda: not any(each.fleet.instances for each in processes))
    await asyncio.sleep(1.2)

    assert await fetch("SELECT * FROM endpoint") == []
    assert all(not each.checks.changes for each in processes)


async def test_what_was_found_at_an_old_address_says_nothing_of_the_new_one(
    processes: list[Process], upstream: FakeUpstream
) -> None:
    async with fake_upstream() as other:
        await upstream.kill()
        await execute("UPDATE endpoint SET url = $1", other.url)

        await until(
            lambda: all(
                each.fleet.instances["ep_1"].endpoint.url == other.url for each in processes
            )
        )
        await until(lambda: all(each.state() == "healthy" for each in processes))
        assert all(each.fleet.catalog.is_ready for each in processes)


async def test_one_without_a_model_is_away_and_keeps_those_last_known(
    processes: list[Process], upstream: FakeUpstream
) -> None:
    async def none(_: Seen, reply: Reply) -> None:
        await reply.json({"data": []})

    upstream.script("/v1/models", none)

    await until(lambda: all(each.state() == "ejected" for each in processes))
    await until_written("ejected")
    row = await written()
    assert row["last_error"] == "the model server has no model"
    assert MODEL in row["served"]


async def test_why_an_engine_is_away_is_read_beside_its_socket(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    socket = tmp_path / "http.sock"
    await execute("INSERT INTO node VALUES ($1, '{}', now(), now())", NODE)
    await add_provider(kind="runner", node=NODE)
    await add_endpoint(f"unix://{socket}", node=NODE)
    trouble.tell(socket, "The engine keeps failing: no memory.")
    async with process(database_url), process(database_url, node="other:/srv") as elsewhere:
        await until_written("ejected")

        assert (await written())["last_error"] == "The engine keeps failing: no memory."
        assert elsewhere.fleet.instances == {}, "it is not theirs to see"


async def test_an_engine_that_becomes_ready_is_used_within_half_a_second(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    socket = tmp_path / "http.sock"
    await execute("INSERT INTO node VALUES ($1, '{}', now(), now())", NODE)
    await add_provider(kind="runner", node=NODE)
    await add_endpoint(f"unix://{socket}", node=NODE)
    async with process(database_url, interval_s=5) as one:
        await until_written("ejected")
        await asyncio.sleep(3)  # while it loads

        async with fake_upstream(socket):
            began_s = time.monotonic()
            await until(lambda: one.state() == "healthy")
            assert time.monotonic() - began_s < 0.5


async def test_changes_are_told_once_and_counted(
    processes: list[Process], upstream: FakeUpstream
) -> None:
    with capture_logs() as lines:
        await upstream.kill()
        await until(lambda: all(each.state() == "ejected" for each in processes))
        await asyncio.sleep(1)

    assert [line["event"] for line in lines if line["log_level"] != "debug"] == [
        "inference is away"
    ]
    for each in processes:
        assert each.checks.changes["ep_1"]["ejected"] == 1
