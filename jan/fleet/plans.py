"""What fits where, for machines of the fleet: the plan of each, made of what it has told."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import ValidationError

from jan.caller import Caller
from jan.db import scope
from jan.deployments import MAX_DEPLOYMENTS, Deployment
from jan.errors import InvalidRequest, NotFound
from jan.fleet import node as this_node
from jan.permissions import Scope
from jan.runner import facts, inventory
from jan.runner.inventory import Inventory
from jan.runner.needs import Facts
from jan.runner.placement import plan
from jan.runner.wishes import Assignment, Wanted
from jan.wire import seconds

NODES = "SELECT name, hardware, seen_at FROM node WHERE $1::text IS NULL OR name = $1 ORDER BY name"
DEPLOYMENTS = """
SELECT node, model, engine_args, gpus, memory_fraction, instances, tensor_parallel
FROM deployment WHERE wanted = 'loaded' ORDER BY node, model
"""
ABSENT = "it is not in the node's model store: `jan model pull` and `jan model add` bring models"
UNTOLD = "the node has not told its hardware in a way that this version understands"


class PlannedInstance(msgspec.Struct, kw_only=True):
    """One engine in a plan."""

    model: str
    is_running: bool
    fits: bool
    gpus: list[int]
    """Its GPUs. None of them: the processor."""
    memory_fraction: float | None
    memory_bytes: int | None
    """Of each of its GPUs, or of the machine."""
    max_running: int | None
    """Requests that it works on at a time."""
    reasons: list[str]
    """Why there and so much; or why it does not fit."""


class PlanObject(msgspec.Struct, kw_only=True):
    """What fits on a machine."""

    object: Literal["plan"] = "plan"
    node: str
    seen_at: int | None
    engine: str | None
    """`cpu` or `cuda`. None: the node has not told."""
    gpus: list[dict[str, Any]]
    memory_bytes: int | None
    free_memory_bytes: int | None
    instances: list[PlannedInstance]


class Plans(msgspec.Struct, kw_only=True):
    """Of all machines that were asked about."""

    object: Literal["list"] = "list"
    data: list[PlanObject]


async def page(
    caller: Caller, *, home: Path, node: str | None = None, models: Sequence[str] = ()
) -> Plans:
    """Plan every node, or one, with its deployments and the models named besides.

    `home` is this node's: of its models more is known than it may have told.

    Raises:
        Forbidden: the caller does not administer this Jan.
        NotFound: there is no such node.
        InvalidRequest: that is no name of a model; or there are too many.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    besides = named(models)
    async with scope.of_all() as connection:
        nodes = await connection.fetch(NODES, node)
        rows = await connection.fetch(DEPLOYMENTS)
    if node is not None and not nodes:
        raise NotFound(f"There is no node `{node}`.", param="node")
    told: list[PlanObject] = []
    for row in nodes:
        said = [_said(each) for each in rows if each["node"] == row["name"]]
        known = inventory.decode(row["hardware"])
        own = home if row["name"] == this_node.name(home) else None
        made = await asyncio.to_thread(planned, row["name"], known, said, besides, own)
        made.seen_at = seconds(row["seen_at"])
        told.append(made)
    return Plans(data=told)


def named(models: Iterable[str]) -> list[Deployment]:
    """Want models by their names alone.

    Raises:
        InvalidRequest: one is no name, or there are too many.
    """
    names = list(dict.fromkeys(models))
    if len(names) > MAX_DEPLOYMENTS:
        raise InvalidRequest(f"At most {MAX_DEPLOYMENTS} models are planned at once.")
    try:
        return [Deployment(name=name) for name in names]
    except ValidationError:
        raise InvalidRequest("That is no name of a model.", param="model") from None


def planned(
    node: str,
    known: Inventory | None,
    said: Sequence[Deployment],
    besides: Sequence[Deployment] = (),
    home: Path | None = None,
) -> PlanObject:
    """Plan one machine, for what is said and for models besides that are not among it."""
    names = {deployment.name for deployment in said}
    deployments = [*said, *(each for each in besides if each.name not in names)]
    if known is None:
        return _untold(node, deployments)
    wanted = inventory.wishes(deployments, _finder(known, home), known.running)
    # On the processor a guess would do for the supervisor, for a model that is made meanwhile.
    made = plan(known, [wish for wish in wanted if wish.facts or wish.running])
    instances = [
        _placed(wish, made.placed[wish.key])
        if wish.key in made.placed
        else _refused(wish.model, made.refused.get(wish.key, ABSENT))
        for wish in wanted
    ]
    return PlanObject(
        node=node,
        seen_at=None,
        engine=known.variant,
        gpus=[msgspec.to_builtins(gpu) for gpu in known.gpus],
        memory_bytes=known.memory_bytes,
        free_memory_bytes=known.free_memory_bytes,
        instances=instances,
    )


def _finder(known: Inventory, home: Path | None) -> Callable[[str], Facts | None]:
    def find(name: str) -> Facts | None:
        if (told := known.models.get(name)) is not None or home is None:
            return told
        return facts.find(home, name)

    return find


def _untold(node: str, deployments: Sequence[Deployment]) -> PlanObject:
    return PlanObject(
        node=node,
        seen_at=None,
        engine=None,
        gpus=[],
        memory_bytes=None,
        free_memory_bytes=None,
        instances=[_refused(said.name, UNTOLD) for said in deployments],
    )


def _placed(wish: Wanted, place: Assignment) -> PlannedInstance:
    return PlannedInstance(
        model=wish.model,
        is_running=wish.running is not None,
        fits=True,
        gpus=list(place.gpus),
        memory_fraction=place.memory_fraction,
        memory_bytes=place.memory_bytes,
        max_running=place.max_running,
        reasons=list(place.reasons),
    )


def _refused(model: str, reason: str) -> PlannedInstance:
    return PlannedInstance(
        model=model,
        is_running=False,
        fits=False,
        gpus=[],
        memory_fraction=None,
        memory_bytes=None,
        max_running=None,
        reasons=[reason],
    )


def _said(row: Any) -> Deployment:
    """Read what a plan needs of a row. A `real` has six digits, and no more was ever said."""
    fraction = row["memory_fraction"]
    return Deployment(
        name=row["model"],
        engine_args=row["engine_args"],
        gpus=None if row["gpus"] is None else tuple(row["gpus"]),
        memory_fraction=None if fraction is None else float(f"{fraction:.6g}"),
        instances=row["instances"],
        tensor_parallel=row["tensor_parallel"],
    )
