"""What a gateway tells at its private port, and that each number moves when it should."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from jan import clock
from jan.db.engine import Database
from jan.jobs import queue
from jan.metrics import names
from tests.fakes import DONE, MODEL, FakeUpstream, Reply, Seen, chat_chunk
from tests.gateway import test_worker
from tests.gateway.test_worker import CHAT, NOWHERE, PATH, Worker, running
from tests.scraping import Scrape, scrape

DEADLINE_S = 10
DEAD = "http://127.0.0.1:1"

key = test_worker.key


@pytest.fixture
async def worker(
    home: Path, database: Database, database_url: str, upstream: FakeUpstream
) -> AsyncIterator[Worker]:
    """One whose only instance takes one request at a time, beside one that is away."""
    server = {"name": "acme", "urls": [upstream.url], "max_running": 1}
    more = {"JAN_PROVIDERS": json.dumps([server]), "JAN_QUEUE_SIZE": "1"}
    async with running(home, database_url, DEAD, **more) as worker:
        await worker.until_ready()
        yield worker


async def until(worker: Worker, name: str, value: float, **labels: str) -> Scrape:
    """Ask until a number is that."""
    with anyio.fail_after(DEADLINE_S):
        while (seen := await scrape(worker.metrics)).sum(name, **labels) != value:
            await asyncio.sleep(0.02)
    return seen


async def test_what_requests_come_to_is_counted(
    worker: Worker, key: str, upstream: FakeUpstream
) -> None:
    async def refuse(_: Seen, reply: Reply) -> None:
        await reply.json({"error": {"message": "no", "code": "words-of-their-own"}}, 429)

    async with worker.client(key) as client:
        await client.post(PATH, json=CHAT)
        await client.post(PATH, json=CHAT | {"stream": True})
        await client.post("/v1/embeddings", json={"model": MODEL, "input": "x"})
        await client.post(PATH, json=CHAT | {"model": "none"})
        await client.get("/v1/nowhere")
        await client.delete("/v1/models")
        upstream.script(PATH, refuse)
        await client.post(PATH, json=CHAT)
    async with worker.client("sk-bad") as client:
        await client.post(PATH, json=CHAT)

    seen = await scrape(worker.metrics)
    assert seen.sum("jan_gateway_requests_total", route=PATH, status="200", method="POST") == 2
    assert seen.sum("jan_gateway_requests_total", route=PATH, status="401") == 1
    assert seen.sum("jan_gateway_requests_total", route="none", status="404") == 1
    assert seen.sum("jan_gateway_requests_total", method="DELETE", status="405") == 1
    assert seen.sum("jan_gateway_errors_total", code="model_not_found", route=PATH) == 1
    assert seen.sum("jan_gateway_errors_total", code="invalid_api_key", route=PATH) == 1
    assert seen.sum("jan_gateway_errors_total", code="other", route=PATH) == 1
    chat = {"gen_ai_operation_name": "chat", "gen_ai_request_model": MODEL}
    chat |= {"gen_ai_provider_name": "acme"}
    assert seen.sum("gen_ai_server_request_duration_seconds_count", error_type="", **chat) == 2
    assert seen.sum("gen_ai_server_time_to_first_token_seconds_count", **chat) == 1
    assert seen.sum("gen_ai_server_time_per_output_token_seconds_count", **chat) == 1
    assert seen.sum("gen_ai_client_token_usage_sum", gen_ai_token_type="input", **chat) == 22
    assert seen.sum("gen_ai_client_token_usage_sum", gen_ai_token_type="output", **chat) == 6
    assert seen.sum("jan_gateway_cached_tokens_total", model=MODEL) == 8
    assert seen.sum("jan_gateway_queue_wait_seconds_count", model=MODEL) == 4


async def test_streams_and_those_who_wait_are_told_while_they_do(
    worker: Worker, key: str, upstream: FakeUpstream
) -> None:
    may_end = asyncio.Event()

    async def wait(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(chat_chunk("first"))
        await may_end.wait()
        await reply.chunk(DONE)
        await reply.end()

    upstream.script(PATH, wait)
    before = await scrape(worker.metrics)
    async with worker.client(key) as client:
        asking = [asyncio.create_task(client.post(PATH, json=CHAT | {"stream": True}))]
        await until(worker, "jan_gateway_streams", 1, model=MODEL)
        asking.append(asyncio.create_task(client.post(PATH, json=CHAT | {"stream": True})))
        during = await until(worker, "jan_gateway_queue_waiting", 1, model=MODEL)
        refused = await client.post(PATH, json=CHAT)
        may_end.set()
        answers = [await each for each in asking]
    after = await scrape(worker.metrics)

    assert before.values("jan_gateway_streams", model=MODEL) == [0]
    assert before.values("jan_gateway_queue_waiting", model=MODEL) == [0]
    assert during.sum("jan_gateway_requests_running") == 2
    assert during.sum("jan_gateway_upstream_running", provider="acme") == 1
    assert [answer.status_code for answer in answers] == [200, 200]
    code = refused.json()["error"]["code"]
    assert after.sum("jan_gateway_errors_total", code=code) == 1
    assert after.sum("jan_gateway_streams") == after.sum("jan_gateway_queue_waiting") == 0
    assert after.sum("jan_gateway_queue_wait_seconds_sum") > 0
    assert after.sum("jan_gateway_token_gap_seconds_count", model=MODEL) >= 1


async def test_being_too_many_is_told_apart(
    worker: Worker, key: str, upstream: FakeUpstream
) -> None:
    async def refuse(_: Seen, reply: Reply) -> None:
        await reply.json({"error": {"message": "slower"}}, 429)

    upstream.script(PATH, refuse)
    async with worker.client(key) as client:
        await client.post(PATH, json=CHAT)

    seen = await scrape(worker.metrics)
    assert seen.values("jan_gateway_rate_limited_total", code="rate_limit_exceeded") == [1]


async def test_the_states_of_instances_are_told_and_how_often_they_changed(
    worker: Worker, upstream: FakeUpstream
) -> None:
    state = {"provider": "acme", "state": "healthy"}
    before = await until(worker, "jan_gateway_upstream_state", 1, **state)

    await upstream.kill()
    state["state"] = "ejected"
    after = await until(worker, "jan_gateway_upstream_state", 1, **state)

    assert before.sum("jan_gateway_upstream_changes_total", **state) == 0
    assert after.sum("jan_gateway_upstream_changes_total", **state) == 1
    assert after.sum("jan_gateway_upstream_state", provider="acme", state="healthy") == 0
    assert after.sum("jan_gateway_upstream_state", provider="configured", state="ejected") == 1


async def test_jobs_are_told_by_kind(worker: Worker, database: Database) -> None:
    before = await scrape(worker.metrics)
    async with database.connection() as connection:
        for _ in range(2):
            await queue.enqueue(connection, "of.another.version")
        await queue.enqueue(connection, "mail.later", run_at=clock.now().replace(year=2100))
    after = await scrape(worker.metrics)

    assert before.values("jan_jobs_waiting", kind="jobs.clean") == [0]
    assert before.sum("jan_database_up") == 1
    assert after.values("jan_jobs_waiting", kind="of.another.version") == [2]
    assert after.sum("jan_jobs_overdue_seconds", kind="of.another.version") > 0
    assert after.values("jan_jobs_overdue_seconds", kind="mail.later") == [0]


async def test_an_absent_database_and_an_absent_replica_are_told_and_nothing_waits(
    home: Path,
) -> None:
    more = {"JAN_DATABASE_READ_URLS": NOWHERE}
    async with running(home, NOWHERE, DEAD, **more) as worker:
        seen = await scrape(worker.metrics)

    assert seen.took_s < 1
    assert seen.values("jan_database_up") == [0]
    assert seen.values("jan_jobs_waiting") == []
    assert seen.values("jan_database_replica_up", replica="replica_1") == [0]
    assert seen.values("jan_database_replica_lag_seconds") == []
    assert seen.values("jan_database_connections_max", pool="primary") == [10]


async def test_a_database_that_hangs_holds_nobody_up(home: Path) -> None:
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    url = f"postgresql://jan@127.0.0.1:{server.sockets[0].getsockname()[1]}/jan"
    async with running(home, url, DEAD) as worker:
        scrapes = [await scrape(worker.metrics) for _ in range(3)]
    server.close()
    for writer in writers:
        writer.close()

    assert max(seen.took_s for seen in scrapes) < 1
    assert [seen.sum("jan_database_up") for seen in scrapes] == [0, 0, 0]


async def test_nothing_is_told_that_is_anybodys(worker: Worker, key: str) -> None:
    async with worker.client(key) as client:
        await client.post(PATH, json=CHAT | {"user": "ann-private@example.com"})
        for number in range(200):
            await client.post(PATH, json=CHAT | {"model": f"private-model-{number}"})
        await client.get("/private-path/private-id")
        await client.get("/v1/models/private-name")
        await client.post(PATH, json=CHAT, headers={"x-request-id": "private-request"})
    seen = await scrape(worker.metrics)

    for word in ("private", "@", key, key[:12], "key_", "proj_", "org_", "user_", worker.url):
        assert word not in seen.text
    assert seen.sum("jan_gateway_errors_total", code="model_not_found", route=PATH) == 200
    assert len(seen.text) < 100_000


async def test_every_name_is_declared_with_its_kind_and_its_labels(
    worker: Worker, key: str
) -> None:
    async with worker.client(key) as client:
        await client.post(PATH, json=CHAT | {"stream": True})
        await client.post(PATH, json=CHAT | {"model": "none"})
    seen = await scrape(worker.metrics)

    for family in seen.families:
        if family.name.startswith("process_"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        metric = names.BY_NAME[name]
        assert (metric.kind, metric.text) == (family.type, family.documentation)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)
    told = {family.name for family in seen.families}
    missing = [name for name in names.BY_NAME if name.removesuffix("_total") not in told]
    assert missing == [names.WORKERS.name, names.ENGINE_UP.name]  # those are `jan serve`'s
    assert seen.sum("process_resident_memory_bytes") > 0
