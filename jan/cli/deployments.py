"""`jan model load|reload|unload|status`: which models run, on this machine or another of the fleet.

What is changed is done by the `jan serve` of the model's node; these commands wait for it.
"""

import asyncio
import difflib
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from jan import clock
from jan.cli import api, output
from jan.cli.api import Json, part
from jan.errors import InvalidRequest, NotFound, Unavailable

PATH = "/v1/admin/deployments"
LOOK_EVERY_S = 0.3
GONE_S = 20.0
"""A node that was not seen for so long does not do what is waited for."""
COLUMNS = {
    "model": "model",
    "running": "running",
    "status": "status",
    "since": "updated_at",
    "gpus": "where",
    "node": "node",
    "message": "message",
}

Name = Annotated[str, typer.Argument(help="Its name in `jan model list`.")]
Node = Annotated[
    str | None, typer.Option(help="Machine, as `jan model status` names it. Not said: this one.")
]
Instances = Annotated[int | None, typer.Option(help="How many engines run it.")]
Gpus = Annotated[
    str | None, typer.Option(help="Numbers of the GPUs it may use, `0,1`. Not said: where it fits.")
]
MemoryFraction = Annotated[
    float | None, typer.Option(help="Share of each GPU's memory that one engine takes.")
]
TensorParallel = Annotated[
    int | None, typer.Option(help="Over how many GPUs one engine spreads the model.")
]
EngineArgs = Annotated[str | None, typer.Option(help="More options for vLLM.")]
MaxRunning = Annotated[int | None, typer.Option(help="Most requests that one engine gets at once.")]
IdleUnload = Annotated[
    float | None, typer.Option("--idle-unload", help="Seconds of rest after which it is unloaded.")
]
Replace = Annotated[
    str | None, typer.Option(help="How an engine is replaced: `surge` or `recreate`.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait until it is done.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `jan model`."""
    for command in (load, reload, unload, status):
        app.command()(command)


def load(
    name: Name,
    *,
    instances: Instances = None,
    gpus: Gpus = None,
    memory_fraction: MemoryFraction = None,
    tensor_parallel: TensorParallel = None,
    engine_args: EngineArgs = None,
    max_running: MaxRunning = None,
    idle_unload: IdleUnload = None,
    replace: Replace = None,
    node: Node = None,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Run a model, now and after each start of `jan serve`. Exits with 1 if it does not run."""
    options = _options(
        instances, gpus, memory_fraction, tensor_parallel, engine_args, max_running, idle_unload,
        replace,
    )  # fmt: skip

    async def act(jan: api.Api) -> Any:
        found = await _found(jan, name, node)
        if found is None:
            made = await jan.post(PATH, model=name, node=node, **options)
        else:
            one = f"{PATH}/{part(found['id'])}"
            made, is_open = found, found["wanted"] != "loaded" or found["status"] == "failed"
            if options and is_open:
                made = await jan.patch(one, **options)
            if made["generation"] == found["generation"]:  # else new engines are under way
                made = await jan.post(f"{one}/load")
        return made if no_wait else await _wait(jan, made, "loaded")

    _tell(api.run(act), "loaded", no_wait=no_wait, as_json=json)


def reload(
    name: Name,
    *,
    instances: Instances = None,
    gpus: Gpus = None,
    memory_fraction: MemoryFraction = None,
    tensor_parallel: TensorParallel = None,
    engine_args: EngineArgs = None,
    max_running: MaxRunning = None,
    idle_unload: IdleUnload = None,
    replace: Replace = None,
    node: Node = None,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Replace a model's engines with new ones, while it goes on answering.

    With options, it runs as they say from now on; engines that need not start anew for that stay.
    """
    options = _options(
        instances, gpus, memory_fraction, tensor_parallel, engine_args, max_running, idle_unload,
        replace,
    )  # fmt: skip

    async def act(jan: api.Api) -> Any:
        found = await _required(jan, name, node)
        one = f"{PATH}/{part(found['id'])}"
        if options and found["wanted"] == "loaded":
            made = await jan.patch(one, **options)
        else:
            made = await jan.post(f"{one}/reload")
        return made if no_wait else await _wait(jan, made, "loaded")

    _tell(api.run(act), "loaded", no_wait=no_wait, as_json=json)


def unload(
    name: Name,
    *,
    forget: Annotated[bool, typer.Option("--forget", help="Forget also how it ran.")] = False,
    node: Node = None,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Stop a model's engines, after what they do. It stays unloaded until it is loaded again.

    What `[[models]]` in the settings says is loaded again when `jan serve` starts.
    """

    async def act(jan: api.Api) -> Any:
        found = await _required(jan, name, node)
        one = f"{PATH}/{part(found['id'])}"
        if forget:
            await jan.delete(one)
            return {**found, "wanted": "unloaded", "status": "unloaded", "message": ""}
        made = await jan.post(f"{one}/unload")
        return made if no_wait else await _wait(jan, made, "unloaded")

    _tell(api.run(act), "unloaded", no_wait=no_wait, as_json=json)


def status(*, node: Node = None, json: Json = False) -> None:
    """Show which models run: how many engines of each, since when, and what keeps the others."""

    async def act(jan: api.Api) -> Any:
        return await jan.all(PATH, node=node), await jan.all("/v1/admin/nodes")

    found, nodes = api.run(act)
    running: dict[str, Any] = {}
    for each in nodes:
        running |= each["hardware"].get("running", {})
    output.listing([_shown(each, running) for each in found], COLUMNS, as_json=json)


def _shown(deployment: dict[str, Any], running_now: dict[str, Any]) -> dict[str, Any]:
    running = sum(
        each["state"] in {"healthy", "degraded"} and not each["is_draining"]
        for each in deployment["endpoints"]
    )
    message = deployment["message"]
    if clock.now().timestamp() - deployment["node_seen_at"] > GONE_S:
        running, message = 0, "`jan serve` does not run there."
    gpus = {
        gpu
        for each in deployment["endpoints"]
        if (engine := running_now.get(each["id"])) is not None
        for gpu in engine["assignment"].get("gpus", ())
    }
    return {
        **deployment,
        "running": f"{running}/{deployment['instances']}",
        "where": ",".join(map(str, sorted(gpus))) or None,
        "message": message,
    }


async def _found(jan: api.Api, name: str, node: str | None) -> dict[str, Any] | None:
    """Find the deployment that is meant. None: there is none of this model."""
    found = await jan.all(PATH, model=name, node=node)
    if len(found) > 1:
        nodes = ", ".join(each["node"] for each in found)
        raise InvalidRequest(f"{name} is on several nodes: name one of {nodes} with --node.")
    return found[0] if found else None


async def _required(jan: api.Api, name: str, node: str | None) -> dict[str, Any]:
    if found := await _found(jan, name, node):
        return found
    names = {each["model"].lower(): each["model"] for each in await jan.all(PATH, node=node)}
    close = difflib.get_close_matches(name.lower(), names, n=1)
    raise NotFound(
        f"{name} is not loaded.",
        hint=f"Did you mean `{names[close[0]]}`?" if close else "`jan model status` shows what is.",
    )


async def _wait(jan: api.Api, deployment: dict[str, Any], goal: str) -> dict[str, Any]:
    """Show how far it is until it is there, or can't get there.

    Raises:
        Unavailable: its node has gone.
    """
    from jan.runner import progress

    one = f"{PATH}/{part(deployment['id'])}"
    with progress.shown() as report:
        while True:
            deployment = await jan.get(one)
            if deployment["status"] in {goal, "failed"} or deployment["wanted"] != goal:
                return deployment
            if clock.now().timestamp() - deployment["node_seen_at"] > GONE_S:
                raise Unavailable(f"`jan serve` does not run any more on {deployment['node']}.")
            step = deployment["message"] or deployment["status"].capitalize()
            report(step, deployment["share"])
            await asyncio.sleep(LOOK_EVERY_S)


def _tell(deployment: dict[str, Any], goal: str, *, no_wait: bool, as_json: bool) -> None:
    if as_json:
        output.data(deployment, as_json=True, text="")
    model, status, message = (deployment[name] for name in ("model", "status", "message"))
    if no_wait:
        output.say(f"{model} is to be {goal}: `jan model status` tells how far it is.")
    elif status == goal:
        output.say(f"{model} is {goal}. {message}".strip())
    else:
        reason = message or f"Somebody else wants it to be {deployment['wanted']}."
        raise Unavailable(f"{model} is not {goal}: {reason}")


def _options(
    instances: int | None,
    gpus: str | None,
    memory_fraction: float | None,
    tensor_parallel: int | None,
    engine_args: str | None,
    max_running: int | None,
    idle_unload_s: float | None,
    replace: str | None,
) -> dict[str, Any]:
    options = {
        "instances": instances,
        "gpus": None if gpus is None else _numbers(gpus),
        "memory_fraction": memory_fraction,
        "tensor_parallel": tensor_parallel,
        "engine_args": engine_args,
        "max_running": max_running,
        "idle_unload_s": idle_unload_s,
        "replace": replace,
    }
    return {name: value for name, value in options.items() if value is not None}


def _numbers(said: str) -> Sequence[int]:
    try:
        return [int(number) for number in said.split(",") if number.strip()]
    except ValueError:
        raise InvalidRequest(f"`{said}` are no numbers of GPUs, such as `0,1`.") from None
