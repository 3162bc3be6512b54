"""How much may be done in a time: counted in the database, for all processes together.

Token buckets. Each holds `burst` tokens at most, and gets them back at a steady pace. Taking from
several is one round trip, and from all or from none.
"""

import math
from dataclasses import dataclass

import asyncpg

from jan.db.engine import Database
from jan.errors import DatabaseUnavailable, RateLimited

TIMEOUT_S = 2.0
"""It takes a millisecond, or the row of a bucket is stuck."""

TAKE = "SELECT take_from_buckets($1, $2, $3)"


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


class Buckets:
    """Those in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, *claims: Claim) -> None:
        """Take from these buckets, or from none of them. Of no transaction that may be open.

        Raises:
            RateLimited: one of them has too little; says when there will be enough.
            DatabaseUnavailable: nobody knows.
        """
        for claim in claims:
            if claim.cost > claim.limit.burst:  # waiting would not help
                raise RateLimited(f"The limit is {claim.limit.burst:g} at once.")
        try:
            async with self._database.connection() as connection:
                wait_s = await connection.fetchval(
                    TAKE,
                    [claim.name for claim in claims],
                    [claim.cost / claim.limit.per_s for claim in claims],
                    [claim.limit.burst / claim.limit.per_s for claim in claims],
                    timeout=TIMEOUT_S,
                )
        except (asyncpg.PostgresError, OSError) as error:  # it is read-only, or hangs
            raise DatabaseUnavailable("The database counts no limits at the moment.") from error
        if wait_s > 0:
            raise RateLimited("Too many requests.", retry_after_s=max(math.ceil(wait_s), 1))
