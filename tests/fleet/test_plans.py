"""What fits on the machines of the fleet, asked of the database."""

from pathlib import Path

import pytest

from jan.caller import Caller
from jan.deployments import Deployment
from jan.errors import Forbidden, InvalidRequest, NotFound
from jan.fleet import node, plans
from jan.fleet.running import Registrar
from jan.runner import inventory, store
from jan.runner.inventory import Inventory, Running
from jan.runner.needs import Facts
from jan.runner.nvml import Gpu
from jan.runner.wishes import Assignment
from tests.conftest import execute, fetch
from tests.runner import models
from tests.tenants import Tenants

GB = 10**9
LARGE = Facts(weights_bytes=60 * GB)
TINY = Facts(weights_bytes=GB)
CARD = Gpu(index=0, name="NVIDIA H100", uuid="GPU-0", total_bytes=80 * GB, used_bytes=0)
BOX = Inventory(
    "cuda", "NVIDIA H100", (CARD,), models={"large": LARGE, "tiny": TINY, "huge": LARGE}
)


@pytest.fixture
async def registrar(operator: Caller) -> Registrar:
    """The supervisor of a box with one card."""
    made = Registrar("box:/var/lib/jan")
    said = [Deployment(name="large"), Deployment(name="tiny", memory_fraction=0.1)]
    await made.begin({}, said)
    await tell(made, BOX)
    return made


async def tell(registrar: Registrar, known: Inventory) -> None:
    """Tell what a node has."""
    document = inventory.encode(known)
    await execute("UPDATE node SET hardware = $2 WHERE name = $1", registrar.node, document)


async def test_deployments_and_models_besides_are_planned(
    registrar: Registrar, operator: Caller, home: Path
) -> None:
    deployed = await plans.page(operator, home=home)
    besides = await plans.page(operator, home=home, models=["huge", "tiny", "absent"])

    (plan,) = deployed.data
    assert (plan.node, plan.engine, plan.gpus[0]["uuid"]) == (registrar.node, "cuda", "GPU-0")
    assert [(each.model, each.fits, each.gpus) for each in plan.instances] == [
        ("large", True, [0]),
        ("tiny", True, [0]),
    ]
    assert plan.instances[1].memory_fraction == 0.1
    told = {each.model: each for each in besides.data[0].instances}
    assert list(told) == ["large", "tiny", "huge", "absent"]
    assert not told["huge"].fits or not told["large"].fits
    assert told["absent"].reasons == [plans.ABSENT]


async def test_what_runs_is_told_where_it_is(
    registrar: Registrar, operator: Caller, home: Path
) -> None:
    place = Assignment(gpus=(0,), memory_fraction=0.8, memory_bytes=64 * GB, max_running=256)
    known = Inventory(
        *(BOX.variant, BOX.reason, BOX.gpus),
        models=BOX.models,
        running={"ep_1": Running("large", place)},
    )
    await tell(registrar, known)

    (plan,) = (await plans.page(operator, home=home, models=["huge"])).data

    large, tiny, huge = plan.instances
    assert (large.is_running, large.memory_fraction, large.max_running) == (True, 0.8, 256)
    assert (tiny.model, tiny.fits) == ("tiny", True)
    assert not huge.fits
    assert "64.0 GB of large" in huge.reasons[0]


async def test_a_node_is_named(registrar: Registrar, operator: Caller, home: Path) -> None:
    await execute("INSERT INTO node (name, started_at, seen_at) VALUES ('b', now(), now())")

    all_of_them = await plans.page(operator, home=home)
    one = await plans.page(operator, home=home, node="b", models=["tiny"])

    assert [plan.node for plan in all_of_them.data] == ["b", registrar.node]
    assert one.data[0].engine is None
    assert one.data[0].instances[0].reasons == [plans.UNTOLD]
    with pytest.raises(NotFound):
        await plans.page(operator, home=home, node="c")
    assert len(await fetch("SELECT FROM node")) == 2


async def test_of_this_node_the_store_is_known(
    operator: Caller, home: Path, tmp_path: Path
) -> None:
    registrar = Registrar(node.name(home))
    await registrar.begin({}, [])
    await tell(registrar, Inventory("cuda", "NVIDIA H100", (CARD,)))
    store.add(home, "added", models.write(tmp_path / "added"))

    (plan,) = (await plans.page(operator, home=home, models=["added"])).data

    assert plan.instances[0].fits


async def test_who_does_not_administer_this_jan_is_refused(tenants: Tenants, home: Path) -> None:
    for person in (tenants.a.owner, tenants.a.member):
        with pytest.raises(Forbidden):
            await plans.page(await tenants.caller(person), home=home)
        async with tenants.client(person) as client:
            assert (await client.get("/v1/admin/plan")).status_code == 403
    async with tenants.client(tenants.platform) as client:
        answer = await client.get("/v1/admin/plan", params={"model": ["a", "b"]})
    assert answer.status_code == 200
    assert answer.json()["object"] == "list"


@pytest.mark.parametrize("names", [["../x"], ["a"] * 3 + ["\0"], [f"m{n}" for n in range(65)]])
async def test_what_is_no_model_is_refused(operator: Caller, home: Path, names: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        await plans.page(operator, home=home, models=names)


def test_a_machine_is_written_and_read_back() -> None:
    assert inventory.decode(inventory.encode(BOX)) == BOX
    assert inventory.decode("{}") is None
    assert inventory.decode('{"variant": 3}') is None
