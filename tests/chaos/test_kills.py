"""Any process may be killed at any time: the others go on, it comes back, nothing is left."""

import signal
import time
from pathlib import Path

import anyio
import psutil

from jan.runner import store
from tests.chaos.conftest import CHAT, PATH, Scene
from tests.runner import fake_engine, models
from tests.scraping import scrape
from tests.serving import DEADLINE_S, serving, until

MOST_LOST_S = 1.5
"""Rows are written each second; the rest is for the writing."""


async def test_a_killed_gateway_worker_comes_back_and_the_other_goes_on(
    lasting_scene: Scene,
) -> None:
    serve = lasting_scene.serve
    await until(lambda: len(serve.children("gateway")) == 2)
    victim, other = serve.children("gateway")

    victim.kill()
    await until(lambda: not victim.is_running())
    statuses = [await lasting_scene.chat() for _ in range(10)]
    await until(lambda: len(serve.children("gateway")) == 2)

    assert statuses == [200] * 10
    assert other in serve.children("gateway")
    assert any(event["event"] == "The gateway was killed by SIGKILL." for event in serve.events)


async def test_totals_survive_a_killed_gateway_worker_and_what_it_did_at_the_moment_does_not(
    lasting_scene: Scene,
) -> None:
    serve, name = lasting_scene.serve, "jan_gateway_requests_total"
    await until(lambda: len(serve.children("gateway")) == 2)

    async def until_counted(count: float) -> list[float]:
        """What was seen on the way there. It never falls."""
        seen = [0.0]
        with anyio.fail_after(DEADLINE_S):
            while seen[-1] != count:
                seen.append((await scrape(serve.metrics)).sum(name, route=PATH, status="200"))
                assert sorted(seen) == seen
        return seen

    before = (await scrape(serve.metrics)).sum(name, route=PATH, status="200")
    assert [await lasting_scene.chat() for _ in range(20)] == [200] * 20
    await until_counted(before + 20)
    both = await scrape(serve.metrics)
    victim, _ = serve.children("gateway")
    victim.kill()
    await until(lambda: not victim.is_running())
    without = await scrape(serve.metrics)
    assert [await lasting_scene.chat() for _ in range(10)] == [200] * 10
    await until_counted(before + 30)
    await until(lambda: len(serve.children("gateway")) == 2)
    with anyio.fail_after(DEADLINE_S):
        while (await scrape(serve.metrics)).values("jan_gateway_processes") != [2]:
            await anyio.sleep(0.05)

    assert both.values("jan_gateway_processes") == [2]
    assert len(both.values("process_resident_memory_bytes")) == 3
    assert without.values("jan_gateway_processes") == [1]
    assert len(without.values("process_resident_memory_bytes")) == 2
    assert without.sum(name, route=PATH, status="200") == before + 20


async def test_a_gateway_worker_that_hangs_holds_no_scrape_up(lasting_scene: Scene) -> None:
    serve, name = lasting_scene.serve, "jan_gateway_requests_total"
    await until(lambda: len(serve.children("gateway")) == 2)
    before = await scrape(serve.metrics)
    victim, _ = serve.children("gateway")

    victim.suspend()
    try:
        during = await scrape(serve.metrics)
    finally:
        victim.resume()

    assert during.took_s < 1.5
    assert during.values("jan_gateway_processes") == [1]
    assert during.sum(name, route=PATH) >= before.sum(name, route=PATH)


async def test_known_keys_work_while_a_killed_database_recovers_and_no_usage_is_lost(
    lasting_scene: Scene,
) -> None:
    serve = lasting_scene.serve
    async with serve.client(lasting_scene.key) as client:  # one connection, so one worker

        async def chat() -> int:
            return (await client.post(PATH, json=CHAT)).status_code

        before = [await chat() for _ in range(20)]
        rows = (await serve.fetch("SELECT count(*) FROM usage"))[0][0]
        (postgres,) = serve.children("-D")
        postgres.kill()
        during = [await chat() for _ in range(20)]
        await until(lambda: serve.children("-D"))
        await serve.until_ready()

    assert before == during == [200] * 20
    with anyio.fail_after(10):
        while (await serve.fetch("SELECT count(*) FROM usage"))[0][0] < rows + len(during):
            await anyio.sleep(0.05)


async def test_a_kill_loses_the_usage_of_the_last_second_at_most(lasting_scene: Scene) -> None:
    serve = lasting_scene.serve
    await serve.fetch("DELETE FROM usage")
    ended_s: list[float] = []
    while not ended_s or ended_s[-1] - ended_s[0] < 2 * MOST_LOST_S:
        assert await lasting_scene.chat() == 200
        ended_s.append(time.monotonic())

    for worker in serve.children("gateway"):
        worker.kill()
    killed_s = time.monotonic()

    rows = (await serve.fetch("SELECT count(*) FROM usage"))[0][0]
    assert rows >= sum(ended < killed_s - MOST_LOST_S for ended in ended_s) > 0


async def test_every_process_below_the_supervisor_may_be_killed(lasting_scene: Scene) -> None:
    serve = lasting_scene.serve
    tree = serve.process.children(recursive=True)
    assert len(tree) > 5

    for victim in tree:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue  # it went with one before

    await until(lambda: len(serve.children("gateway")) == 2)
    await serve.until_ready()
    assert await lasting_scene.chat() == 200


async def test_nothing_is_left_of_a_killed_supervisor_and_its_engine(
    home: Path, tmp_path: Path
) -> None:
    fake_engine.write(home)
    store.add(home, "tiny", models.write(tmp_path / "tiny"))
    flags = ("--engine", "cpu", "--model", "tiny", "--engine-args=--escape")
    async with serving(home, *flags) as serve:
        await until(lambda: "tiny" in serve.words("model"))

        await serve.end(signal.SIGKILL)

        await until(lambda: serve.left_behind() == [])


async def test_the_next_supervisor_need_not_wait_for_the_children_of_a_killed_one(
    scene: Scene,
) -> None:
    port = scene.serve.url.rpartition(":")[2]

    await scene.serve.end(signal.SIGKILL)

    flags = ("--upstream", scene.upstream.url, "--port", port)
    async with serving(scene.serve.home, *flags) as again:
        await again.until_ready()
        assert await scene.chat(again) == 200
