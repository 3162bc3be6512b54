"""Processes of a Jan as far as they know model servers: each reads one database, and looks."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from jan.fleet.credentials import ProviderKeys
from jan.fleet.feed import Feed
from jan.fleet.leader import Leader
from jan.inference.checks import Checks
from jan.inference.fleet import Fleet
from jan.inference.registry import Endpoint
from tests.conftest import execute

KEYS = ProviderKeys("s" * 32)
NODE = "box:/srv/jan"
INTERVAL_S = 0.2


@dataclass
class Process:
    """One of several processes."""

    fleet: Fleet
    leader: Leader
    checks: Checks
    feed: Feed

    def state(self, endpoint_id: str = "ep_1") -> str | None:
        """Tell how an endpoint is in its eyes. None: it knows none."""
        known = self.fleet.instances.get(endpoint_id)
        return known.condition.state if known else None

    @property
    def leads(self) -> bool:
        """Whether it leads for all."""
        return self.leader.leads(Endpoint(id="any", url=""))


@asynccontextmanager
async def process(
    dsn: str, *, node: str = NODE, interval_s: float = INTERVAL_S, timeout_s: float = 1
) -> AsyncGenerator[Process]:
    """Run one. The database that is open is the one that it reads."""
    fleet, leader = Fleet(connect_timeout_s=timeout_s), Leader(dsn, node)
    checks = Checks(
        fleet, leader, interval_s=interval_s, timeout_s=timeout_s, connect_timeout_s=timeout_s
    )
    fleet.doubted = checks.doubt
    feed = Feed(dsn, node, KEYS, checks.apply)
    running = [asyncio.create_task(part.run()) for part in (leader, checks, feed)]
    try:
        yield Process(fleet, leader, checks, feed)
    finally:
        for task in running:
            task.cancel()
        ended = await asyncio.gather(*running, return_exceptions=True)
        for end in ended:
            assert isinstance(end, asyncio.CancelledError), end


async def add_provider(provider_id: str = "prov_1", name: str = "acme", **more: Any) -> str:
    """Write a provider down."""
    columns = {"id": provider_id, "name": name, "kind": "openai"} | more
    await execute(_insert("provider", columns), *columns.values())
    return provider_id


async def add_endpoint(
    url: str, endpoint_id: str = "ep_1", provider_id: str = "prov_1", **more: Any
) -> str:
    """Write an endpoint down."""
    columns = {"id": endpoint_id, "provider_id": provider_id, "url": url} | more
    await execute(_insert("endpoint", columns), *columns.values())
    return endpoint_id


def _insert(table: str, columns: dict[str, Any]) -> str:
    places = ", ".join(f"${number}" for number, _ in enumerate(columns, 1))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
