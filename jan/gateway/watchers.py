"""What keeps true what a process knows of the fleet: the registry, who leads, and the looks."""

import asyncio
from dataclasses import dataclass
from typing import Self

from jan.db.engine import Database
from jan.fleet import node
from jan.fleet.credentials import ProviderKeys
from jan.fleet.feed import Feed
from jan.fleet.leader import Leader
from jan.fleet.waking import Waking
from jan.inference.checks import Checks
from jan.inference.fleet import Fleet
from jan.keyring import Keyring
from jan.settings import Settings


@dataclass(frozen=True, slots=True)
class Watchers:
    """They last as long as the process."""

    feed: Feed
    leader: Leader
    checks: Checks
    waking: Waking

    @classmethod
    def configured(
        cls, settings: Settings, secrets: Keyring, database: Database, fleet: Fleet
    ) -> Self:
        """Put them together, and have the fleet tell them. Nothing is read or looked at yet."""
        here = node.name(settings.home)
        leader = Leader(database.dsn, here)
        checks = Checks(
            fleet,
            leader,
            interval_s=settings.health_interval_s,
            timeout_s=settings.health_timeout_s,
            connect_timeout_s=settings.connect_timeout_s,
        )
        keys = ProviderKeys(secrets.api_key_secret)
        waking = Waking()
        fleet.doubted, fleet.wanted = checks.doubt, waking.want
        feed = Feed(database.dsn, here, keys, checks.apply)
        return cls(feed, leader, checks, waking)

    async def run(self) -> None:
        """Read and look, for ever."""
        async with asyncio.TaskGroup() as group:
            for part in (self.feed, self.leader, self.checks, self.waking):
                group.create_task(part.run())
