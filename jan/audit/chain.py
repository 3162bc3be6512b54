"""The chain of hashes, computed anew: whether a log is as it was written, and where it is not.

Each row has the hash of the one before it, and a hash over itself. PostgreSQL computes them when a
row is written (the migration of `audit_log`); what is here knows nothing of a database, so that it
also judges rows that came over a network or out of a file.
"""

import hashlib
import re

import msgspec

from jan.audit.schemas import OUTSIDE, Break, Verdict
from jan.errors import InvalidRequest

GENESIS = "0" * 64
"""What stands for the hash before the first row."""

_HASH = re.compile(r"[0-9a-f]{64}")


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One row, complete, as the hash covers it."""

    id: str
    organization_id: str | None
    chain: str
    sequence: int
    type: str
    effective_at: str
    """`2026-01-31T12:00:00.000000Z`: UTC, to the microsecond."""
    project_id: str | None
    actor: str
    """JSON, to the letter as it was written."""
    details: str
    """The same."""
    previous_hash: str
    hash: str


def digest(link: Link) -> str:
    """Compute the hash that a row must have."""
    covered = (
        *(link.previous_hash, link.chain, str(link.sequence), link.id, link.type),
        *(link.effective_at, link.project_id or "", link.actor, link.details),
    )
    return hashlib.sha256("\n".join(covered).encode()).hexdigest()


class Check:
    """Follows one chain from its first row to its last, which are given in their order."""

    def __init__(self, chain: str, expected: str | None = None) -> None:
        """Begin. `expected` is the hash of a row that must be there.

        Raises:
            InvalidRequest: `expected` is no hash.
        """
        if expected is not None and not _HASH.fullmatch(expected):
            raise InvalidRequest("A hash has 64 digits from 0 to f.", param="expected")
        self._chain = chain
        self._expected = expected
        self._is_found = expected in {None, GENESIS}
        self._count = 0
        self._sequence = 0
        self._hash = GENESIS
        self._broken: Break | None = None

    def add(self, link: Link) -> None:
        """Look at the next row."""
        if self._broken is None and (reason := self._trouble(link)):
            is_there = link.sequence == self._sequence + 1
            self._broken = Break(
                sequence=self._sequence + 1, id=link.id if is_there else None, reason=reason
            )
        if self._broken is None and link.hash == self._expected:
            self._is_found = True
        self._count += 1
        self._sequence, self._hash = link.sequence, link.hash

    def verdict(self) -> Verdict:
        """Say what was found, after the last row."""
        broken = self._broken
        if broken is None and not self._is_found:
            broken = Break(
                sequence=self._sequence + 1,
                id=None,
                reason="No row has the expected hash: rows at the end are missing, or all of it"
                " was written anew.",
            )
        return Verdict(
            chain=self._chain,
            count=self._count,
            sequence=self._sequence,
            hash=self._hash,
            broken=broken,
        )

    def _trouble(self, link: Link) -> str | None:
        expected = self._sequence + 1
        if link.sequence > expected:
            return f"Row {expected} is missing: row {link.sequence} comes next."
        if link.sequence < expected:
            return f"Row {link.sequence} comes where row {expected} should."
        if link.chain != self._chain or (link.organization_id or OUTSIDE) != self._chain:
            return f"Row {expected} belongs to another organization."
        if digest(link) != link.hash:
            return f"Row {expected} has been changed: its hash is another."
        if link.previous_hash != self._hash:
            return f"Row {expected} does not follow the one before it, which has been replaced."
        return None
