"""Where engines run: what is to start is placed beside what runs, which stays where it is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import structlog
from anyio import to_thread

from jan import process, telemetry
from jan.deployments import Deployment
from jan.runner import facts, hardware, inventory
from jan.runner.hardware import Hardware
from jan.runner.inventory import Running
from jan.runner.needs import Facts
from jan.runner.placement import plan
from jan.runner.wishes import Assignment, Plan, Wanted
from jan.settings import Settings

log = structlog.get_logger()


@dataclass(frozen=True)
class Placed:
    """An engine that runs, or is being started or stopped."""

    key: str
    said: Deployment
    assignment: Assignment | None


@dataclass(frozen=True)
class Wish:
    """One that is to start."""

    key: str
    said: Deployment
    replaces: str | None
    """Key of the one that ends when this one is ready."""


def look(settings: Settings) -> Hardware:
    """See what this machine has for engines of its settings' kind, beside those that are ours."""
    return hardware.chosen(settings.engine, own=process.descendants())


def told(settings: Settings, running: Mapping[str, Running]) -> dict[str, Any] | None:
    """Tell the fleet what this machine has, and what runs on it. None: that can't be told."""
    try:
        found = inventory.take(settings, running, own=process.descendants())
    except Exception as error:  # noqa: BLE001 - without it engines run as well
        log.warning("the machine can't be described", **telemetry.brief(error))
        return None
    return msgspec.to_builtins(found)


async def place(settings: Settings, running: Iterable[Placed], wishes: Sequence[Wish]) -> Plan:
    """Find a place for each wish, or tell why there is none."""
    return await to_thread.run_sync(_place, settings, list(running), wishes)


def _place(settings: Settings, running: Sequence[Placed], wishes: Sequence[Wish]) -> Plan:
    wanted = [
        _wanted(settings.home, each.key, each.said, running=each.assignment or Assignment())
        for each in running
    ]
    wanted += [
        _wanted(settings.home, wish.key, wish.said, replaces=wish.replaces) for wish in wishes
    ]
    return plan(look(settings), wanted)


def _wanted(
    home: Path,
    key: str,
    said: Deployment,
    *,
    running: Assignment | None = None,
    replaces: str | None = None,
) -> Wanted:
    return Wanted(
        key=key,
        model=said.name,
        facts=_facts(home, said.name),
        gpus=said.gpus,
        memory_fraction=said.memory_fraction,
        tensor_parallel=said.tensor_parallel,
        engine_args=said.engine_args,
        running=running,
        replaces=replaces,
    )


def _facts(home: Path, name: str) -> Facts | None:
    """Read what is known of a model. One that is odd keeps no other from its place."""
    try:
        return facts.find(home, name)
    except Exception as error:  # noqa: BLE001 - folders of models come from anywhere
        log.warning("a model's needs can't be told", model=name, **telemetry.brief(error))
        return None
