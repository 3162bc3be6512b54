"""What a machine has and what runs on it: all that a plan for it needs, also made from elsewhere.

`node.hardware` keeps it as JSON. A machine that tells of its hardware only is understood too.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import count, islice

import msgspec

from jan.deployments import Deployment
from jan.runner import facts, hardware, store
from jan.runner.hardware import Hardware
from jan.runner.needs import Facts
from jan.runner.wishes import Assignment, Wanted
from jan.settings import Settings


class Running(msgspec.Struct, frozen=True):
    """An engine that runs, or starts."""

    model: str
    assignment: Assignment


class Inventory(Hardware, frozen=True):
    """Hardware, models and engines of a machine."""

    models: Mapping[str, Facts] = {}
    """Those of its model store, by name."""
    running: Mapping[str, Running] = {}
    """By a key of their own."""


def take(
    settings: Settings,
    running: Mapping[str, Running] | None = None,
    *,
    own: Collection[int] = (),
) -> Inventory:
    """Look at this machine. `own` are processes of Jan's engines."""
    found = hardware.chosen(settings.engine, own=own)
    models = {model.name: facts.of(model) for model in store.models(settings.home)}
    return Inventory(
        **{name: getattr(found, name) for name in Hardware.__struct_fields__},
        models={**facts.MADE_HERE, **models},
        running=dict(running or {}),
    )


def encode(inventory: Inventory) -> str:
    """Write it for the database."""
    return msgspec.json.encode(inventory).decode()


def decode(document: str | bytes) -> Inventory | None:
    """Read it. None: it is of a version that this one does not understand, or empty."""
    try:
        return msgspec.json.decode(document, type=Inventory)
    except (msgspec.MsgspecError, RecursionError):
        return None


def wishes(
    deployments: Iterable[Deployment],
    find: Callable[[str], Facts | None],
    running: Mapping[str, Running],
) -> list[Wanted]:
    """Tell what is wanted: what runs, where it is, and what is missing of each deployment."""
    wanted = [
        Wanted(key=key, model=engine.model, facts=find(engine.model), running=engine.assignment)
        for key, engine in running.items()
    ]
    for said in deployments:
        there = sum(engine.model == said.name for engine in running.values())
        keys = (key for n in count(1) if (key := f"{said.name}/{n}") not in running)
        wanted += [
            Wanted(
                key=key,
                model=said.name,
                facts=find(said.name),
                gpus=said.gpus,
                memory_fraction=said.memory_fraction,
                tensor_parallel=said.tensor_parallel,
                engine_args=said.engine_args,
            )
            for key in islice(keys, max(0, said.instances - there))
        ]
    return wanted
