"""The read replicas: how far behind each of them is, which is read next, and from where on.

A replica answers from what it has replayed of the primary's log. Who reads from it must not miss
what anybody was told is done, in whichever process: a client may write here and read there. So the
primary is asked first how far its log has come (`LSN`), and the replica must have replayed that
much. Asking costs some hundred microseconds, and readers that come together share it. What each
process remembers of its own callers' writes would be wrong for those of others, a word from process
to process can be late, and a token that clients hand on is one that most of them would not.

Reports may lag: they are read from any replica that is not too far behind, and nobody is asked.

How far behind each is, is looked at all the time, and never while somebody waits: by what the
primary's log was when, and which of those times a replica has come to. Only our own clock counts.
While the primary is away, what it last said is the measure: nothing is written meanwhile.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Never

import anyio
import asyncpg

from jan import clock
from jan.db.replica import LOOK_TIMEOUT_S, Replica
from jan.db.trouble import TROUBLE, explained
from jan.errors import JanError

LOOK_EVERY_S = 1.0
LOOK_JITTER = 0.2
"""How much sooner or later each look is, so that processes do not look in step."""
MAX_SAMPLES = 800
"""Ten minutes of them at least, and so many may `database_read_max_lag_s` be."""

# Nobody is told that something is done before it is flushed, unless the server is set so.
LSN = """
SELECT pg_wal_lsn_diff(
    CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn()
    ELSE pg_current_wal_flush_lsn() END, '0/0')::bigint
"""


class Replicas:
    """Those of one primary. `run` looks after them."""

    def __init__(self, primary: asyncpg.Pool, every: Sequence[Replica], max_lag_s: float) -> None:
        """Take a pool to the primary for these questions alone: no reader keeps them waiting."""
        self.every = tuple(every)
        self.come_to = _Shared(self._ask)
        """Asks the primary how far its log has come. Raises DatabaseUnavailable."""
        self._primary = primary
        self._max_lag_s = max_lag_s
        self._samples: deque[tuple[float, int]] = deque(maxlen=MAX_SAMPLES)
        """When the primary was asked, and how far its log had come."""

    @property
    def pools(self) -> Iterator[asyncpg.Pool]:
        """Tell what has to be opened and closed for them."""
        if self.every:
            yield self._primary
        for replica in self.every:
            yield replica.pool
            yield replica.watch

    async def run(self) -> Never:
        """Look after them, for ever."""
        while True:
            if self.every:
                await self.look()
            await anyio.sleep(LOOK_EVERY_S * random.uniform(1 - LOOK_JITTER, 1 + LOOK_JITTER))  # noqa: S311 - no secret

    async def look(self) -> None:
        """See how each of them is."""
        with suppress(JanError):
            asked_s, lsn = clock.monotonic_s(), await self._ask()
            if self._samples and lsn < self._samples[-1][1]:  # another server, or an older backup
                self._samples.clear()
            self._samples.append((asked_s, lsn))
        await asyncio.gather(*map(self._look_at, self.every))

    def in_turn(self, *, may_lag: bool) -> Iterator[Replica]:
        """Tell which can be read, and first the one whose turn it is, as their weights say."""
        fit = [each for each in self.every if each.trouble is None]
        if not may_lag:
            fit = [each for each in fit if not each.is_behind]
        for each in fit:
            each.credit += each.weight
        fit.sort(key=lambda each: each.credit, reverse=True)
        if fit:
            fit[0].credit -= sum(each.weight for each in fit)
        yield from fit

    async def _look_at(self, replica: Replica) -> None:
        lsn = await replica.look()
        if lsn is None:
            return
        newest = self._samples[-1][1] if self._samples else lsn
        replica.lag_bytes = max(newest - lsn, 0)
        replica.lag_s = self._lag_s(lsn)
        is_behind = replica.lag_s > self._max_lag_s
        replica.turn(_behind(replica.lag_s, replica.lag_bytes) if is_behind else None)

    def _lag_s(self, replayed: int) -> float:
        """Tell how long before our last look at the primary it was where the replica is now."""
        if not self._samples:
            return math.inf
        newest_s, _ = self._samples[-1]
        for asked_s, lsn in reversed(self._samples):
            if lsn <= replayed:
                return newest_s - asked_s
        return math.inf

    async def _ask(self) -> int:
        with explained(TROUBLE), anyio.fail_after(LOOK_TIMEOUT_S):
            return await self._primary.fetchval(LSN)


class _Shared:
    """A question that those who come while it waits for its turn ask together."""

    def __init__(self, ask: Callable[[], Awaitable[int]]) -> None:
        self._ask = ask
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[int] | None = None

    async def __call__(self) -> int:
        """Get an answer to a question that was asked after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._in_turn())
            # Those who asked may have left by then: nobody has to be told that it failed.
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._next)

    async def _in_turn(self) -> int:
        async with self._lock:
            self._next = None  # from now on it is too late to share it
            return await self._ask()


def _behind(lag_s: float, lag_bytes: int) -> str:
    how_long = "since before anybody looked" if math.isinf(lag_s) else f"{lag_s:.1f} s"
    return f"it is behind, {how_long} and {lag_bytes} bytes"
