"""Credentials in memory, so that a request costs no look-up; and how a change reaches them.

PostgreSQL notifies every process of what changed: a key, a session, a person, a project (triggers
in the migrations). While that connection is down, what is older than a second is asked for again,
so a revocation still arrives. While the whole database is down, credentials that were good go on
for a while: no answer is no revocation.
"""

import asyncio
import hashlib
import hmac
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple, Never
from weakref import WeakValueDictionary

import anyio
import asyncpg
import structlog

from jan import clock
from jan.auth import lookup
from jan.auth.lookup import Found
from jan.auth.tokens import AccessTokens
from jan.caller import Caller
from jan.db.engine import Database
from jan.db.listen import listen
from jan.errors import DatabaseUnavailable, NotFound, Unauthorized
from jan.keys import text

CHANNEL = "jan_access"
MAX_GOOD = 50_000
"""Credentials kept. One that is pushed out costs a look-up when it comes again."""
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

MAX_NAMED_LENGTH = 40
"""Of an organization's or a project's id: what is longer is none."""

DOWN = "The database does not answer, so nobody can tell whether the credential works."

TROUBLE = (DatabaseUnavailable, asyncpg.PostgresError, OSError)  # TimeoutError too
"""What is no answer. The statement is always the same: whatever is wrong, it is not the key."""

log = structlog.get_logger("jan.auth")


class Credential(NamedTuple):
    """What a request presents."""

    token: str
    """An API key, or the access token of a signed-in person."""
    organization_id: str = ""
    """`OpenAI-Organization`, or nothing."""
    project_id: str = ""
    """`OpenAI-Project`, or nothing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the database said of a credential, and when it was asked."""

    found: Found
    confirmed_s: float


class CredentialCache:
    """Answers who a credential stands for. Holds digests: the keys themselves are not in memory."""

    def __init__(self, database: Database, secret: str, tokens: AccessTokens) -> None:
        self._database = database
        self._secret = secret.encode()
        self._tokens = tokens
        self._good: dict[bytes, Entry] = {}
        self._bad: dict[bytes, Entry] = {}
        self._by_subject: defaultdict[str, set[bytes]] = defaultdict(set)
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._heard_since_s: float | None = None
        self._down_until_s = 0.0
        self._changes = 0

    async def run(self) -> Never:
        """Listen for changes, for ever."""
        return await listen(self._database.dsn, CHANNEL, self._on_change, self._on_state)

    def known(self, credential: Credential) -> Caller | None:
        """Answer from memory; None where only the database can tell. Never waits.

        Raises:
            Unauthorized: the credential does not work.
            NotFound: the organization or project that the request names is not theirs.
        """
        place, digest = self._place(credential)
        entry = self._good.get(place) or self._bad.get(place)
        if entry is None:
            if digest is not None and not text.is_well_formed(credential.token):
                raise Unauthorized(lookup.INCORRECT)
            return None
        return _answer(entry.found) if self._stands(entry) else None

    async def resolve(self, credential: Credential) -> Caller:
        """Answer from memory, or from the database: once, however many requests wait for it.

        Raises:
            Unauthorized, NotFound: as `known`.
            DatabaseUnavailable: nobody can tell.
        """
        if caller := self.known(credential):
            return caller
        place, digest = self._place(credential)
        async with self._locks.setdefault(place, asyncio.Lock()):
            if caller := self.known(credential):
                return caller
            return _answer((await self._confirm(place, digest, credential)).found)

    def _place(self, credential: Credential) -> tuple[bytes, bytes | None]:
        """Where a credential is kept, and a key's digest. None: it is a person's token."""
        token = credential.token
        if token.startswith(text.PREFIX):
            if len(token) != text.LENGTH or not token.isascii():
                raise Unauthorized(lookup.INCORRECT)
            digest = place = hmac.digest(self._secret, token.encode(), hashlib.sha256)
        else:
            digest, place = None, self._tokens.read(token).session_id.encode()
        _, organization_id, project_id = credential
        if organization_id or project_id:
            if max(len(organization_id), len(project_id)) > MAX_NAMED_LENGTH:
                raise NotFound("There is no such organization or project.")
            place += f" {organization_id} {project_id}".encode()
        return place, digest

    def _stands(self, entry: Entry) -> bool:
        now_s = clock.monotonic_s()
        age_s = now_s - entry.confirmed_s
        if entry.found.caller is None:
            return age_s <= BAD_MAX_AGE_S
        if self._heard_since_s is not None and entry.confirmed_s >= self._heard_since_s:
            is_fresh = age_s <= HEARD_MAX_AGE_S
        else:
            is_fresh = age_s <= UNHEARD_MAX_AGE_S
        return is_fresh or (now_s < self._down_until_s and age_s <= GRACE_S)

    async def _confirm(self, place: bytes, digest: bytes | None, credential: Credential) -> Entry:
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
                entry = await self._look_up(place, digest, credential)
        except TROUBLE as error:
            if not self._down_until_s:
                log.warning("credentials can't be looked up", reason=str(error) or repr(error))
            self._down_until_s = clock.monotonic_s() + PROBE_EVERY_S
            entry = self._good.get(place)
            if entry is None or asked_s - entry.confirmed_s > GRACE_S:
                raise DatabaseUnavailable(DOWN, retry_after_s=PROBE_EVERY_S) from error
        else:
            self._down_until_s = 0.0
        return entry

    async def _look_up(self, place: bytes, digest: bytes | None, credential: Credential) -> Entry:
        changes, asked_s = self._changes, clock.monotonic_s()
        if digest is not None:
            found = await lookup.key(digest, *credential[1:])
        else:
            session_id = self._tokens.read(credential.token).session_id
            found = await lookup.session(session_id, *credential[1:])
        entry = Entry(found, asked_s)
        if changes == self._changes:
            self._keep(place, entry)
        # Else something changed while we asked: the answer may be old, and counts this once.
        return entry

    def _keep(self, place: bytes, entry: Entry) -> None:
        self._forget(place)
        if entry.found.caller is None:
            self._bad[place] = entry
            if len(self._bad) > MAX_BAD:
                del self._bad[next(iter(self._bad))]
        else:
            self._good[place] = entry
            for subject in entry.found.subjects:
                self._by_subject[subject].add(place)
            if len(self._good) > MAX_GOOD:
                self._forget(next(iter(self._good)))

    def _forget(self, place: bytes) -> None:
        self._bad.pop(place, None)
        entry = self._good.pop(place, None)
        for subject in entry.found.subjects if entry else ():
            self._by_subject[subject].discard(place)
            if not self._by_subject[subject]:
                del self._by_subject[subject]

    def _on_change(self, subject: str) -> None:
        self._changes += 1
        self._bad.clear()  # it is not known which of them it makes good
        for place in list(self._by_subject.get(subject, ())):
            self._forget(place)

    def _on_state(self, hears: bool) -> None:
        # Answers from before are not trusted: what changed while nobody listened was not told.
        self._heard_since_s = clock.monotonic_s() if hears else None
        if hears:
            self._down_until_s = 0.0


def _answer(found: Found) -> Caller:
    if found.caller is None:
        raise NotFound(found.refusal) if found.is_missing else Unauthorized(found.refusal)
    if found.expires_at is not None and found.expires_at <= clock.now():
        raise Unauthorized(found.refusal)
    return found.caller
