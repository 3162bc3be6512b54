"""Rules of providers and their endpoints: by who administers all of this Jan.

What is written here every process reads within a moment, see `jan.fleet.feed`. A provider that the
settings say is changed there.
"""

from typing import Any

import asyncpg
import msgspec
from msgspec import UNSET

from jan import clock, pages
from jan.audit import platform
from jan.audit import service as audit
from jan.caller import Caller
from jan.db import paging, scope
from jan.errors import Conflict, NotFound
from jan.fleet import provided
from jan.fleet.credentials import ProviderKeys
from jan.fleet.provided import (
    EndpointCreate,
    EndpointObject,
    EndpointUpdate,
    ProviderCreate,
    ProviderObject,
    ProviderUpdate,
)
from jan.fleet.tables import new_endpoint_id, new_provider_id
from jan.inference.registry import Served
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.providers import MAX_ENDPOINTS
from jan.seal import Broken
from jan.wire import Deleted, optional_seconds, seconds

UNREADABLE = (Broken, msgspec.MsgspecError)

SELECT = """
SELECT p.id, p.name, p.kind, p.node, p.managed_by, p.sealed, p.prefix, p.only_models, p.is_enabled,
       p.created_at, p.updated_at
FROM provider AS p WHERE true
"""
FIND = SELECT + " AND (p.id = $1 OR p.name = $1)"
LOCK = FIND + " FOR UPDATE"
ENDPOINTS = """
SELECT id, provider_id, url, node, weight, max_running, is_enabled, is_draining, state, since,
       last_error, served, checked_at, latency_ms, created_at
FROM endpoint WHERE provider_id = ANY($1) ORDER BY created_at, id
"""
INSERT = """
INSERT INTO provider (id, name, kind, sealed, prefix, only_models, is_enabled, created_at,
                      updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
"""
UPDATE = """
UPDATE provider SET name = $2, kind = $3, sealed = $4, prefix = $5, only_models = $6,
                    is_enabled = $7, updated_at = $8
WHERE id = $1
"""
RESEAL = "UPDATE provider SET sealed = $2, updated_at = $3 WHERE id = $1"
DELETE = "DELETE FROM provider WHERE id = $1"
INSERT_ENDPOINT = """
INSERT INTO endpoint (id, provider_id, url, weight, max_running, is_enabled, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
UPDATE_ENDPOINT = """
UPDATE endpoint SET weight = $2, max_running = $3, is_enabled = $4 WHERE id = $1
"""
DELETE_ENDPOINT = "DELETE FROM endpoint WHERE id = $1"


async def create(caller: Caller, wanted: ProviderCreate, *, keys: ProviderKeys) -> ProviderObject:
    """Register a provider with its first endpoint.

    Raises:
        Forbidden: the caller does not administer this Jan.
        InvalidRequest: a field does not fit.
        Conflict: there is one of this name.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    name, url = provided.name(wanted.name), provided.url(wanted.url)
    key = provided.api_key(wanted.api_key)
    prefix = provided.prefix(wanted.prefix)
    names = provided.models(wanted.models, param="models")
    weight, most = provided.weight(wanted.weight), provided.max_running(wanted.max_running)
    provider_id, now = new_provider_id(), clock.now()
    sealed = keys.close(provider_id, [url], key) if key else None
    async with scope.of_all() as connection:
        values = (name, wanted.kind, sealed, prefix, names, wanted.enabled, now)
        try:
            await connection.execute(INSERT, provider_id, *values)
        except asyncpg.UniqueViolationError:
            raise _taken(name) from None
        await connection.execute(
            INSERT_ENDPOINT, new_endpoint_id(), provider_id, url, weight, most, True, now
        )
        made = await _found(connection, provider_id)
        await _record(connection, caller, "provider.created", made, data=_told(made))
        return made


async def get(caller: Caller, named: str) -> ProviderObject:
    """Find a provider by its id or its name.

    Raises:
        Forbidden: the caller does not administer this Jan.
        NotFound: there is none.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        return await _found(connection, named)


async def page(caller: Caller, wanted: Wanted) -> Page[ProviderObject]:
    """List providers.

    Raises:
        Forbidden: the caller does not administer this Jan.
        InvalidRequest: the cursor is none of the list's ids.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.reading_all() as connection:
        rows = await paging.fetch(connection, SELECT, [], wanted, alias="p")
        kept = pages.kept_of(rows, wanted)
        endpoints = await connection.fetch(ENDPOINTS, [row["id"] for row in kept])
    # One more than the page has: `pages.page` tells by it whether the list goes on.
    return pages.page([_shown(row, endpoints) for row in rows], wanted)


async def update(
    caller: Caller, named: str, changes: ProviderUpdate, *, keys: ProviderKeys
) -> ProviderObject:
    """Change a provider.

    Raises:
        Forbidden, NotFound: as `get`.
        InvalidRequest: a field does not fit.
        Conflict: the settings say it, or there is another one of the new name.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        row = await _changeable(connection, named)
        before = await _found(connection, row["id"])
        name = row["name"] if changes.name is UNSET else provided.name(changes.name)
        kind = row["kind"] if changes.kind is UNSET else changes.kind
        prefix = row["prefix"] if changes.prefix is UNSET else provided.prefix(changes.prefix)
        names = row["only_models"]
        if changes.models is not UNSET:
            names = provided.models(changes.models, param="models")
        sealed = row["sealed"]
        if changes.api_key is not UNSET:
            key = provided.api_key(changes.api_key)
            urls = [each.url for each in before.endpoints]
            sealed = keys.close(row["id"], urls, key) if key else None
        enabled = row["is_enabled"] if changes.enabled is UNSET else changes.enabled
        values = (name, kind, sealed, prefix, names, enabled, clock.now())
        try:
            await connection.execute(UPDATE, row["id"], *values)
        except asyncpg.UniqueViolationError:
            raise _taken(name) from None
        after = await _found(connection, row["id"])
        replaced = {} if changes.api_key is UNSET else {"api_key": "replaced"}
        await _record(
            connection,
            caller,
            "provider.updated",
            after,
            before=_told(before),
            changes=_told(after) | replaced,
        )
        return after


async def delete(caller: Caller, named: str) -> Deleted:
    """Forget a provider with its endpoints and its API key.

    Raises:
        Forbidden, NotFound: as `get`.
        Conflict: the settings say it.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        row = await _changeable(connection, named)
        gone = await _found(connection, row["id"])
        await connection.execute(DELETE, gone.id)
        await _record(connection, caller, "provider.deleted", gone, before=_told(gone))
    return Deleted(object="provider.deleted", id=gone.id)


async def add_endpoint(
    caller: Caller, named: str, wanted: EndpointCreate, *, keys: ProviderKeys
) -> EndpointObject:
    """Add an address to a provider. Its API key is sealed anew, for that one, too.

    Raises:
        Forbidden, NotFound: as `get`.
        InvalidRequest: a field does not fit.
        Conflict: the settings say the provider, it has this address or too many, or its API key
            can't be read.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    url, weight = provided.url(wanted.url), provided.weight(wanted.weight)
    most, endpoint_id, now = (
        provided.max_running(wanted.max_running),
        new_endpoint_id(),
        clock.now(),
    )
    async with scope.of_all() as connection:
        row = await _changeable(connection, named)
        before = await _found(connection, row["id"])
        if len(before.endpoints) >= MAX_ENDPOINTS:
            raise Conflict(f"{row['name']} has {MAX_ENDPOINTS} endpoints already.")
        values = (endpoint_id, row["id"], url, weight, most, wanted.enabled, now)
        try:
            await connection.execute(INSERT_ENDPOINT, *values)
        except asyncpg.UniqueViolationError:
            raise Conflict(f"{row['name']} has the endpoint {url} already.") from None
        if row["sealed"] is not None:
            urls = [*(each.url for each in before.endpoints), url]
            try:
                sealed = keys.close(row["id"], urls, keys.read(row["id"], row["sealed"]))
            except UNREADABLE:
                raise Conflict(
                    f"The API key of {row['name']} can't be read: give it anew first."
                ) from None
            await connection.execute(RESEAL, row["id"], sealed, now)
        after = await _found(connection, row["id"])
        await _record(connection, caller, "provider.endpoint.created", after, data={"url": url})
        return _endpoint_of(after, endpoint_id)


async def update_endpoint(
    caller: Caller, named: str, endpoint_id: str, changes: EndpointUpdate
) -> EndpointObject:
    """Change how much work an endpoint gets.

    Raises:
        As `add_endpoint`; NotFound also if the provider has no such endpoint.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        row = await _changeable(connection, named)
        old = _endpoint_of(await _found(connection, row["id"]), endpoint_id)
        weight = old.weight if changes.weight is UNSET else provided.weight(changes.weight)
        most = old.max_running
        if changes.max_running is not UNSET:
            most = provided.max_running(changes.max_running)
        enabled = old.enabled if changes.enabled is UNSET else changes.enabled
        await connection.execute(UPDATE_ENDPOINT, old.id, weight, most, enabled)
        after = await _found(connection, row["id"])
        new = _endpoint_of(after, endpoint_id)
        await _record(
            connection,
            caller,
            "provider.endpoint.updated",
            after,
            before=_told_of_endpoint(old),
            changes=_told_of_endpoint(new),
        )
        return new


async def remove_endpoint(caller: Caller, named: str, endpoint_id: str) -> Deleted:
    """Forget an address of a provider. Requests that are under way there end.

    Raises:
        As `update_endpoint`.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        row = await _changeable(connection, named)
        provider = await _found(connection, row["id"])
        gone = _endpoint_of(provider, endpoint_id)
        await connection.execute(DELETE_ENDPOINT, gone.id)
        await _record(
            connection,
            caller,
            "provider.endpoint.deleted",
            provider,
            before=_told_of_endpoint(gone),
        )
    return Deleted(object="provider.endpoint.deleted", id=gone.id)


async def found_row(connection: Any, query: str, named: str) -> Any:
    """Find a provider's row by its id or name. Raises NotFound."""
    row = None if "\0" in named else await connection.fetchrow(query, named)
    if row is None:
        raise NotFound(f"There is no provider `{named}`.")
    return row


async def _changeable(connection: Any, named: str) -> Any:
    row = await found_row(connection, LOCK, named)
    if row["managed_by"] == "settings" or row["kind"] == "runner":
        raise Conflict(
            f"{row['name']} is said in the settings: change `inference_model_url` or `[[models]]`."
        )
    return row


async def _found(connection: Any, named: str) -> ProviderObject:
    row = await found_row(connection, FIND, named)
    return _shown(row, await connection.fetch(ENDPOINTS, [row["id"]]))


def _endpoint_of(provider: ProviderObject, endpoint_id: str) -> EndpointObject:
    for each in provider.endpoints:
        if each.id == endpoint_id:
            return each
    raise NotFound(f"{provider.name} has no endpoint `{endpoint_id}`.")


def _shown(row: Any, endpoints: list[Any]) -> ProviderObject:
    return ProviderObject(
        id=row["id"],
        name=row["name"],
        kind=row["kind"],
        managed_by=row["managed_by"],
        node=row["node"],
        has_api_key=row["sealed"] is not None,
        prefix=row["prefix"],
        models=row["only_models"],
        enabled=row["is_enabled"],
        created_at=seconds(row["created_at"]),
        updated_at=seconds(row["updated_at"]),
        endpoints=[_endpoint(each) for each in endpoints if each["provider_id"] == row["id"]],
    )


def _endpoint(row: Any) -> EndpointObject:
    return EndpointObject(
        id=row["id"],
        url=row["url"],
        node=row["node"],
        weight=row["weight"],
        max_running=row["max_running"],
        enabled=row["is_enabled"],
        is_draining=row["is_draining"],
        state=row["state"],
        since=seconds(row["since"]),
        last_error=row["last_error"],
        models=[each.id for each in msgspec.json.decode(row["served"], type=list[Served])],
        checked_at=optional_seconds(row["checked_at"]),
        latency_ms=row["latency_ms"],
        created_at=seconds(row["created_at"]),
    )


def _told(provider: ProviderObject) -> dict[str, Any]:
    return {
        "name": provider.name,
        "kind": provider.kind,
        "has_api_key": provider.has_api_key,
        "prefix": provider.prefix,
        "models": provider.models,
        "enabled": provider.enabled,
        "urls": [each.url for each in provider.endpoints],
    }


def _told_of_endpoint(endpoint: EndpointObject) -> dict[str, Any]:
    return {
        "url": endpoint.url,
        "weight": endpoint.weight,
        "max_running": endpoint.max_running,
        "enabled": endpoint.enabled,
    }


async def _record(
    connection: Any, caller: Caller, act: str, provider: ProviderObject, **sides: Any
) -> None:
    await audit.record(
        caller,
        act,
        provider.id,
        organization_id=await platform.organization_id(connection),
        **sides,
    )


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a provider `{name}` already.")
