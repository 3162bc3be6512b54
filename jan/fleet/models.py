"""Rules of what is said of models and of their other names: by who administers all of this Jan."""

from typing import Any

from msgspec import UNSET

from jan import clock, pages
from jan.audit import platform
from jan.audit import service as audit
from jan.caller import Caller
from jan.db import paging, scope
from jan.errors import InvalidRequest, NotFound
from jan.fleet import described, provided
from jan.fleet.described import (
    MAX_FALLBACKS,
    MAX_NAME_LENGTH,
    AliasCreate,
    AliasObject,
    ModelObject,
    ModelUpdate,
)
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.wire import Deleted, seconds

SAID = (
    *("owned_by", "capabilities", "context_length", "fallbacks", "is_enabled"),
    *("prompt_price", "cached_price", "completion_price"),
)
# All that are served or said something of.
SELECT = """
SELECT r.* FROM (
    SELECT coalesce(m.id, s.id) AS id, coalesce(s.created_at, m.created_at) AS created_at,
           m.owned_by, m.capabilities, m.context_length,
           coalesce(m.fallbacks, '{}') AS fallbacks, coalesce(m.is_enabled, true) AS is_enabled,
           m.prompt_price, m.cached_price, m.completion_price,
           coalesce(s.providers, '{}') AS providers
    FROM model AS m FULL JOIN (
        SELECT p.prefix || (served.value->>'id') AS id, min(e.created_at) AS created_at,
               array_agg(DISTINCT p.name::text) AS providers
        FROM endpoint AS e JOIN provider AS p ON p.id = e.provider_id
        CROSS JOIN jsonb_array_elements(e.served) AS served
        WHERE e.is_enabled AND p.is_enabled
          AND (p.only_models IS NULL OR served.value->>'id' = ANY(p.only_models))
        GROUP BY 1
    ) AS s ON s.id = m.id
) AS r WHERE true
"""
FIND = SELECT + " AND r.id = $1"
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('jan model ' || $1, 0))"
UPSERT = """
INSERT INTO model (id, owned_by, capabilities, context_length, fallbacks, is_enabled, prompt_price,
                   cached_price, completion_price, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
ON CONFLICT (id) DO UPDATE SET owned_by = $2, capabilities = $3, context_length = $4,
    fallbacks = $5, is_enabled = $6, prompt_price = $7, cached_price = $8, completion_price = $9,
    updated_at = $10
"""
DELETE = "DELETE FROM model WHERE id = $1 RETURNING id"

ALIASES = """
SELECT a.alias AS id, a.model_id, a.created_at FROM model_alias AS a WHERE true
"""
FIND_ALIAS = ALIASES + " AND a.alias = $1"
UPSERT_ALIAS = """
INSERT INTO model_alias (alias, model_id, created_at) VALUES ($1, $2, $3)
ON CONFLICT (alias) DO UPDATE SET model_id = $2
"""
DELETE_ALIAS = "DELETE FROM model_alias WHERE alias = $1"


async def get(caller: Caller, name: str) -> ModelObject:
    """Find a model that is served, or of which something is said.

    Raises:
        Forbidden: the caller does not administer this Jan.
        NotFound: there is none.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        return await _found(connection, name)


async def page(caller: Caller, wanted: Wanted) -> Page[ModelObject]:
    """List them.

    Raises:
        Forbidden: the caller does not administer this Jan.
        InvalidRequest: the cursor is none of the list's ids.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.reading_all() as connection:
        rows = await paging.fetch(connection, SELECT, [], wanted, alias="r")
    return pages.page([_shown(row) for row in rows], wanted)


async def update(caller: Caller, name: str, changes: ModelUpdate) -> ModelObject:
    """Say something of a model, which need not be served yet.

    Raises:
        Forbidden: the caller does not administer this Jan.
        InvalidRequest: a field does not fit.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    provided.model(name, param="id", length=MAX_NAME_LENGTH)
    said = _checked(name, changes)
    async with scope.of_all() as connection:
        await connection.execute(LOCK, name)
        row = await connection.fetchrow(FIND, name)
        before = {} if row is None else {field: row[field] for field in SAID}
        after = {"fallbacks": [], "is_enabled": True} | before | said
        values = [after.get(field) for field in SAID]
        await connection.execute(UPSERT, name, *values, clock.now())
        await _record(connection, caller, "model.updated", name, before=before, changes=after)
        return await _found(connection, name)


async def delete(caller: Caller, name: str) -> Deleted:
    """Take back all that is said of a model. Who serves it goes on to do so.

    Raises:
        Forbidden: the caller does not administer this Jan.
        NotFound: nothing is said of it.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        if "\0" in name or await connection.fetchval(DELETE, name) is None:
            raise NotFound(f"Nothing is said of a model `{name}`.")
        await _record(connection, caller, "model.deleted", name)
    return Deleted(object="registry.model.deleted", id=name)


async def set_alias(caller: Caller, wanted: AliasCreate) -> AliasObject:
    """Give a model another name, or have that name stand for another model from now on.

    Raises:
        Forbidden: the caller does not administer this Jan.
        InvalidRequest: a name does not fit, or stands for another one itself.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    alias = provided.model(wanted.alias, param="alias", length=MAX_NAME_LENGTH)
    model = provided.model(wanted.model, param="model", length=MAX_NAME_LENGTH)
    if alias == model:
        raise InvalidRequest("A name can't stand for itself.", param="model")
    async with scope.of_all() as connection:
        await connection.execute(LOCK, "")  # two that point at each other would both be let in
        if await connection.fetchrow(FIND_ALIAS, model) is not None:
            raise InvalidRequest(
                f"`{model}` stands for another model itself: name that one.", param="model"
            )
        if await connection.fetchval("SELECT alias FROM model_alias WHERE model_id = $1", alias):
            raise InvalidRequest(f"Other names stand for `{alias}`.", param="alias")
        before = await connection.fetchrow(FIND_ALIAS, alias)
        await connection.execute(UPSERT_ALIAS, alias, model, clock.now())
        await _record(
            connection,
            caller,
            "model.alias.set",
            alias,
            before={"model": before["model_id"]} if before else {},
            changes={"model": model},
        )
        return _alias(await connection.fetchrow(FIND_ALIAS, alias))


async def aliases(caller: Caller, wanted: Wanted) -> Page[AliasObject]:
    """List other names.

    Raises:
        Forbidden: the caller does not administer this Jan.
        InvalidRequest: the cursor is none of the list's ids.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.reading_all() as connection:
        rows = await paging.fetch(connection, ALIASES, [], wanted, alias="a", identity="alias")
    return pages.page([_alias(row) for row in rows], wanted)


async def delete_alias(caller: Caller, alias: str) -> Deleted:
    """Take another name away.

    Raises:
        Forbidden: the caller does not administer this Jan.
        NotFound: there is none.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        row = None if "\0" in alias else await connection.fetchrow(FIND_ALIAS, alias)
        if row is None:
            raise NotFound(f"There is no alias `{alias}`.")
        await connection.execute(DELETE_ALIAS, alias)
        await _record(
            connection, caller, "model.alias.deleted", alias, before={"model": row["model_id"]}
        )
    return Deleted(object="model.alias.deleted", id=alias)


def _checked(name: str, changes: ModelUpdate) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if changes.owned_by is not UNSET:
        owner = changes.owned_by
        said["owned_by"] = owner and provided.model(owner, param="owned_by", length=MAX_NAME_LENGTH)
    if changes.capabilities is not UNSET:
        able = changes.capabilities
        said["capabilities"] = None if able is None else list(dict.fromkeys(able))
    if changes.context_length is not UNSET:
        said["context_length"] = described.context_length(changes.context_length)
    if changes.fallbacks is not UNSET:
        names = provided.models(changes.fallbacks or [], param="fallbacks", length=MAX_NAME_LENGTH)
        if len(names or []) > MAX_FALLBACKS or name in (names or []):
            raise InvalidRequest(
                f"`fallbacks` are at most {MAX_FALLBACKS} other models.", param="fallbacks"
            )
        said["fallbacks"] = names
    if changes.enabled is not UNSET:
        said["is_enabled"] = changes.enabled
    for field in ("prompt_price", "cached_price", "completion_price"):
        value = getattr(changes, field)
        if value is not UNSET:
            said[field] = described.price(value, param=field)
    return said


async def _found(connection: Any, name: str) -> ModelObject:
    row = None if "\0" in name else await connection.fetchrow(FIND, name)
    if row is None:
        raise NotFound(f"There is no model `{name}`.")
    return _shown(row)


def _shown(row: Any) -> ModelObject:
    return ModelObject(
        id=row["id"],
        enabled=row["is_enabled"],
        providers=row["providers"],
        **{field: row[field] for field in SAID if field != "is_enabled"},
    )


def _alias(row: Any) -> AliasObject:
    return AliasObject(id=row["id"], model=row["model_id"], created_at=seconds(row["created_at"]))


async def _record(connection: Any, caller: Caller, act: str, name: str, **sides: Any) -> None:
    await audit.record(
        caller,
        act,
        name,
        organization_id=await platform.organization_id(connection),
        **sides,
    )
