"""What the database says of the fleet, kept in memory: read whole, whenever any of it changes.

A registry is small and changes seldom, and so nothing is put together from pieces. While the
database is away, what was read last stands.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Never

import anyio
import asyncpg
import msgspec
import structlog

from jan.db import scope
from jan.db.listen import listen
from jan.errors import DatabaseUnavailable
from jan.fleet.credentials import ProviderKeys
from jan.inference.registry import Described, Endpoint, Registry, Served, Sleeping
from jan.seal import Broken

CHANNEL = "jan_fleet"
DEBOUNCE_S = 0.02
"""What changes together is read once."""
RELOAD_S = 30.0
"""Though nothing was notified: TRUNCATE and restored backups say nothing."""
RETRY_S = 0.25
MAX_RETRY_S = 0.5
"""Short: until it is read for the first time, nothing is served."""
READ_TIMEOUT_S = 5.0

ENDPOINTS = """
SELECT e.id, e.url, e.provider_id, p.name AS provider, p.kind, p.sealed, p.prefix, p.only_models,
       e.weight, e.max_running, e.is_draining, e.node IS NULL AS is_shared, e.state, e.since,
       e.last_error, e.served
FROM endpoint AS e JOIN provider AS p ON p.id = e.provider_id
WHERE e.is_enabled AND p.is_enabled AND (e.node IS NULL OR e.node = $1)
ORDER BY e.created_at, e.id
"""
MODELS = """
SELECT id, owned_by, capabilities, context_length, fallbacks, is_enabled, prompt_price,
       cached_price, completion_price
FROM model
"""
ALIASES = "SELECT alias, model_id FROM model_alias"
SLEEPING = """
SELECT id, model FROM deployment
WHERE node = $1 AND (status = 'idle'
                     OR (wanted = 'loaded' AND status IN ('pending', 'loading', 'replacing')
                         AND (idle_unload_s IS NOT NULL OR replace = 'recreate')))
ORDER BY id
"""
"""Models that answer nobody now, and for which it is worth to wait: they wake up, or their engine
is replaced by another. At the start, too: what may rest is expected to be waited for."""

TROUBLE = (DatabaseUnavailable, asyncpg.PostgresError, OSError)  # TimeoutError too
"""What passes: before the migrations have run there are no tables, for one."""
UNREADABLE = (Broken, msgspec.MsgspecError, ValueError)

log = structlog.get_logger("jan.fleet")


class Feed:
    """Reads the registry again and again. `run` hands it on, whenever it is another one."""

    def __init__(
        self, dsn: str, node: str, keys: ProviderKeys, apply: Callable[[Registry], None]
    ) -> None:
        """Take a direct address of the database, to listen at; it is read through the open one."""
        self._dsn = dsn
        self._node = node
        self._keys = keys
        self._apply = apply
        self._changed = asyncio.Event()
        self._known: Registry | None = None
        self._endpoints: dict[str, tuple[tuple[Any, ...], Endpoint]] = {}
        """As they were read last, and from what."""
        self._unreadable: set[str] = set()

    async def run(self) -> Never:
        """Read, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(listen(self._dsn, CHANNEL, self._on_change, self._on_state))
            retry_s = RETRY_S
            while True:
                self._changed.clear()
                try:
                    await self.read()
                except TROUBLE as error:
                    # Once, not at every try; at the start there may be no database yet.
                    if retry_s == RETRY_S and self._known is not None:
                        log.warning("the fleet can't be read", reason=str(error) or repr(error))
                    await anyio.sleep(retry_s)
                    retry_s = min(retry_s * 2, MAX_RETRY_S)
                    continue
                retry_s = RETRY_S
                with anyio.move_on_after(RELOAD_S):
                    await self._changed.wait()
                    await anyio.sleep(DEBOUNCE_S)

    async def read(self) -> None:
        """Read it once, and hand it on if it is another one.

        Raises:
            DatabaseUnavailable, asyncpg.PostgresError, OSError: it can't be read now.
        """
        async with asyncio.timeout(READ_TIMEOUT_S), scope.system() as connection:
            endpoints = await connection.fetch(ENDPOINTS, self._node)
            models = await connection.fetch(MODELS)
            aliases = await connection.fetch(ALIASES)
            sleeping = await connection.fetch(SLEEPING, self._node)
        registry = Registry(
            endpoints=self._read_all(endpoints),
            models={row["id"]: _described(row) for row in models},
            aliases={row["alias"]: row["model_id"] for row in aliases},
            sleeping=[Sleeping(row["model"], row["id"], Served(row["model"])) for row in sleeping],
        )
        if registry != self._known:
            self._known = registry
            self._apply(registry)

    def _read_all(self, rows: list[Any]) -> list[Endpoint]:
        """Read the rows that can be read. Those that did not change are not read again."""
        before, self._endpoints = self._endpoints, {}
        unreadable, self._unreadable = self._unreadable, set()
        for row in rows:
            values, endpoint_id = tuple(row), row["id"]
            known = before.get(endpoint_id)
            if known is not None and known[0] == values:
                self._endpoints[endpoint_id] = known
                continue
            try:
                self._endpoints[endpoint_id] = values, self._endpoint(row)
            except UNREADABLE as error:
                self._unreadable.add(endpoint_id)
                if endpoint_id in unreadable:
                    continue
                reason = "its API key can't be read" if isinstance(error, Broken) else str(error)
                log.warning(
                    "an endpoint is left out",
                    endpoint=endpoint_id,
                    provider=row["provider"],
                    reason=reason,
                )
        return [endpoint for _, endpoint in self._endpoints.values()]

    def _endpoint(self, row: Mapping[str, Any]) -> Endpoint:
        sealed, only_models = row["sealed"], row["only_models"]
        return Endpoint(
            id=row["id"],
            url=row["url"],
            provider_id=row["provider_id"],
            provider=row["provider"],
            kind=row["kind"],
            api_key=sealed and self._keys.read_for(row["provider_id"], sealed, row["url"]),
            prefix=row["prefix"],
            only_models=None if only_models is None else tuple(only_models),
            weight=row["weight"],
            max_running=row["max_running"],
            is_draining=row["is_draining"],
            is_shared=row["is_shared"],
            state=row["state"],
            since=row["since"],
            last_error=row["last_error"],
            served=msgspec.json.decode(row["served"], type=tuple[Served, ...]),
        )

    def _on_change(self, _: str) -> None:
        self._changed.set()

    def _on_state(self, hears: bool) -> None:
        if hears:  # what changed meanwhile was not told
            self._changed.set()


def _described(row: Mapping[str, Any]) -> Described:
    able = row["capabilities"]
    return Described(
        owned_by=row["owned_by"],
        capabilities=None if able is None else tuple(able),
        context_length=row["context_length"],
        fallbacks=tuple(row["fallbacks"]),
        is_enabled=row["is_enabled"],
        prompt_price=row["prompt_price"],
        cached_price=row["cached_price"],
        completion_price=row["completion_price"],
    )
