"""How much may be done in a time: counted for all processes together.

Token buckets. Each holds `burst` tokens at most, and gets them back at a steady pace. Taking from
several is one round trip, and from all or from none.

They are in Valkey where there is one, and in the database otherwise, and while it is away. Neither
is told what the other counted: whoever changes over begins with what that one knows. So a project
may get twice what its limit says while it happens, and nobody is refused for it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from jan.db.engine import Database
from jan.errors import DatabaseUnavailable, RateLimited
from jan.valkey.memory import Away, Memory
from jan.valkey.script import Script

TIMEOUT_S = 2.0
"""It takes a millisecond, or the row of a bucket is stuck."""

TAKE = "SELECT take_from_buckets($1, $2, $3)"
TAKE_FROM_VALKEY = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_at, wait = {}, 0
for number, key in ipairs(KEYS) do
    local cost, depth = tonumber(ARGV[2 * number - 1]), tonumber(ARGV[2 * number])
    local kept = redis.pcall('GET', key)
    if type(kept) ~= 'string' or not string.find(kept, '^%d+$') then
        kept = 0
    end
    -- No bucket is emptier than empty, even if the clock went back (a replica took over).
    full_at[number] = math.min(math.max(tonumber(kept), now), now + depth) + cost
    wait = math.max(wait, full_at[number] - now - depth)
end
if wait < 1 then
    wait = 0
    for number, key in ipairs(KEYS) do
        local lifetime = math.ceil((full_at[number] - now) / 1000)
        redis.call('SET', key, string.format('%.0f', full_at[number]), 'PX', math.max(lifetime, 1))
    end
end
return string.format('%.0f', wait)
""")
"""The same there, in microseconds by the server's clock. What is no time is a full bucket."""

SLOT = "{limits}"
"""All buckets are in one slot of a cluster, so that a program may take from several."""

US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """So much at once, and so much in the long run."""

    name: str
    burst: float
    """Tokens that a full bucket holds."""
    per_s: float
    """Tokens that come back each second."""

    def of(self, subject: str, cost: float = 1) -> "Claim":
        """Want so many tokens of somebody's own bucket."""
        return Claim(f"{self.name} {subject}", self, cost)


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be taken from one bucket."""

    name: str
    limit: Limit
    cost: float

    @property
    def spans_s(self) -> tuple[float, float]:
        """How long what is taken needs to come back, and an empty bucket to be full."""
        return self.cost / self.limit.per_s, self.limit.burst / self.limit.per_s


class Buckets:
    """Those of this Jan."""

    def __init__(self, database: Database, memory: Memory | None = None) -> None:
        self._database = database
        self._memory = memory

    async def take(self, *claims: Claim) -> None:
        """Take from these buckets, or from none of them. Of no transaction that may be open.

        Raises:
            RateLimited: one of them has too little; says when there will be enough.
            DatabaseUnavailable: nobody knows.
        """
        for claim in claims:
            if claim.cost > claim.limit.burst:  # waiting would not help
                raise RateLimited(f"The limit is {claim.limit.burst:g} at once.")
        wait_s = await self._from_memory(claims)
        if wait_s is None:
            wait_s = await self._from_database(claims)
        if wait_s > 0:
            raise RateLimited("Too many requests.", retry_after_s=max(math.ceil(wait_s), 1))

    async def _from_memory(self, claims: Sequence[Claim]) -> float | None:
        if self._memory is None:
            return None
        names = [f"{SLOT} {claim.name}" for claim in claims]
        spans_us = [round(span_s * US_PER_S) for claim in claims for span_s in claim.spans_s]
        try:
            return int(await self._memory.run_script(TAKE_FROM_VALKEY, names, spans_us)) / US_PER_S
        except Away:
            return None

    async def _from_database(self, claims: Sequence[Claim]) -> float:
        names = [claim.name for claim in claims]
        costs_s, depths_s = zip(*(claim.spans_s for claim in claims), strict=True)
        try:
            async with self._database.connection() as connection:
                return await connection.fetchval(TAKE, names, costs_s, depths_s, timeout=TIMEOUT_S)
        except (asyncpg.PostgresError, OSError) as error:  # it is read-only, or hangs
            raise DatabaseUnavailable("The database counts no limits at the moment.") from error
