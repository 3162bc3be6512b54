"""Engines come, go and die under load, and no request fails by it. Their vLLM is not real."""

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest

from jan.runner import store
from tests.conftest import new_home
from tests.runner import fake_engine, models
from tests.serving import DEADLINE_S, Serve, jan, serving

PATH = "/v1/chat/completions"
ADMIN = "/v1/admin/deployments"
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
REQUESTS = 10_000
CLIENTS = 16


@dataclass
class Load:
    """Requests without pause, on kept connections and on new ones, streams among them."""

    scene: "Scene"
    body: dict[str, Any] = field(default_factory=lambda: dict(CHAT))
    done: int = 0
    made_by: Counter[str] = field(default_factory=Counter[str])
    failures: list[str] = field(default_factory=list[str])
    is_over: bool = False

    async def run(self, until_done: int = 0) -> None:
        """Go on until so many are done and `is_over` is said."""
        async with anyio.create_task_group() as group:
            for number in range(CLIENTS):
                group.start_soon(self._ask, number, until_done)

    async def _ask(self, number: int, until_done: int) -> None:
        streams = number % 4 == 0
        while not (self.is_over and self.done >= until_done):
            async with self.scene.serve.client(self.scene.key) as client:
                for _ in range(50):
                    await self._one(client, streams)
                    if self.is_over and self.done >= until_done:
                        return

    async def _one(self, client: httpx.AsyncClient, streams: bool) -> None:
        body = self.body | ({"stream": True, "pieces": 3} if streams else {})
        try:
            answer = await client.post(PATH, json=body)
        except httpx.TransportError as error:
            self.failures.append(repr(error))
            return
        self.done += 1
        if answer.status_code != 200:
            self.failures.append(answer.text)
        elif streams:
            if not answer.text.endswith("data: [DONE]\n\n"):
                self.failures.append(answer.text)
            first = json.loads(answer.text.partition("\n")[0].removeprefix("data: "))
            self.made_by[first["system_fingerprint"]] += 1
        else:
            self.made_by[answer.json()["system_fingerprint"]] += 1


@dataclass
class Scene:
    """A `jan serve` with one model, and keys for it and its administration."""

    serve: Serve
    key: str
    admin_key: str

    async def ask(self, method: str, path: str = ADMIN, **fields: Any) -> Any:
        """Ask its administration."""
        async with self.serve.client(self.admin_key) as client:
            answer = await client.request(method, path, json=fields or None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def of(self, model: str = "tiny") -> dict[str, Any]:
        """Find a model's deployment."""
        return (await self.ask("GET", f"{ADMIN}?model={model}"))["data"][0]

    async def until(self, status: str, model: str = "tiny") -> dict[str, Any]:
        """Wait until a model's deployment is as far as that."""
        with anyio.fail_after(3 * DEADLINE_S):
            while (found := await self.of(model))["status"] != status:
                await anyio.sleep(0.1)
        return found

    async def chat(self, **fields: Any) -> httpx.Response:
        """Ask once."""
        async with self.serve.client(self.key) as client:
            return await client.post(PATH, json={**CHAT, **fields})


@pytest.fixture(scope="module")
async def lasting(anyio_backend: str) -> AsyncIterator[Scene]:
    """One for all tests of this module, of two gateway processes."""
    home = new_home()
    fake_engine.write(home)
    for name in ("tiny", "sleepy", "alone"):
        store.add(home, name, models.write(home / "tmp" / name))
    said = json.dumps([{"name": "tiny"}])
    flags = ("--engine", "cpu", "--workers", "2")
    async with serving(home, *flags, JAN_MODELS=said) as serve:
        await serve.until_ready()
        key = await jan(home, "key", "create", "--name", "load")
        admin_key = await jan(home, "key", "create", "--name", "admin", "--kind", "admin")
        yield Scene(serve, key, admin_key)
    shutil.rmtree(home)


@pytest.fixture
async def scene(lasting: Scene) -> Scene:
    """It, with its engine well."""
    await lasting.until("loaded")
    with anyio.fail_after(DEADLINE_S):
        while (await lasting.chat()).status_code != 200:
            await anyio.sleep(0.05)
    return lasting


@pytest.mark.timeout(300)
async def test_a_model_is_replaced_under_load_and_no_request_fails(scene: Scene) -> None:
    deployment = await scene.of()
    load = Load(scene)

    async def replace() -> None:
        for _ in range(2):
            await scene.ask("POST", f"{ADMIN}/{deployment['id']}/reload")
            await scene.until("loaded")
        load.is_over = True

    async with anyio.create_task_group() as group:
        group.start_soon(load.run, REQUESTS)
        group.start_soon(replace)

    assert load.failures == []
    assert load.done >= REQUESTS
    assert len(load.made_by) == 3
    assert (await scene.of())["generation"] == deployment["generation"] + 2


async def test_a_killed_engine_is_started_again_and_used_again(scene: Scene) -> None:
    before = (await scene.chat()).json()["system_fingerprint"]

    os.kill(int(before), signal.SIGKILL)
    statuses = Counter[int]()
    with anyio.fail_after(DEADLINE_S):
        while (answer := await scene.chat()).status_code != 200 or (
            answer.json()["system_fingerprint"] == before
        ):
            statuses[answer.status_code] += 1
            if answer.status_code == 503:
                assert answer.json()["error"]["code"] == "model_loading"
                assert int(answer.headers["retry-after"]) > 0
            await anyio.sleep(0.02)

    assert set(statuses) <= {502, 503}


@pytest.mark.timeout(300)
async def test_one_of_two_engines_is_killed_under_load_and_only_what_it_did_fails(
    scene: Scene,
) -> None:
    made = await scene.ask("POST", model="alone", instances=2)
    await scene.until("loaded", "alone")
    load = Load(scene, CHAT | {"model": "alone"})

    async def kill() -> None:
        with anyio.fail_after(DEADLINE_S):
            while len(load.made_by) < 2 or load.done < 500:
                await anyio.sleep(0.01)
        victim = next(iter(load.made_by))
        os.kill(int(victim), signal.SIGKILL)
        with anyio.fail_after(DEADLINE_S):
            while len(load.made_by) < 3:
                await anyio.sleep(0.01)
        await scene.until("loaded", "alone")
        load.is_over = True

    async with anyio.create_task_group() as group:
        group.start_soon(load.run, 1500)
        group.start_soon(kill)

    # Of streams whose first bytes had gone to the client the end is told, and no other fails.
    assert len(load.failures) <= CLIENTS // 4, load.failures
    assert len(load.made_by) == 3
    await scene.ask("DELETE", f"{ADMIN}/{made['id']}")


async def test_a_model_that_was_unloaded_for_want_of_requests_wakes_for_one(scene: Scene) -> None:
    made = await scene.ask("POST", model="sleepy", idle_unload_s=1)
    await scene.until("idle", "sleepy")
    with anyio.fail_after(DEADLINE_S):
        while (await scene.of("sleepy"))["endpoints"]:
            await anyio.sleep(0.05)
    async with scene.serve.client(scene.key) as client:
        listed = [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
    answers: list[httpx.Response] = []

    async def ask() -> None:
        answers.append(await scene.chat(model="sleepy"))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(ask)
            await anyio.sleep(0.3)

    assert sorted(listed) == ["sleepy", "tiny"]
    assert [answer.status_code for answer in answers] == [200] * 4, [a.text for a in answers]
    assert len({answer.json()["system_fingerprint"] for answer in answers}) == 1
    await scene.ask("DELETE", f"{ADMIN}/{made['id']}")


async def test_requests_wait_while_an_engine_is_replaced_that_has_room_for_one_only(
    scene: Scene,
) -> None:
    made = await scene.ask("POST", model="alone", replace="recreate")
    await scene.until("loaded", "alone")
    load = Load(scene, CHAT | {"model": "alone"})

    async def replace() -> None:
        await scene.ask("POST", f"{ADMIN}/{made['id']}/reload")
        await scene.until("loaded", "alone")
        load.is_over = True

    async with anyio.create_task_group() as group:
        group.start_soon(load.run)
        group.start_soon(replace)

    assert load.failures == []
    assert len(load.made_by) == 2
    await scene.ask("DELETE", f"{ADMIN}/{made['id']}")
