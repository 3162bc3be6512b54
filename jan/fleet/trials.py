"""Trying a provider out: each of its endpoints is asked for its models, and nothing is kept."""

import asyncio
from typing import Any

import msgspec

from jan import clock
from jan.caller import Caller
from jan.db import scope
from jan.fleet import providers
from jan.fleet.credentials import ProviderKeys
from jan.fleet.provided import Check, Looked
from jan.inference.client import Client
from jan.inference.look import Busy, Unwell, look
from jan.inference.registry import Endpoint, Served
from jan.permissions import Scope
from jan.seal import Broken

CHECK_TIMEOUT_S = 10.0
UNREADABLE = (Broken, msgspec.MsgspecError)


async def check(caller: Caller, named: str, *, keys: ProviderKeys) -> Check:
    """Ask each endpoint for its models now. Nothing is written down.

    Raises:
        Forbidden, NotFound: as `get`.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        row = await providers.found_row(connection, providers.FIND, named)
        endpoints = await connection.fetch(providers.ENDPOINTS, [row["id"]])
    looked = await asyncio.gather(*(_look(row, each, keys) for each in endpoints))
    return Check(provider_id=row["id"], data=looked)


async def _look(provider: Any, row: Any, keys: ProviderKeys) -> Looked:
    started_s, served, error = clock.monotonic_s(), tuple[Served, ...](), None
    sealed = provider["sealed"]
    try:
        only = provider["only_models"]
        endpoint = Endpoint(
            id=row["id"],
            url=row["url"],
            provider=provider["name"],
            kind=provider["kind"],
            api_key=sealed and keys.read_for(provider["id"], sealed, row["url"]),
            only_models=None if only is None else tuple(only),
        )
        client = Client(row["url"], connect_timeout_s=CHECK_TIMEOUT_S)
        try:
            served = await look(client, endpoint, timeout_s=CHECK_TIMEOUT_S)
        finally:
            client.close()
    except UNREADABLE:
        error = "its API key can't be read: give it anew"
    except Unwell as reason:
        error = reason.words
    except Busy:
        error = "it is busy (status 429)"
    return Looked(
        endpoint_id=row["id"],
        url=row["url"],
        ok=error is None,
        error=error,
        models=[each.id for each in served],
        latency_ms=round((clock.monotonic_s() - started_s) * 1000, 1),
    )
