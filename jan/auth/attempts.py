"""How often something may be tried: counted in the database, for all processes together.

What is counted is tries, before they are made, so that many at once are no more than one after
another. A good one is given back: it neither uses up a limit, nor opens it again for others. A try
that is refused counts nowhere, or whoever is over one limit could use up somebody else's.
"""

import hashlib
import ipaddress
import math
from dataclasses import dataclass

from jan.db import scope
from jan.errors import RateLimited
from jan.trust import as_address

IPV6_PREFIX = 64
"""What one subscriber has at least: they choose the rest of the address at will (RFC 6177)."""

# In the order of their names, so that two that share subjects never wait for one another.
TAKE = """
INSERT INTO attempt AS a (subject, tries, ends_at)
SELECT subject, 1, now() + window_s * interval '1 second'
FROM unnest($1::text[], $2::integer[]) AS wanted (subject, window_s) ORDER BY subject
ON CONFLICT (subject) DO UPDATE SET
    tries = CASE WHEN a.ends_at <= now() THEN 1 ELSE a.tries + 1 END,
    ends_at = CASE WHEN a.ends_at <= now() THEN excluded.ends_at ELSE a.ends_at END
RETURNING subject, tries, extract(epoch FROM ends_at - now())::float AS left_s
"""
GIVE_BACK = """
UPDATE attempt SET tries = tries - 1
WHERE subject IN (
    SELECT subject FROM attempt WHERE subject = ANY($1) AND tries > 0 ORDER BY subject FOR UPDATE
)
"""
FORGET = "DELETE FROM attempt WHERE subject = ANY($1)"


@dataclass(frozen=True, slots=True)
class Limit:
    """So many tries within a window of time, which begins with the first."""

    name: str
    most: int
    window_s: int

    def of(self, *subjects: str) -> "Try":
        """Name one who tries, or what is tried, or both."""
        # A digest: what people type may be of any length, and is none of the database's business.
        digest = hashlib.sha256("\0".join(subjects).encode("utf-8", "surrogatepass"))
        return Try(f"{self.name} {digest.hexdigest()}", self)


@dataclass(frozen=True, slots=True)
class Try:
    """One subject of one limit."""

    subject: str
    limit: Limit


async def take(*tries: Try) -> None:
    """Count a try against each of these limits, or against none. Committed when it returns.

    Raises:
        RateLimited: one of them is reached; says when the window ends.
    """
    limits = {each.subject: each.limit for each in tries}
    async with scope.system() as connection:
        rows = await connection.fetch(
            TAKE, list(limits), [limit.window_s for limit in limits.values()]
        )
        left_s = [row["left_s"] for row in rows if row["tries"] > limits[row["subject"]].most]
        if left_s:  # raised within, so that nothing is counted
            raise RateLimited("Too many tries.", retry_after_s=max(math.ceil(max(left_s)), 1))


async def give_back(*tries: Try) -> None:
    """Take back what `take` counted, as part of the transaction that is open."""
    async with scope.system() as connection:
        await connection.execute(GIVE_BACK, [each.subject for each in tries])


async def forget(*tries: Try) -> None:
    """Count anew, as part of the transaction that is open."""
    async with scope.system() as connection:
        await connection.execute(FORGET, [each.subject for each in tries])


def network(address: str) -> str:
    """What counts as one client: an IPv4 address, or the network that an IPv6 address is in."""
    known = as_address(address)
    if isinstance(known, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((known, IPV6_PREFIX), strict=False))
    return address if known is None else str(known)
