"""Wakes models that were unloaded for want of requests, once somebody asks for them.

Requests only leave a word here; the database is told once for all of them.
"""

import asyncio
from typing import Never

import asyncpg
import structlog

from jan.db import scope
from jan.errors import DatabaseUnavailable

EVERY_S = 1.0
"""Between two words for one deployment, at least."""

WAKE = "UPDATE deployment SET wanted = 'loaded' WHERE id = ANY($1) AND wanted = 'idle'"

TROUBLE = (DatabaseUnavailable, asyncpg.PostgresError, OSError)

log = structlog.get_logger("jan.fleet")


class Waking:
    """Takes the ids of deployments that are asked for."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._news = asyncio.Event()

    def want(self, deployment_id: str) -> None:
        """Have it loaded. Neither blocks nor raises."""
        self._wanted.add(deployment_id)
        self._news.set()

    async def run(self) -> Never:
        """Pass it on, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            wanted, self._wanted = self._wanted, set()
            try:
                async with scope.system() as connection:
                    await connection.execute(WAKE, list(wanted))
            except TROUBLE as error:  # who waits asks again, or gives up
                log.warning("models can't be woken", reason=str(error) or repr(error))
            await asyncio.sleep(EVERY_S)
