"""A `jan serve` with many engines, which come and go while it runs. Their vLLM is not real."""

import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import psutil
import pytest

from jan import sockets
from jan.runner import store
from tests.conftest import new_home
from tests.runner import fake_engine, models
from tests.scraping import scrape
from tests.serving import DEADLINE_S, JAN, Serve, jan, serving, until

PATH = "/v1/admin/deployments"
CHAT = {"messages": [{"role": "user", "content": "hello"}]}
ENGINES = "SELECT id, url, generation, is_draining, deployment_id FROM endpoint ORDER BY created_at"


def furnish(home: Path, *names: str) -> None:
    """Put the engine and models of these names there."""
    fake_engine.write(home)
    for name in names:
        folder = home / "tmp" / name
        store.add(home, name, models.write(folder))
    shutil.rmtree(home / "tmp")


@dataclass
class Scene:
    """One that runs, and its administrator."""

    serve: Serve
    key: str

    async def ask(self, method: str, path: str, **fields: Any) -> Any:
        """Send a request to the administration, which is to be done."""
        async with self.serve.client(self.key) as client:
            answer = await client.request(method, path, json=fields or None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def of(self, model: str) -> dict[str, Any]:
        """Find a model's deployment."""
        return (await self.ask("GET", f"{PATH}?model={model}"))["data"][0]

    async def until(self, model: str, status: str) -> dict[str, Any]:
        """Wait until a model's deployment is as far as that."""
        with anyio.fail_after(DEADLINE_S):
            while (found := await self.of(model))["status"] != status:
                await anyio.sleep(0.05)
        return found

    def engine(self, number: int, model: str = "tiny") -> Path:
        """Name an engine's socket."""
        return sockets.of_engine(self.serve.home, sockets.place_of(model, number))

    async def command(self, *arguments: str) -> tuple[int, str, str]:
        """Run `jan model`. Returns its exit code, data and words."""
        run = await anyio.run_process(
            [*JAN, "--home", str(self.serve.home), "model", *arguments], check=False
        )
        return run.returncode, run.stdout.decode(), run.stderr.decode()


async def made_by(engine: Path, **fields: Any) -> int:
    """Ask an engine itself. Returns its process."""
    transport = httpx.AsyncHTTPTransport(uds=str(engine))
    async with httpx.AsyncClient(transport=transport, timeout=DEADLINE_S) as client:
        answer = await client.post("http://engine/v1/chat/completions", json={**CHAT, **fields})
    return int(answer.json()["system_fingerprint"])


@pytest.fixture(scope="module")
async def lasting(anyio_backend: str) -> AsyncIterator[Scene]:
    """For all tests of this module: two engines of one model, and one of a model that is broken."""
    home = new_home()
    furnish(home, "tiny", "other", "bad", "spare", "spare2")
    said = [{"name": "tiny", "instances": 2}, {"name": "bad", "engine_args": "--break"}]
    async with serving(home, "--engine", "cpu", JAN_MODELS=json.dumps(said)) as serve:
        await serve.until_answering()
        key = await jan(home, "key", "create", "--name", "fleet", "--kind", "admin")
        yield Scene(serve, key)
    shutil.rmtree(home)


@pytest.fixture
async def scene(lasting: Scene) -> Scene:
    """It, with both engines well."""
    await lasting.until("tiny", "loaded")
    return lasting


async def test_several_engines_of_several_models_run_and_a_broken_one_disturbs_none(
    scene: Scene,
) -> None:
    serve = scene.serve
    bad = await scene.until("bad", "failed")
    tiny = await scene.of("tiny")
    pids = {await made_by(scene.engine(number)) for number in (1, 2)}
    nodes = (await scene.ask("GET", "/v1/admin/nodes"))["data"]

    assert len(pids) == 2
    assert [each["url"] for each in tiny["endpoints"]] == [
        f"unix://{scene.engine(number)}" for number in (1, 2)
    ]
    assert "the weights are upside down" in bad["message"]
    assert [(node["id"], node["is_alive"]) for node in nodes] == [(tiny["node"], True)]
    assert nodes[0]["hardware"]["variant"] == "cpu"
    assert tiny["managed_by"] == "settings"
    assert {"model tiny", "model tiny 2", "model bad"} <= {
        event["part"] for event in serve.events if "part" in event
    }


async def test_engines_metrics_are_told_under_their_model_and_a_hung_engine_holds_nobody_up(
    scene: Scene,
) -> None:
    pids = [await made_by(scene.engine(number)) for number in (1, 2)]
    before = await scrape(scene.serve.metrics)
    hung = psutil.Process(pids[0])
    hung.suspend()
    try:
        during = await scrape(scene.serve.metrics)
    finally:
        hung.resume()

    for replica in ("1", "2"):
        labels = {"model": "tiny", "replica": replica}
        assert before.values("jan_engine_up", **labels) == [1]
        assert before.values("vllm:num_requests_running", **labels, model_name="x") == [0]
        assert before.sum("vllm:request_success_total", **labels) > 0
    assert before.values("jan_engine_up", model="bad") == [0]
    assert during.took_s < 1.5
    assert during.values("jan_engine_up", model="tiny", replica="1") == [0]
    assert during.values("jan_engine_up", model="tiny", replica="2") == [1]
    assert during.values("vllm:num_requests_running", model="tiny", replica="1") == []
    assert during.values("vllm:num_requests_running", model="tiny", replica="2") == [0]


async def test_commands_load_replace_and_unload_a_model(scene: Scene) -> None:
    loaded = await scene.command("load", "other", "--max-running", "3", "--json")
    before = await made_by(scene.engine(1, "other"))
    twice = await scene.command("load", "other")
    reloaded = await scene.command("reload", "other")
    after = await made_by(scene.engine(2, "other"))
    shown = await scene.command("status", "--json")
    table = await scene.command("status")
    unloaded = await scene.command("unload", "other")
    again = await scene.command("unload", "other")

    assert (loaded[0], json.loads(loaded[1])["status"]) == (0, "loaded")
    assert "Loading other" in loaded[2]
    assert json.loads(loaded[1])["max_running"] == 3
    assert twice[0] == 1
    assert "other is loaded already" in twice[2]
    assert reloaded[0] == 0, reloaded
    assert before != after
    assert not psutil.pid_exists(before)
    assert {each["model"]: each["running"] for each in json.loads(shown[1])}["tiny"] == "2/2"
    assert "MODEL" in table[1]
    assert unloaded[0] == 0, unloaded
    assert not psutil.pid_exists(after)
    assert not scene.engine(2, "other").parent.exists()
    assert again[0] == 1
    assert "other is not loaded." in again[2]
    await scene.ask("DELETE", f"{PATH}/{(await scene.of('other'))['id']}")


async def test_commands_tell_why_a_model_does_not_run(scene: Scene) -> None:
    unknown = await scene.command("load", "spar")
    broken = await scene.command("load", "spare", "--engine-args=--break")
    mended = await scene.command("load", "spare", "--engine-args=")
    forgotten = await scene.command("unload", "spare", "--forget")
    missing = await scene.command("reload", "tinny")
    nowhere = await scene.command("load", "spare", "--node", "nowhere")

    assert unknown[0] == broken[0] == missing[0] == nowhere[0] == 1
    assert "There is no model `spar` here. Did you mean `spare`?" in unknown[2]
    assert "spare is not loaded: " in broken[2]
    assert "the weights are upside down" in broken[2]
    assert mended[0] == forgotten[0] == 0, (mended, forgotten)
    assert "Did you mean `tiny`?" in missing[2]
    assert "There is no node `nowhere`" in nowhere[2]
    await until(lambda: not scene.engine(1, "spare").parent.exists())


async def test_an_old_engine_ends_when_it_has_nothing_to_do_any_more(scene: Scene) -> None:
    made = await scene.ask("POST", PATH, model="spare2")
    await scene.until("spare2", "loaded")
    first: list[int] = []

    async def ask_slowly() -> None:
        first.append(await made_by(scene.engine(1, "spare2"), pause_s=6))

    async def drained() -> list[tuple[int, bool]]:
        while True:
            rows = await scene.serve.fetch(ENGINES)
            if any(row["is_draining"] for row in rows):
                ours = [row for row in rows if row["deployment_id"] == made["id"]]
                return [(row["generation"], row["is_draining"]) for row in ours]
            await anyio.sleep(0.02)

    async def replace() -> None:
        await scene.ask("POST", f"{PATH}/{made['id']}/reload")
        await until(scene.engine(2, "spare2").is_socket)
        with anyio.fail_after(DEADLINE_S):
            assert await drained() == [(1, True), (2, False)]
        assert (await scene.of("spare2"))["status"] == "replacing"
        assert not first

    async with anyio.create_task_group() as group:
        group.start_soon(ask_slowly)
        group.start_soon(replace)

    assert len(first) == 1
    after = await scene.until("spare2", "loaded")
    assert [each["generation"] for each in after["endpoints"]] == [2]
    assert await made_by(scene.engine(2, "spare2")) != first[0]
    await scene.ask("DELETE", f"{PATH}/{made['id']}")
    await until(lambda: not scene.engine(2, "spare2").parent.exists())


async def test_to_recreate_ends_the_old_engine_first(scene: Scene) -> None:
    made = await scene.ask("POST", PATH, model="other", replace="recreate")
    await scene.until("other", "loaded")
    before = await made_by(scene.engine(1, "other"))

    await scene.ask("POST", f"{PATH}/{made['id']}/reload")
    after = await scene.until("other", "loaded")

    assert await made_by(scene.engine(1, "other")) != before
    assert [each["url"] for each in after["endpoints"]] == [f"unix://{scene.engine(1, 'other')}"]
    await scene.ask("DELETE", f"{PATH}/{made['id']}")
    await until(lambda: not scene.engine(1, "other").parent.exists())


async def test_a_new_engine_that_fails_leaves_the_old_one_running(scene: Scene) -> None:
    made = await scene.ask("POST", PATH, model="other")
    await scene.until("other", "loaded")
    before = await made_by(scene.engine(1, "other"))

    await scene.ask("PATCH", f"{PATH}/{made['id']}", engine_args="--break")
    failed = await scene.until("other", "failed")
    during = await made_by(scene.engine(1, "other"))
    await scene.ask("PATCH", f"{PATH}/{made['id']}", engine_args="")
    mended = await scene.until("other", "loaded")

    assert "The old engine goes on." in failed["message"]
    assert before == during
    assert [each["generation"] for each in mended["endpoints"]] == [3]
    await scene.ask("DELETE", f"{PATH}/{made['id']}")


async def test_what_has_no_place_is_told_of_and_started_once_it_has(scene: Scene) -> None:
    made = await scene.ask("POST", PATH, model="other", gpus=[0])

    failed = await scene.until("other", "failed")
    await scene.ask("PATCH", f"{PATH}/{made['id']}", gpus=None)
    await scene.until("other", "loaded")

    assert failed["message"].startswith("It does not fit: `gpus` names GPUs")
    assert failed["endpoints"] == []
    assert (await scene.of("tiny"))["status"] == "loaded"
    await scene.ask("DELETE", f"{PATH}/{made['id']}")


async def test_what_is_deleted_while_it_is_replaced_ends_whole(scene: Scene) -> None:
    made = await scene.ask("POST", PATH, model="spare2")
    await scene.until("spare2", "loaded")
    await scene.ask("POST", f"{PATH}/{made['id']}/reload")
    await until(scene.engine(2, "spare2").parent.exists)

    await scene.ask("DELETE", f"{PATH}/{made['id']}")

    for number in (1, 2):
        await until(lambda number=number: not scene.engine(number, "spare2").parent.exists())
    await scene.ask("POST", PATH, model="spare2")
    again = await scene.until("spare2", "loaded")
    assert again["generation"] == 1
    await scene.ask("DELETE", f"{PATH}/{again['id']}")


async def test_an_engine_that_is_killed_comes_back_under_its_address(scene: Scene) -> None:
    before = await scene.serve.fetch(ENGINES)
    pid = await made_by(scene.engine(2))

    os.kill(pid, signal.SIGKILL)
    loading = await scene.until("tiny", "loading")
    other = await made_by(scene.engine(1))
    await scene.until("tiny", "loaded")

    assert "1 of 2 engines run." in loading["message"]
    assert await made_by(scene.engine(2)) not in {pid, other}
    ours = [row["id"] for row in before if f"unix://{scene.engine(2)}" == row["url"]]
    after = await scene.serve.fetch(ENGINES)
    assert ours == [row["id"] for row in after if f"unix://{scene.engine(2)}" == row["url"]]


async def test_what_nobody_asks_for_is_unloaded_and_loaded_again_when_it_is_wanted(
    scene: Scene,
) -> None:
    made = await scene.ask("POST", PATH, model="other")
    await scene.until("other", "loaded")
    async with anyio.create_task_group() as asking:
        asking.start_soon(partial(made_by, scene.engine(1, "other"), pause_s=6))
        await scene.ask("PATCH", f"{PATH}/{made['id']}", idle_unload_s=1)
        await anyio.sleep(3)
        assert (await scene.of("other"))["status"] == "loaded"  # it is at work
    idle = await scene.until("other", "idle")

    assert idle["wanted"] == "idle"
    await until(lambda: not scene.engine(1, "other").parent.exists())
    assert (await scene.of("other"))["endpoints"] == []
    await scene.ask("PATCH", f"{PATH}/{made['id']}", idle_unload_s=None)
    await scene.serve.fetch("UPDATE deployment SET wanted = 'loaded' WHERE wanted = 'idle'")
    await scene.until("other", "loaded")
    await scene.ask("DELETE", f"{PATH}/{made['id']}")


async def test_engines_go_on_while_the_database_is_away(scene: Scene) -> None:
    pid = await made_by(scene.engine(1))
    (postgres,) = scene.serve.children("-D")

    postgres.kill()
    victim = await made_by(scene.engine(2))
    os.kill(victim, signal.SIGKILL)
    await scene.serve.until_answering()
    await until(lambda: scene.serve.children("-D"))
    with anyio.fail_after(DEADLINE_S):
        while True:
            try:
                if await made_by(scene.engine(2)) != victim:
                    break
            except httpx.TransportError:
                await anyio.sleep(0.05)

    assert await made_by(scene.engine(1)) == pid
    await scene.serve.until_ready()
    await scene.until("tiny", "loaded")


async def test_the_next_start_puts_right_what_a_killed_one_left(scene: Scene) -> None:
    """The last test of this module: it ends what the others share."""
    serve = scene.serve
    made = await scene.ask("POST", PATH, model="other", idle_unload_s=3600)
    await scene.until("other", "loaded")
    await scene.ask("POST", f"{PATH}/{(await scene.of('tiny'))['id']}/unload")
    unloaded = await scene.until("tiny", "unloaded")
    old = {row["id"] for row in await serve.fetch(ENGINES)}

    await serve.end(signal.SIGKILL)
    said = json.dumps([{"name": "tiny"}])
    async with serving(serve.home, "--engine", "cpu", JAN_MODELS=said) as again:
        await again.until_answering()
        after = Scene(again, scene.key)
        await after.until("tiny", "loaded")
        own = await after.until("other", "loaded")
        rows = await again.fetch(ENGINES)
        known = await again.fetch("SELECT model FROM deployment ORDER BY model")
        code = await again.end()

    assert "until the next start" in unloaded["message"]
    assert (own["id"], own["idle_unload_s"]) == (made["id"], 3600)
    assert len(rows) == 2
    assert not old & {row["id"] for row in rows}
    assert [row["model"] for row in known] == ["other", "tiny"]  # `bad` is said no more
    assert code == 0
    assert again.left_behind() == []
    assert list(sockets.engines(serve.home).iterdir()) == []
