"""`jan model plan`: what fits where on this machine, and why not."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jan.cli import api, context, output
from jan.cli.api import Json

if TYPE_CHECKING:
    from jan.settings import Settings

PATH = "/v1/admin/plan"
COLUMNS = ("model", "where", "of its memory", "bytes", "at a time", "why")


def plan(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Models to plan for besides what runs."),
    ] = None,
    node: Annotated[str | None, typer.Option(help="One node; all of them otherwise.")] = None,
    json: Json = False,
) -> None:
    """Tell which models fit on which GPUs, with how much of their memory, and why not.

    Nothing is started by it. While `jan serve` runs, its engines stay where they are, and all nodes
    that share its database are told of. Otherwise it is this machine with the models of the
    settings, or with those that are named. Exits with 1 if one does not fit.
    """
    settings = context.loaded().settings
    if settings.server is not None or _is_served(settings):
        answer = api.run(lambda jan: jan.get(PATH, node=node, model=models or None))
        found = answer["data"]
    else:
        found = [_of_this_machine(settings, models or [])]
    output.data(found, as_json=json, text="\n\n".join(map(_text, found)))
    if not all(instance["fits"] for each in found for instance in each["instances"]):
        raise typer.Exit(1)


def _is_served(settings: "Settings") -> bool:
    from jan.supervisor import lock

    return lock.is_held(settings.run_dir)


def _of_this_machine(settings: "Settings", models: list[str]) -> dict[str, Any]:
    import msgspec

    from jan.fleet import node, plans
    from jan.runner import inventory

    known = inventory.take(settings)
    of_settings = {said.name: said for said in settings.deployments}
    if models:
        said = [of_settings.get(each.name, each) for each in plans.named(models)]
    else:
        said = list(settings.deployments)
    return msgspec.to_builtins(plans.planned(node.name(settings.home), known, said))


def _text(plan: dict[str, Any]) -> str:
    from jan.runner import sizes

    rows = [
        (
            each["model"],
            _where(each),
            "-" if each["memory_fraction"] is None else f"{each['memory_fraction']:.1%}",
            "-" if each["memory_bytes"] is None else sizes.in_words(each["memory_bytes"]),
            each["max_running"],
            "; ".join(each["reasons"]),
        )
        for each in plan["instances"]
    ]
    return "\n".join([plan["node"], *_machine(plan), "", output.table(COLUMNS, rows)])


def _where(instance: dict[str, Any]) -> str:
    if not instance["fits"]:
        return "does not fit"
    place = "GPU " + ", ".join(map(str, instance["gpus"])) if instance["gpus"] else "processor"
    return f"{place} (runs)" if instance["is_running"] else place


def _machine(plan: dict[str, Any]) -> list[str]:
    from jan.runner import sizes

    lines: list[str] = []
    for gpu in plan["gpus"]:
        total, used = gpu["total_bytes"], gpu["used_bytes"]
        memory = "memory unknown" if total is None else sizes.in_words(total)
        use = "" if used is None else f", {sizes.in_words(used)} used"
        lines.append(f"GPU {gpu['index']}: {gpu['name']}, {memory}{use}")
    if plan["free_memory_bytes"] is not None:
        free = sizes.in_words(plan["free_memory_bytes"])
        lines.append(f"Memory: {free} free of {sizes.in_words(plan['memory_bytes'])}")
    return lines
