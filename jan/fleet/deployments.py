"""Rules of deployments: which models are to run on which node. Who runs them is `jan serve` there.

A change is written down, and the node's supervisor makes it so; `status` and `message` tell how far
it is. A step that is under way is not overtaken by another of its kind: of two operators who reload
one model at once the second is told.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg
from msgspec import UNSET
from pydantic import ValidationError

from jan import clock, pages
from jan.audit import platform
from jan.audit import service as audit
from jan.caller import Caller
from jan.db import paging, scope
from jan.deployments import Deployment
from jan.errors import Conflict, InvalidRequest, NotFound
from jan.fleet import deployed, nodes
from jan.fleet.deployed import (
    OPTIONS,
    RESTARTING,
    DeploymentCreate,
    DeploymentObject,
    DeploymentUpdate,
    Instance,
)
from jan.fleet.tables import new_deployment_id
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.wire import Deleted, seconds

BUSY = ("pending", "loading", "replacing", "unloading")
"""Something is under way."""

PLAIN = (
    *("id", "node", "model", "wanted", "generation"),
    *("managed_by", "status", "message", "share"),
)
"""Columns that are shown as they are."""

SELECT = """
SELECT d.id, d.node, d.model, d.engine_args, d.gpus, d.memory_fraction, d.instances,
       d.tensor_parallel, d.max_running, d.idle_unload_s, d.replace, d.wanted, d.generation,
       d.managed_by, d.status, d.message, d.share, d.created_at, d.updated_at, n.seen_at
FROM deployment AS d JOIN node AS n ON n.name = d.node WHERE true
"""
LOCK = SELECT + " AND d.id = $1 FOR UPDATE OF d"
ENDPOINTS = """
SELECT id, deployment_id, url, generation, state, since, is_draining, last_error
FROM endpoint WHERE deployment_id = ANY($1) ORDER BY created_at, url
"""
INSERT = """
INSERT INTO deployment (id, node, model, engine_args, gpus, memory_fraction, instances,
                        tensor_parallel, max_running, idle_unload_s, replace, created_at,
                        updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
"""
UPDATE = """
UPDATE deployment SET engine_args = $2, gpus = $3, memory_fraction = $4, instances = $5,
                      tensor_parallel = $6, max_running = $7, idle_unload_s = $8, replace = $9,
                      generation = $10, status = $11, updated_at = $12
WHERE id = $1
"""
MOVE = """
UPDATE deployment SET wanted = $2, generation = $3, status = $4, message = '', share = NULL,
                      updated_at = $5
WHERE id = $1
"""
DELETE = "DELETE FROM deployment WHERE id = $1"


async def create(caller: Caller, wanted: DeploymentCreate, *, here: nodes.Here) -> DeploymentObject:
    """Have a model run on a node: on the one that is asked, or on the only one there is.

    Raises:
        Forbidden: the caller does not administer this Jan.
        InvalidRequest: a field does not fit, or it is not said which of several nodes.
        NotFound: there is no such node, or no such model in its store, as far as that is known.
        Unavailable: the node's `jan serve` has not been seen for long.
        Conflict: the node has a deployment of this model.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    said = _checked(caller, {"name": wanted.model, **_fields(wanted)})
    async with scope.of_all() as connection:
        node = await nodes.choose(connection, wanted.node, here=here)
        await here.require_model(node, said.name)
        deployment_id = new_deployment_id()
        try:
            await connection.execute(
                INSERT, deployment_id, node, said.name, *deployed.columns(said), clock.now()
            )
        except asyncpg.UniqueViolationError:
            raise Conflict(
                f"{said.name} is there already on {node}: `load` or `reload` it."
            ) from None
        made = await _found(connection, deployment_id)
        await _record(connection, caller, "deployment.created", made, data=_told(said))
        return made


async def get(caller: Caller, deployment_id: str) -> DeploymentObject:
    """Find a deployment.

    Raises:
        Forbidden: the caller does not administer this Jan.
        NotFound: there is none of this id.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        return await _found(connection, deployment_id)


async def page(
    caller: Caller, wanted: Wanted, *, node: str | None = None, model: str | None = None
) -> Page[DeploymentObject]:
    """List deployments, of one node or one model if that is said.

    Raises:
        Forbidden: the caller does not administer this Jan.
        InvalidRequest: the cursor is none of the list's ids.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    select, values = SELECT, list[object]()
    for column, value in (("node", node), ("model", model)):
        if value is not None:
            values.append(value)
            select += f" AND d.{column} = ${len(values)}"
    async with scope.reading_all() as connection:
        rows = await paging.fetch(connection, select, values, wanted, alias="d")
        kept = pages.page([_Row(row) for row in rows], wanted)
        endpoints = await _endpoints(connection, [row.id for row in kept.data])
    return pages.mapped(kept, lambda row: _shown(row.row, endpoints))


async def update(caller: Caller, deployment_id: str, changes: DeploymentUpdate) -> DeploymentObject:
    """Change how a model runs. What an engine is told at its start replaces those that run.

    Raises:
        Forbidden, NotFound: as `get`.
        InvalidRequest: a field does not fit, or nothing is to change.
        Conflict: the settings say it, or its engines are being replaced.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    said = {name: value for name in OPTIONS if (value := getattr(changes, name)) is not UNSET}
    if not said:
        raise InvalidRequest("Nothing is to change.")
    async with scope.of_all() as connection:
        before = _require(await connection.fetchrow(LOCK, deployment_id), deployment_id)
        if before["managed_by"] == "settings":
            raise Conflict(
                f"{before['model']} is said in the settings of its node: change `[[models]]` there."
            )
        old = deployed.options(before)
        after = _checked(caller, {"name": before["model"], **old, **said})
        values = deployed.columns(after)
        different = {
            name for name, value in zip(OPTIONS, values, strict=True) if value != old[name]
        }
        generation, status = before["generation"], before["status"]
        if different & RESTARTING and before["wanted"] == "loaded":
            _require_settled(before, "replaced")
            generation, status = generation + 1, "replacing"
        elif "instances" in different and status in {"loaded", "failed"}:
            status = "loading"
        await connection.execute(UPDATE, deployment_id, *values, generation, status, clock.now())
        changed = await _found(connection, deployment_id)
        await _record(
            connection,
            caller,
            "deployment.updated",
            changed,
            before={name: old[name] for name in different},
            changes={name: getattr(after, name) for name in different},
        )
        return changed


async def delete(caller: Caller, deployment_id: str) -> Deleted:
    """Unload a model for good, whatever is under way.

    Raises:
        Forbidden, NotFound: as `get`.
        Conflict: the settings say it, and would again.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        row = _require(await connection.fetchrow(LOCK, deployment_id), deployment_id)
        if row["managed_by"] == "settings":
            raise Conflict(
                f"{row['model']} is said in the settings of its node: take it out of `[[models]]`"
                " there, or unload it until the next start."
            )
        gone = _shown(row, {})
        await connection.execute(DELETE, deployment_id)
        await _record(connection, caller, "deployment.deleted", gone)
    return Deleted(object="deployment.deleted", id=deployment_id)


async def reload(caller: Caller, deployment_id: str) -> DeploymentObject:
    """Replace the engines of a model with new ones, without failing requests where `surge` can.

    Raises:
        Forbidden, NotFound: as `get`.
        Unavailable: the node's `jan serve` has not been seen for long.
        Conflict: it is not loaded, or is being loaded, replaced or unloaded.
    """
    return await _move(caller, deployment_id, "reloaded")


async def load(caller: Caller, deployment_id: str) -> DeploymentObject:
    """Load a model that was unloaded, sleeps or failed.

    Raises:
        Forbidden, NotFound, Unavailable: as `reload`.
        Conflict: it is loaded, or is being loaded, replaced or unloaded.
    """
    return await _move(caller, deployment_id, "loaded")


async def unload(caller: Caller, deployment_id: str) -> DeploymentObject:
    """Let a model end what it does, and stop its engines until it is loaded again.

    What the settings of its node say is loaded again at the next start there. It may be under way
    to be loaded or replaced: that ends, too.

    Raises:
        Forbidden, NotFound: as `get`.
        Conflict: it is not loaded.
    """
    return await _move(caller, deployment_id, "unloaded")


async def _move(caller: Caller, deployment_id: str, step: str) -> DeploymentObject:
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        row = _require(await connection.fetchrow(LOCK, deployment_id), deployment_id)
        model, wanted, generation = row["model"], row["wanted"], row["generation"]
        if step == "unloaded":
            if wanted == "unloaded":
                raise Conflict(f"{model} is not loaded.")
            new = ("unloaded", generation, "unloading")
        else:
            nodes.require_alive(row["node"], row["seen_at"])
            if row["status"] != "failed":
                _require_settled(row, step)
            if step == "reloaded":
                if wanted != "loaded":
                    raise Conflict(f"{model} is not loaded: `load` it.")
                new = ("loaded", generation + 1, "replacing")
            elif wanted == "loaded" and row["status"] != "failed":
                raise Conflict(f"{model} is loaded already: `reload` replaces its engines.")
            else:
                # Of one that keeps failing, the next try is far away: a new one begins at once.
                new = ("loaded", generation + (wanted == "loaded"), "pending")
        await connection.execute(MOVE, deployment_id, *new, clock.now())
        moved = await _found(connection, deployment_id)
        await _record(connection, caller, f"deployment.{step}", moved)
        return moved


def _require_settled(row: Any, step: str) -> None:
    """Raise Conflict while something is under way."""
    if row["status"] in BUSY:
        doing = {"pending": "loading"}.get(row["status"], row["status"])
        raise Conflict(
            f"{row['model']} can't be {step} now: it is {doing}. Wait until that is done."
        )


def _checked(caller: Caller, fields: dict[str, Any]) -> Deployment:
    try:
        said = Deployment.model_validate(fields)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, problem["loc"]))
        param = "model" if place == "name" else place
        words = problem["msg"].removeprefix("Value error, ")
        raise InvalidRequest(f"`{param}`: {words}", param=param) from None
    option = deployed.forbidden(said.engine_args)
    if option is not None and caller.kind != "operator":
        raise InvalidRequest(
            f"`--{option}` can be given at the machine itself only.", param="engine_args"
        )
    return said


def _fields(wanted: DeploymentCreate) -> dict[str, Any]:
    return {name: getattr(wanted, name) for name in OPTIONS}


def _told(said: Deployment) -> dict[str, Any]:
    """What differs from what is usual, for the audit log."""
    return said.model_dump(mode="json", exclude_defaults=True)


class _Row:
    """A row as an object of a page."""

    def __init__(self, row: Any) -> None:
        self.row = row
        self.id: str = row["id"]


async def _found(connection: Any, deployment_id: str) -> DeploymentObject:
    row = _require(
        await connection.fetchrow(SELECT + " AND d.id = $1", deployment_id), deployment_id
    )
    return _shown(row, await _endpoints(connection, [deployment_id]))


async def _endpoints(connection: Any, deployment_ids: Sequence[str]) -> dict[str, list[Instance]]:
    found: dict[str, list[Instance]] = {}
    for row in await connection.fetch(ENDPOINTS, deployment_ids):
        found.setdefault(row["deployment_id"], []).append(
            Instance(
                id=row["id"],
                url=row["url"],
                generation=row["generation"],
                state=row["state"],
                since=seconds(row["since"]),
                is_draining=row["is_draining"],
                last_error=row["last_error"],
            )
        )
    return found


def _shown(row: Any, endpoints: dict[str, list[Instance]]) -> DeploymentObject:
    return DeploymentObject(
        **{name: row[name] for name in PLAIN},
        **deployed.options(row),
        created_at=seconds(row["created_at"]),
        updated_at=seconds(row["updated_at"]),
        node_seen_at=seconds(row["seen_at"]),
        endpoints=endpoints.get(row["id"], []),
    )


def _require(row: Any, deployment_id: str) -> Any:
    if row is None:
        raise NotFound(f"There is no deployment `{deployment_id}`.")
    return row


async def _record(
    connection: Any, caller: Caller, act: str, deployment: DeploymentObject, **sides: Any
) -> None:
    subject = {"model": deployment.model, "node": deployment.node}
    sides["data"] = {**subject, **sides.get("data", {})}
    await audit.record(
        caller,
        act,
        deployment.id,
        organization_id=await platform.organization_id(connection),
        **sides,
    )
