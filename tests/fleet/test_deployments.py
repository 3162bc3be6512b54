"""What operators may ask of a deployment, in which state, and that two of them don't collide."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from jan import clock, pages
from jan.caller import Caller
from jan.db.engine import Database
from jan.deployments import Deployment
from jan.errors import Conflict, Forbidden, InvalidRequest, JanError, NotFound, Unavailable
from jan.fleet import deployments, nodes
from jan.fleet.deployed import DeploymentCreate, DeploymentObject, DeploymentUpdate
from jan.fleet.nodes import Here
from jan.fleet.running import Engine, Registrar
from jan.runner import store
from tests.conftest import execute, fetch
from tests.runner import models

HARDWARE: dict[str, Any] = {"variant": "cpu", "gpus": []}


@pytest.fixture
def here(home: Path, tmp_path: Path) -> Here:
    """A node with two models in its store."""
    for name in ("tiny", "small"):
        store.add(home, name, models.write(tmp_path / name))
    return Here(home)


@pytest.fixture
async def registrar(database: Database, here: Here) -> Registrar:
    """Its supervisor, which has just started, and has one model in its settings."""
    made = Registrar(here.node)
    await made.begin(HARDWARE, [Deployment(name="small")])
    return made


@pytest.fixture
async def tiny(registrar: Registrar, operator: Caller, here: Here) -> DeploymentObject:
    """What an operator has loaded."""
    made = await deployments.create(operator, DeploymentCreate(model="tiny"), here=here)
    await is_now("loaded", made)
    return await deployments.get(operator, made.id)


async def is_now(status: str, deployment: DeploymentObject) -> None:
    """Tell as the supervisor would."""
    await execute("UPDATE deployment SET status = $2 WHERE id = $1", deployment.id, status)


async def of_settings(operator: Caller) -> DeploymentObject:
    """What the settings say."""
    (found,) = (await deployments.page(operator, pages.read(), model="small")).data
    return found


async def test_a_model_is_to_run_and_is_listed(
    registrar: Registrar, operator: Caller, here: Here
) -> None:
    wanted = DeploymentCreate(
        model="tiny", instances=2, gpus=[1, 0], memory_fraction=0.3, idle_unload_s=60.5
    )

    made = await deployments.create(operator, wanted, here=here)
    first = await deployments.page(operator, pages.read(limit=1))
    second = await deployments.page(operator, pages.read(limit=1, after=first.data[0].id))

    assert (made.node, made.status, made.wanted, made.generation) == (
        *(here.node, "pending", "loaded", 1),
    )
    assert (made.gpus, made.memory_fraction, made.idle_unload_s) == ([1, 0], 0.3, 60.5)
    assert [first.data[0].model, second.data[0].model] == ["small", "tiny"]
    assert first.has_more
    assert second.data == [made]
    assert [order.said for order in await registrar.orders()][1].instances == 2
    acts = await fetch("SELECT type FROM audit_log WHERE type LIKE 'deployment.%'")
    assert [row["type"] for row in acts] == ["deployment.created"]


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"model": "tinny"}, NotFound, "Did you mean `tiny`?"),
        ({"model": "../tiny"}, InvalidRequest, "`model`"),
        ({"model": ""}, InvalidRequest, "`model`"),
        ({"model": "x" * 200}, InvalidRequest, "`model`"),
        ({"instances": 0}, InvalidRequest, "`instances`"),
        ({"instances": 65}, InvalidRequest, "`instances`"),
        ({"memory_fraction": 1.5}, InvalidRequest, "`memory_fraction`"),
        ({"memory_fraction": float("nan")}, InvalidRequest, "`memory_fraction`"),
        ({"gpus": [-1]}, InvalidRequest, "`gpus.0`"),
        ({"engine_args": "--a 'b"}, InvalidRequest, "can't be split"),
        ({"engine_args": "--a\0"}, InvalidRequest, "can't be stored"),
        ({"max_running": 0}, InvalidRequest, "`max_running`"),
        ({"idle_unload_s": 0}, InvalidRequest, "`idle_unload_s`"),
        ({"node": "elsewhere:/srv/jan"}, NotFound, "no node `elsewhere:/srv/jan`"),
        ({"model": "small"}, Conflict, "there already"),
    ],
)
async def test_what_can_not_run_is_refused(  # noqa: PLR0913, PLR0917 - a table
    registrar: Registrar,
    operator: Caller,
    here: Here,
    fields: dict[str, Any],
    error: type[JanError],
    words: str,
) -> None:
    said: dict[str, Any] = {"model": "tiny", **fields}

    with pytest.raises(error, match=re.escape(words)):
        await deployments.create(operator, DeploymentCreate(**said), here=here)

    assert len(await registrar.orders()) == 1


async def test_nothing_is_asked_of_a_node_that_was_not_seen_for_long(
    registrar: Registrar, operator: Caller, here: Here, tiny: DeploymentObject
) -> None:
    await execute("UPDATE node SET seen_at = $1", clock.now() - timedelta(seconds=nodes.SEEN_S + 1))
    await is_now("unloaded", tiny)

    for refused in (
        deployments.create(operator, DeploymentCreate(model="tiny"), here=here),
        deployments.create(operator, DeploymentCreate(model="tiny", node=here.node), here=here),
        deployments.load(operator, tiny.id),
        deployments.reload(operator, tiny.id),
    ):
        with pytest.raises(Unavailable):
            await refused
    assert (await deployments.unload(operator, tiny.id)).wanted == "unloaded"
    await deployments.delete(operator, tiny.id)


async def test_of_several_nodes_one_has_to_be_named_unless_it_is_this_one(
    registrar: Registrar, operator: Caller, here: Here
) -> None:
    other, afar = Registrar("other:/srv/jan"), Here(Path("/nowhere"))
    await other.begin(HARDWARE, [])
    wanted = DeploymentCreate(model="tiny")

    with pytest.raises(InvalidRequest, match="Name one of the nodes"):
        await deployments.create(operator, wanted, here=afar)
    there = await deployments.create(
        operator, DeploymentCreate(model="unknown", node=other.node), here=here
    )
    own = await deployments.create(operator, wanted, here=here)

    assert (there.node, own.node) == (other.node, here.node)
    assert [node.id for node in (await nodes.page(operator, pages.read())).data] == sorted(
        [here.node, other.node]
    )


Step = Callable[[Caller, str], Awaitable[object]]


@pytest.mark.parametrize(
    ("wanted", "status", "step", "words"),
    [
        ("loaded", "loaded", deployments.load, "is loaded already"),
        ("loaded", "loading", deployments.load, "it is loading"),
        ("loaded", "pending", deployments.reload, "it is loading"),
        ("loaded", "loading", deployments.reload, "it is loading"),
        ("loaded", "replacing", deployments.reload, "it is replacing"),
        ("unloaded", "unloading", deployments.load, "it is unloading"),
        ("unloaded", "unloaded", deployments.reload, "is not loaded"),
        ("idle", "idle", deployments.reload, "is not loaded"),
        ("unloaded", "unloaded", deployments.unload, "is not loaded"),
        ("unloaded", "unloading", deployments.unload, "is not loaded"),
    ],
)
async def test_a_step_that_does_not_fit_is_refused(  # noqa: PLR0913, PLR0917 - a table
    operator: Caller, tiny: DeploymentObject, wanted: str, status: str, step: Step, words: str
) -> None:
    await execute(
        "UPDATE deployment SET wanted = $2, status = $3 WHERE id = $1", tiny.id, wanted, status
    )

    with pytest.raises(Conflict, match=words):
        await step(operator, tiny.id)


async def test_a_model_is_unloaded_loaded_and_replaced(
    operator: Caller, tiny: DeploymentObject
) -> None:
    unloaded = await deployments.unload(operator, tiny.id)
    await is_now("unloaded", tiny)
    loaded = await deployments.load(operator, tiny.id)
    await is_now("loaded", tiny)
    reloaded = await deployments.reload(operator, tiny.id)

    assert (unloaded.wanted, unloaded.status) == ("unloaded", "unloading")
    assert (loaded.wanted, loaded.status, loaded.generation) == ("loaded", "pending", 1)
    assert (reloaded.wanted, reloaded.status, reloaded.generation) == ("loaded", "replacing", 2)


async def test_what_failed_is_tried_again_at_once(operator: Caller, tiny: DeploymentObject) -> None:
    await is_now("failed", tiny)
    assert (await deployments.load(operator, tiny.id)).generation == 2
    await is_now("failed", tiny)
    assert (await deployments.reload(operator, tiny.id)).generation == 3


async def test_what_is_being_replaced_or_loaded_can_be_unloaded_and_forgotten(
    operator: Caller, tiny: DeploymentObject
) -> None:
    await is_now("replacing", tiny)

    assert (await deployments.unload(operator, tiny.id)).status == "unloading"
    await deployments.delete(operator, tiny.id)

    with pytest.raises(NotFound):
        await deployments.get(operator, tiny.id)


async def test_of_two_operators_who_do_the_same_the_second_is_told(
    registrar: Registrar, operator: Caller, here: Here, tiny: DeploymentObject
) -> None:
    await deployments.delete(operator, tiny.id)

    async def both(act: Callable[[], Awaitable[Any]]) -> list[Any]:
        done: list[Any] = []

        async def one() -> None:
            try:
                done.append(await act())
            except Conflict as error:
                done.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(one)
            group.start_soon(one)
        return sorted(done, key=lambda each: isinstance(each, Conflict))

    made, told = await both(
        lambda: deployments.create(operator, DeploymentCreate(model="tiny"), here=here)
    )
    assert isinstance(told, Conflict)
    await is_now("loaded", made)
    reloaded, told = await both(lambda: deployments.reload(operator, made.id))
    assert reloaded.generation == 2
    assert isinstance(told, Conflict)


async def test_only_options_of_engines_replace_them(
    operator: Caller, tiny: DeploymentObject
) -> None:
    async def changed(**changes: Any) -> tuple[str, int]:
        now = await deployments.update(operator, tiny.id, DeploymentUpdate(**changes))
        return now.status, now.generation

    assert await changed(idle_unload_s=0.3, max_running=4) == ("loaded", 1)
    assert await changed(idle_unload_s=0.3) == ("loaded", 1)
    assert await changed(instances=2) == ("loading", 1)
    await is_now("loaded", tiny)
    assert await changed(engine_args="--max-model-len 64") == ("replacing", 2)
    with pytest.raises(Conflict, match="can't be replaced now"):
        await changed(memory_fraction=0.5)
    await deployments.unload(operator, tiny.id)
    await is_now("unloaded", tiny)
    assert await changed(engine_args="") == ("unloaded", 2)
    with pytest.raises(InvalidRequest, match="Nothing is to change"):
        await changed()
    with pytest.raises(InvalidRequest, match="instances"):
        await changed(instances=-1)


async def test_what_the_settings_say_can_be_unloaded_and_replaced_but_not_changed(
    registrar: Registrar, operator: Caller
) -> None:
    small = await of_settings(operator)
    await is_now("loaded", small)

    with pytest.raises(Conflict, match=r"`\[\[models\]\]`"):
        await deployments.update(operator, small.id, DeploymentUpdate(instances=2))
    with pytest.raises(Conflict, match=r"`\[\[models\]\]`"):
        await deployments.delete(operator, small.id)
    assert (await deployments.reload(operator, small.id)).generation == 2
    await is_now("loaded", small)
    assert (await deployments.unload(operator, small.id)).wanted == "unloaded"

    await registrar.begin(HARDWARE, [Deployment(name="small", instances=3)])
    again = await of_settings(operator)
    assert (again.wanted, again.instances, again.id) == ("loaded", 3, small.id)


async def test_a_start_removes_what_the_settings_no_longer_say_and_leaves_operators_own(
    registrar: Registrar, operator: Caller, tiny: DeploymentObject
) -> None:
    await registrar.begin(HARDWARE, [])
    assert [order.id for order in await registrar.orders()] == [tiny.id]

    await registrar.begin(HARDWARE, [Deployment(name="tiny", max_running=7)])
    (order,) = await registrar.orders()
    assert (order.id, order.managed_by, order.said.max_running) == (tiny.id, "settings", 7)


async def test_rows_of_engines_are_made_so_and_those_of_an_earlier_life_go(
    registrar: Registrar, here: Here, tiny: DeploymentObject
) -> None:
    first = Engine("ep_1", tiny.id, 1, "unix:///a", None, is_draining=False)
    second = Engine("ep_2", tiny.id, 2, "unix:///a", 3, is_draining=False)
    orphan = Engine("ep_3", "depl_gone", 1, "unix:///b", None, is_draining=False)
    served = '[{"id": "tiny"}]'

    await registrar.write([first, orphan])
    await execute("UPDATE endpoint SET served = $1", served)
    await registrar.write([replace(first, is_draining=True)])
    draining = await fetch("SELECT id, is_draining, node FROM endpoint")
    later = Registrar(here.node)
    await later.begin(HARDWARE, [])
    gone = await later.write([second])

    assert [tuple(row) for row in draining] == [("ep_1", True, here.node)]
    assert gone == ["unix:///a"]
    rows = await fetch("SELECT id, generation, max_running, served FROM endpoint")
    assert [tuple(row) for row in rows] == [("ep_2", 2, 3, served)]
    await later.well("ep_2")
    assert [row["state"] for row in await fetch("SELECT state FROM endpoint")] == ["healthy"]


async def test_the_supervisor_does_not_speak_over_what_was_asked_meanwhile(
    registrar: Registrar, operator: Caller, tiny: DeploymentObject
) -> None:
    before = next(order for order in await registrar.orders() if order.id == tiny.id)
    await deployments.reload(operator, tiny.id)

    await registrar.tell(before, "loaded", "", None)
    await registrar.rest(before)

    now = await deployments.get(operator, tiny.id)
    assert (now.status, now.wanted) == ("replacing", "loaded")


async def test_who_does_not_administer_this_jan_is_refused(
    registrar: Registrar, operator: Caller, here: Here, tiny: DeploymentObject
) -> None:
    stranger = replace(operator, kind="user", scopes=frozenset(), user_id="user_1")

    for refused in (
        deployments.create(stranger, DeploymentCreate(model="tiny"), here=here),
        deployments.get(stranger, tiny.id),
        deployments.page(stranger, pages.read()),
        deployments.update(stranger, tiny.id, DeploymentUpdate(instances=2)),
        deployments.delete(stranger, tiny.id),
        deployments.reload(stranger, tiny.id),
        deployments.load(stranger, tiny.id),
        deployments.unload(stranger, tiny.id),
        nodes.page(stranger, pages.read()),
    ):
        with pytest.raises(Forbidden):
            await refused


@pytest.mark.parametrize(
    "engine_args",
    [
        *("--host 0.0.0.0", "--ho=0.0.0.0", "--allowed_local_media_path /etc", "--uds /tmp/x"),
        *("--max-model-len 64 --middleware evil.py", "--trust-remote-code"),
    ],
)
async def test_options_that_open_the_machine_are_for_who_sits_at_it(
    registrar: Registrar, operator: Caller, here: Here, tiny: DeploymentObject, engine_args: str
) -> None:
    afar = replace(operator, kind="key", key_id="key_1")
    await deployments.delete(operator, tiny.id)
    wanted = DeploymentCreate(model="tiny", engine_args=engine_args)

    with pytest.raises(InvalidRequest, match="at the machine itself"):
        await deployments.create(afar, wanted, here=here)
    made = await deployments.create(operator, wanted, here=here)

    await is_now("loaded", made)
    with pytest.raises(InvalidRequest, match="at the machine itself"):
        await deployments.update(afar, made.id, DeploymentUpdate(engine_args=engine_args + " -q x"))


async def test_a_row_that_makes_no_sense_keeps_no_other_from_running(
    registrar: Registrar, tiny: DeploymentObject
) -> None:
    await execute("UPDATE deployment SET engine_args = $1 WHERE model = 'small'", "it's")

    assert [order.id for order in await registrar.orders()] == [tiny.id]
