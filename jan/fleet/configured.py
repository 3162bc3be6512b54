"""The model servers that the settings name, as providers like any other.

They are put into the registry by whoever is the first process of a Jan: `jan serve`, or a `jan
gateway` that nobody else started. Several of them may do so at once.
"""

from dataclasses import dataclass
from typing import Any

import anyio
import asyncpg
import msgspec
import structlog

from jan import clock
from jan.db import scope
from jan.errors import DatabaseUnavailable
from jan.fleet.credentials import ProviderKeys
from jan.fleet.tables import new_endpoint_id, new_provider_id
from jan.seal import Broken
from jan.settings import Settings

NAME = "configured"
"""Of the one that `inference_model_url` names, or that `jan runner` starts."""
RETRY_S = 0.25
MAX_RETRY_S = 2.0

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('jan provider configured', 0))"
FIND = """
SELECT id, kind, sealed, prefix, only_models, managed_by = 'settings' AND node IS NULL AS is_ours,
       ARRAY(SELECT url FROM endpoint WHERE provider_id = provider.id) AS urls
FROM provider WHERE name = $1
"""
IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM provider)"
DELETE_OTHERS = """
DELETE FROM provider WHERE managed_by = 'settings' AND node IS NULL AND name <> ALL($1)
"""
ADD = """
INSERT INTO provider (id, name, kind, managed_by, sealed, prefix, only_models)
VALUES ($1, $2, $3, 'settings', $4, $5, $6)
"""
CHANGE = """
UPDATE provider SET kind = $2, sealed = $3, prefix = $4, only_models = $5, updated_at = $6
WHERE id = $1
"""
REMOVE_OTHERS = "DELETE FROM endpoint WHERE provider_id = $1 AND url <> ALL($2)"
PUT_ENDPOINT = """
INSERT INTO endpoint AS e (id, provider_id, url, max_running) VALUES ($1, $2, $3, $4)
ON CONFLICT (provider_id, url) DO UPDATE SET max_running = $4
WHERE e.max_running IS DISTINCT FROM $4
"""

TROUBLE = (DatabaseUnavailable, asyncpg.PostgresError, OSError)
"""What passes: before the migrations have run there are no tables, for one."""

log = structlog.get_logger("jan.fleet")


@dataclass(frozen=True)
class _Said:
    """A provider, as the settings mean it."""

    name: str
    urls: list[str]
    kind: str
    api_key: str | None = None
    prefix: str = ""
    models: list[str] | None = None
    max_running: int | None = None
    is_supposed: bool = False
    """Whether nobody named it."""


async def write(settings: Settings, keys: ProviderKeys, *, is_alone: bool) -> None:
    """Have the registry say what the settings say. What it says already stays as it is.

    `is_alone`: whoever asks runs no engine, and so the one that `jan runner` starts is meant where
    no other server is named, and none is known.

    Raises:
        DatabaseUnavailable: as `scope.system`.
    """
    said = _said(settings, is_alone=is_alone)
    async with scope.system() as connection:
        await connection.execute(LOCK)
        await connection.execute(DELETE_OTHERS, [each.name for each in said])
        for each in said:
            await _put(connection, each, keys)


def _said(settings: Settings, *, is_alone: bool) -> list[_Said]:
    said = [
        _Said(
            name=each.name,
            urls=list(dict.fromkeys(each.urls)),
            kind=each.kind,
            api_key=each.read_key(),
            prefix=each.prefix,
            models=None if each.models is None else list(each.models),
            max_running=each.max_running,
        )
        for each in settings.providers
    ]
    if settings.inference_model_url is not None:
        secret = settings.inference_model_api_key
        api_key = secret.get_secret_value() if secret else None
        said.append(_Said(NAME, [settings.inference_model_url], "openai", api_key))
    elif is_alone and not said:
        said.append(_Said(NAME, [settings.runner_url], "runner", is_supposed=True))
    return said


async def _put(connection: Any, said: _Said, keys: ProviderKeys) -> None:
    row = await connection.fetchrow(FIND, said.name)
    if row is None:
        if said.is_supposed and not await connection.fetchval(IS_EMPTY):
            return  # nobody has named it, and there are others
        provider_id = new_provider_id()
        sealed = _sealed(keys, provider_id, said)
        values = (said.name, said.kind, sealed, said.prefix, said.models)
        await connection.execute(ADD, provider_id, *values)
    elif not row["is_ours"]:
        log.warning("the settings' model server is not used: an operator's has its name")
        return
    else:
        provider_id = row["id"]
        if not _is_as_said(row, said, keys):
            sealed = _sealed(keys, provider_id, said)
            values = (said.kind, sealed, said.prefix, said.models, clock.now())
            await connection.execute(CHANGE, provider_id, *values)
    if row is not None and set(row["urls"]) - set(said.urls):
        await connection.execute(REMOVE_OTHERS, provider_id, said.urls)
    for url in said.urls:
        values = (new_endpoint_id(), provider_id, url, said.max_running)
        await connection.execute(PUT_ENDPOINT, *values)


def _sealed(keys: ProviderKeys, provider_id: str, said: _Said) -> str | None:
    return keys.close(provider_id, said.urls, said.api_key) if said.api_key else None


def _is_as_said(row: Any, said: _Said, keys: ProviderKeys) -> bool:
    there = (row["kind"], row["prefix"], row["only_models"])
    if there != (said.kind, said.prefix, said.models):
        return False
    return all(_read(keys, row["id"], row["sealed"], url) == said.api_key for url in said.urls)


async def keep_trying(settings: Settings, keys: ProviderKeys) -> None:
    """Write it for a process alone, as soon as there is a database that can take it."""
    retry_s = RETRY_S
    while True:
        try:
            await write(settings, keys, is_alone=True)
        except TROUBLE:  # told by others
            await anyio.sleep(retry_s)
            retry_s = min(retry_s * 2, MAX_RETRY_S)
        else:
            return


def _read(keys: ProviderKeys, provider_id: str, sealed: str | None, url: str) -> str | None:
    """Read a key that lies there. Broken ones are no key of ours."""
    if sealed is None:
        return None
    try:
        return keys.read_for(provider_id, sealed, url)
    except (Broken, msgspec.MsgspecError):
        return ""
