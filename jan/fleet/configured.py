"""The model server that the settings name, as a provider like any other.

It is put into the registry by whoever is the first process of a Jan: `jan serve`, or a `jan
gateway` that nobody else started. Several of them may do so at once.
"""

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
RETRY_S = 0.25
MAX_RETRY_S = 2.0

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('jan provider configured', 0))"
FIND = """
SELECT id, kind, sealed, managed_by,
       ARRAY(SELECT url FROM endpoint WHERE provider_id = provider.id) AS urls
FROM provider WHERE name = $1
"""
IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM provider)"
DELETE = "DELETE FROM provider WHERE name = $1 AND managed_by = 'settings'"
ADD = """
INSERT INTO provider (id, name, kind, managed_by, sealed) VALUES ($1, $2, $3, 'settings', $4)
"""
CHANGE = "UPDATE provider SET kind = $2, sealed = $3, updated_at = $4 WHERE id = $1"
REMOVE_OTHERS = "DELETE FROM endpoint WHERE provider_id = $1 AND url <> $2"
ADD_ENDPOINT = """
INSERT INTO endpoint (id, provider_id, url) VALUES ($1, $2, $3)
ON CONFLICT (provider_id, url) DO NOTHING
"""

TROUBLE = (DatabaseUnavailable, asyncpg.PostgresError, OSError)
"""What passes: before the migrations have run there are no tables, for one."""

log = structlog.get_logger("jan.fleet")


async def write(settings: Settings, keys: ProviderKeys, *, is_alone: bool) -> None:
    """Have the registry say what the settings say. What it says already stays as it is.

    `is_alone`: whoever asks runs no engine, and so the one that `jan runner` starts is meant where
    no other server is named, and none is known.

    Raises:
        DatabaseUnavailable: as `scope.system`.
    """
    url = settings.inference_model_url or (settings.runner_url if is_alone else None)
    kind = "openai" if settings.inference_model_url else "runner"
    secret = settings.inference_model_api_key if kind == "openai" else None
    api_key = secret.get_secret_value() if secret else None
    async with scope.system() as connection:
        await connection.execute(LOCK)
        row = await connection.fetchrow(FIND, NAME)
        if url is None:
            if row is not None:
                await connection.execute(DELETE, NAME)
            return
        if row is not None and row["managed_by"] != "settings":
            log.warning("the settings' model server is not used: an operator's has its name")
            return
        if row is None and kind == "runner" and not await connection.fetchval(IS_EMPTY):
            return  # nobody has named it, and there are others
        provider_id = row["id"] if row is not None else new_provider_id()
        sealed = keys.close(provider_id, [url], api_key) if api_key else None
        if row is None:
            await connection.execute(ADD, provider_id, NAME, kind, sealed)
        elif (row["kind"], _read(keys, provider_id, row["sealed"], url)) != (kind, api_key):
            await connection.execute(CHANGE, provider_id, kind, sealed, clock.now())
        if row is None or row["urls"] != [url]:
            await connection.execute(REMOVE_OTHERS, provider_id, url)
            await connection.execute(ADD_ENDPOINT, new_endpoint_id(), provider_id, url)


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
