"""What this process makes: nobody else does while its lease is renewed.

Whoever makes a response says so every few seconds, for all that it makes in one statement. A
process that can't say so in time stops making them, before others may take them over. Clocks of
machines are not compared: the end of a lease is the database's word, the time until then our own.

That a lease is held is no proof: a process may have slept through its end. Every write of whoever
makes a response names its attempt too, and an older attempt writes nothing (see `jan.responses.log`
and `jan.responses.store`).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Never

import anyio
import asyncpg
import structlog

from jan import clock
from jan.db import scope
from jan.errors import DatabaseUnavailable, Unavailable
from jan.responses import store
from jan.responses.news import News, Word

LEASE_S = store.LEASE.total_seconds()
RENEW_EVERY_S = 5.0
RETRY_S = 1.0
"""After a failure to renew."""
RENEW_TIMEOUT_S = 4.0
MARGIN_S = 8.0
"""How long before its end a lease counts as lost here. More than a failing renewal takes."""

# In the order of their ids, as others who lock several.
RENEW = """
WITH held AS (
    SELECT r.id FROM response AS r
    JOIN unnest($1::text[], $2::integer[]) AS h (id, attempt) USING (id, attempt)
    WHERE r.status = 'in_progress' ORDER BY r.id FOR NO KEY UPDATE OF r
)
UPDATE response AS r SET lease_expires_at = now() + make_interval(secs => $3)
FROM held WHERE r.id = held.id
RETURNING r.id
"""

TROUBLE = (DatabaseUnavailable, asyncpg.PostgresError, OSError)  # TimeoutError too

log = structlog.get_logger("jan.responses")


class LeaseLost(Unavailable):
    """The response is no longer ours to make: it has ended, or others make it, or may by now."""


@dataclass(eq=False, slots=True)
class Lease:
    """The right to make a response."""

    response_id: str
    attempt: int
    on_lost: Callable[[], None]
    ends_s: float
    """When it counts as lost, on our clock."""
    is_lost: bool = False
    is_released: bool = False

    def release(self) -> None:
        """From now on it can't be lost: the end, which is about to be written, is no loss."""
        self.is_released = True

    def lose(self) -> None:
        """Stop what is done under it."""
        if not (self.is_lost or self.is_released):
            self.is_lost = True
            self.on_lost()


class Leases:
    """Leases of this process. `run` renews them; without it they are never lost either."""

    def __init__(self, news: News | None = None, *, lease_s: float = LEASE_S) -> None:
        self.lease_s = lease_s
        """For the statement that begins a response."""
        self._news = news or News()
        self._held: dict[Lease, None] = {}
        self._doubts = asyncio.Event()

    @contextmanager
    def renewing(
        self, response_id: str, attempt: int, on_lost: Callable[[], None]
    ) -> Generator[Lease]:
        """Renew, during the block, a lease that was taken a moment ago. `on_lost` is told its loss.

        Afterwards nothing may be written for the response any more, and nothing would be. Release
        the lease before the response's end is written.
        """
        lease = Lease(response_id, attempt, on_lost, self._end_s(clock.monotonic_s()))

        def hear(word: Word) -> None:
            if word == "end" and not lease.is_released:
                self._doubts.set()

        self._held[lease] = None
        try:
            with self._news.hearing(response_id, hear):
                yield lease
        finally:
            del self._held[lease]

    @asynccontextmanager
    async def hold(self, response_id: str, attempt: int) -> AsyncGenerator[Lease]:
        """Do the same, and cancel the block if the lease is lost.

        Raises:
            LeaseLost: it was.
        """
        making = anyio.CancelScope()
        with self.renewing(response_id, attempt, making.cancel) as lease, making:
            yield lease
        if lease.is_lost:
            raise LeaseLost("The response was ended, or taken over, by somebody else.")

    async def run(self) -> Never:
        """Renew what is held, for ever."""
        while True:
            self._doubts.clear()
            wait_s = self.lease_s * RENEW_EVERY_S / LEASE_S
            if self._held and not await self._renew():
                wait_s = min(RETRY_S, wait_s)
            self._give_up()
            with anyio.move_on_after(wait_s):
                await self._doubts.wait()

    async def _renew(self) -> bool:
        """Renew them. Those that are ours no more are lost. Returns whether there was an answer."""
        held, asked_s = list(self._held), clock.monotonic_s()
        ids, attempts = [one.response_id for one in held], [one.attempt for one in held]
        try:
            with anyio.fail_after(RENEW_TIMEOUT_S):
                async with scope.system() as connection:
                    rows = await connection.fetch(RENEW, ids, attempts, self.lease_s)
        except TROUBLE as error:
            log.warning("leases are not renewed", held=len(held), reason=str(error) or repr(error))
            return False
        ours = {row["id"] for row in rows}
        for lease in held:
            if lease.response_id in ours:
                lease.ends_s = self._end_s(asked_s)
            elif lease in self._held:  # else its maker is through with it
                lease.lose()
        return True

    def _give_up(self) -> None:
        """Lose what others may take over soon."""
        now_s = clock.monotonic_s()
        for lease in self._held:
            if lease.ends_s <= now_s and not (lease.is_lost or lease.is_released):
                log.error("lease lost: the database was away too long", id=lease.response_id)
                lease.lose()

    def _end_s(self, asked_s: float) -> float:
        return asked_s + self.lease_s * (1 - MARGIN_S / LEASE_S)
