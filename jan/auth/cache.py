"""Keys in memory, so that a request costs no look-up; and how a change reaches them.

PostgreSQL notifies every process of a changed key (the trigger on `api_key`). While that connection
is down, what is older than a second is asked for again, so a revocation still arrives. While the
whole database is down, keys that were good go on for a while: no answer is no revocation.
"""

import asyncio
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Never
from weakref import WeakValueDictionary

import anyio
import asyncpg
import structlog

from jan import clock
from jan.caller import Caller
from jan.db.engine import Database
from jan.db.listen import listen
from jan.errors import DatabaseUnavailable, Unauthorized
from jan.keys import text

CHANNEL = "jan_keys"
MAX_GOOD = 50_000
"""Keys kept. One that is pushed out costs a look-up when it comes again."""
MAX_BAD = 10_000
"""Refusals kept. Apart from the good ones: no flood of made-up keys pushes those out."""
HEARD_MAX_AGE_S = 60.0
"""How long an answer stands though nothing was notified: TRUNCATE and restored backups say none."""
UNHEARD_MAX_AGE_S = 1.0
"""How long an answer stands while no notification would reach us."""
BAD_MAX_AGE_S = 10.0
"""How long a refusal stands: a key that is made later has another text anyway."""
GRACE_S = 300.0
"""How long a good key works on while the database is down."""
LOOK_UP_TIMEOUT_S = 2.0
"""A look-up takes a millisecond; a database that is silent for so long counts as down."""
PROBE_EVERY_S = 1
"""While the database is down, one request at a time finds out, and the others do not wait."""

LOOK_UP = "SELECT id, expires_at, revoked_at FROM api_key WHERE digest = $1"

INCORRECT = "The API key is incorrect."
EXPIRED = "The API key has expired."
REVOKED = "The API key was revoked."
DOWN = "The database does not answer, so nobody can tell whether the API key works."

TROUBLE = (DatabaseUnavailable, asyncpg.PostgresError, OSError)  # TimeoutError too
"""What is no answer. The statement is always the same: whatever is wrong, it is not the key."""

log = structlog.get_logger("jan.keys")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the database said of a key, and when it was asked."""

    caller: Caller | None
    """None: refused."""
    refusal: str
    expires_at: datetime | None
    confirmed_s: float


class KeyCache:
    """Answers who a key stands for. Holds digests: the keys themselves are not in memory."""

    def __init__(self, database: Database, secret: str) -> None:
        self._database = database
        self._secret = secret.encode()
        self._good: dict[bytes, Entry] = {}
        self._bad: dict[bytes, Entry] = {}
        self._digests: dict[str, bytes] = {}
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._heard_since_s: float | None = None
        self._down_until_s = 0.0
        self._changes = 0

    async def run(self) -> Never:
        """Listen for changed keys, for ever."""
        return await listen(self._database.dsn, CHANNEL, self._on_change, self._on_state)

    def known(self, key: str) -> Caller | None:
        """Answer from memory; None where only the database can tell. Never waits.

        Raises:
            Unauthorized: the key does not work.
        """
        if len(key) != text.LENGTH or not key.isascii():
            raise Unauthorized(INCORRECT)
        digest = self._digest(key)
        entry = self._good.get(digest) or self._bad.get(digest)
        if entry is None:
            if not text.is_well_formed(key):
                raise Unauthorized(INCORRECT)
            return None
        return _answer(entry) if self._stands(entry) else None

    async def resolve(self, key: str) -> Caller:
        """Answer from memory, or from the database: once, however many requests wait for it.

        Raises:
            Unauthorized: the key does not work.
            DatabaseUnavailable: nobody can tell.
        """
        if caller := self.known(key):
            return caller
        digest = self._digest(key)
        async with self._locks.setdefault(digest, asyncio.Lock()):
            return self.known(key) or _answer(await self._confirm(digest))

    def _digest(self, key: str) -> bytes:
        return hmac.digest(self._secret, key.encode(), hashlib.sha256)

    def _stands(self, entry: Entry) -> bool:
        now_s = clock.monotonic_s()
        age_s = now_s - entry.confirmed_s
        if entry.caller is None:
            return age_s <= BAD_MAX_AGE_S
        if self._heard_since_s is not None and entry.confirmed_s >= self._heard_since_s:
            is_fresh = age_s <= HEARD_MAX_AGE_S
        else:
            is_fresh = age_s <= UNHEARD_MAX_AGE_S
        return is_fresh or (now_s < self._down_until_s and age_s <= GRACE_S)

    async def _confirm(self, digest: bytes) -> Entry:
        """Ask the database; where it is down, make do with what it said before."""
        asked_s = clock.monotonic_s()
        if asked_s < self._down_until_s:
            raise DatabaseUnavailable(DOWN, retry_after_s=PROBE_EVERY_S)
        if self._down_until_s:
            # It was down a moment ago. This request finds out; the others go by meanwhile.
            self._down_until_s = asked_s + LOOK_UP_TIMEOUT_S
        try:
            # Shielded: a client that leaves must not break a look-up that others wait for.
            with anyio.fail_after(LOOK_UP_TIMEOUT_S, shield=True):
                entry = await self._look_up(digest)
        except TROUBLE as error:
            if not self._down_until_s:
                log.warning("keys can't be looked up", reason=str(error) or repr(error))
            self._down_until_s = clock.monotonic_s() + PROBE_EVERY_S
            entry = self._good.get(digest)
            if entry is None or asked_s - entry.confirmed_s > GRACE_S:
                raise DatabaseUnavailable(DOWN, retry_after_s=PROBE_EVERY_S) from error
        else:
            self._down_until_s = 0.0
        return entry

    async def _look_up(self, digest: bytes) -> Entry:
        changes, asked_s = self._changes, clock.monotonic_s()
        async with self._database.connection() as connection:
            row = await connection.fetchrow(LOOK_UP, digest.hex())
        if row is None:
            entry = Entry(None, INCORRECT, None, asked_s)
        elif row["revoked_at"] is not None:
            entry = Entry(None, REVOKED, None, asked_s)
        else:
            entry = Entry(Caller(row["id"]), EXPIRED, row["expires_at"], asked_s)
        if changes == self._changes:
            self._keep(digest, entry)
        # Else a key changed while we asked: the answer may be from before, and counts this once.
        return entry

    def _keep(self, digest: bytes, entry: Entry) -> None:
        self._forget(digest)
        if entry.caller is None:
            self._bad[digest] = entry
            if len(self._bad) > MAX_BAD:
                del self._bad[next(iter(self._bad))]
        else:
            self._good[digest] = entry
            self._digests[entry.caller.key_id] = digest
            if len(self._good) > MAX_GOOD:
                self._forget(next(iter(self._good)))

    def _forget(self, digest: bytes) -> None:
        self._bad.pop(digest, None)
        entry = self._good.pop(digest, None)
        if entry is not None and entry.caller is not None:
            del self._digests[entry.caller.key_id]

    def _on_change(self, key_id: str) -> None:
        self._changes += 1
        self._bad.clear()  # it is not known which of them has this id
        digest = self._digests.get(key_id)
        if digest is not None:
            self._forget(digest)

    def _on_state(self, hears: bool) -> None:
        # Answers from before are not trusted: what changed while nobody listened was not told.
        self._heard_since_s = clock.monotonic_s() if hears else None
        if hears:
            self._down_until_s = 0.0


def _answer(entry: Entry) -> Caller:
    if entry.caller is None or (entry.expires_at is not None and entry.expires_at <= clock.now()):
        raise Unauthorized(entry.refusal)
    return entry.caller
