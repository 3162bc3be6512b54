"""Which of all processes looks whether endpoints are well, and writes down what it saw.

Two locks: one for endpoints that every process can reach, one for those of a node. They are held by
a session of PostgreSQL, so that they go with it: no two processes have the same one, and who lost
its connection can't write any more, whatever it believes. Every process keeps such a connection: to
try the locks, to hear doubts and to tell them.

Source: https://www.postgresql.org/docs/18/explicit-locking.html#ADVISORY-LOCKS
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Never

import anyio
import asyncpg
import msgspec
import structlog

from jan import clock
from jan.db import scope
from jan.db.pool import CONNECT_TIMEOUT_S
from jan.db.trouble import TROUBLE
from jan.inference.registry import Endpoint
from jan.inference.watch import Finding

DOUBT = "jan_fleet_doubt"
"""Channel on which the leader is asked to look at an endpoint at once."""
TRY_EVERY_S = 0.4
"""Between two tries to lead. They are also the signs of life of the connection."""
ANSWER_TIMEOUT_S = 0.4
"""For each. Both together are less than the second in which another one has to lead."""
RETRY_S = 0.25
MAX_RETRY_S = 0.5
WRITE_TIMEOUT_S = 5.0
DOUBT_EVERY_S = 0.5
"""Between two doubts of one endpoint. The leader looks more often by itself at one that is away."""
NOTE_EVERY_S = 5.0
"""Between two notes of when endpoints were looked at, where nothing else is new."""
MAX_ERROR_LENGTH = 1000

SHARED = "jan fleet"
TRY = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
TELL = "SELECT pg_notify($1, id) FROM unnest($2::text[]) AS id"
# What was found out about an address says nothing of the one that it was changed to since.
WRITE = """
UPDATE endpoint AS e
SET state = n.state, since = n.since, last_error = n.last_error, served = n.served::jsonb,
    checked_at = n.checked_at, latency_ms = n.latency_ms
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[],
            $7::timestamptz[], $8::real[])
    AS n (id, url, state, since, last_error, served, checked_at, latency_ms)
WHERE e.id = n.id AND e.url = n.url
"""
NOTE = """
UPDATE endpoint AS e SET checked_at = n.checked_at, latency_ms = n.latency_ms
FROM unnest($1::text[], $2::timestamptz[], $3::real[]) AS n (id, checked_at, latency_ms)
WHERE e.id = n.id
"""
"""Notifies nobody: see the trigger in the migration."""

log = structlog.get_logger("jan.fleet")


class Leader:
    """One process among those that may lead. `run` makes it one."""

    def __init__(self, dsn: str, node: str) -> None:
        """Take a direct address of the database: a pooler would hand our locks to others."""
        self._dsn = dsn
        self._locks = {True: SHARED, False: f"jan fleet {node}"}
        """By whether they are for what is shared."""
        self._held: set[bool] = set()
        self._news = asyncio.Event()
        self._written: dict[str, Finding] = {}
        """What is to be written."""
        self._noted: dict[str, tuple[datetime, float | None]] = {}
        self._noted_s = 0.0
        self._doubts: set[str] = set()
        self._doubted_s: dict[str, float] = {}
        self.is_connected = False
        """Whether others hear us, and we them. If not, each process looks for itself."""
        self.on_change: Callable[[], None] = lambda: None
        """Told when this process leads, or does not, or is on its own."""
        self.on_doubt: Callable[[str], None] = lambda _: None
        """Told which endpoint somebody doubts."""

    def leads(self, endpoint: Endpoint) -> bool:
        """Whether it is this process that looks at an endpoint, for all."""
        return endpoint.is_shared in self._held

    def found(self, finding: Finding) -> None:
        """Have written what a look found. Only the newest of an endpoint counts."""
        if finding.is_news:
            self._written[finding.endpoint.id] = finding
            self._news.set()
        elif waiting := self._written.get(finding.endpoint.id):
            self._written[finding.endpoint.id] = msgspec.structs.replace(
                waiting, checked_at=finding.checked_at, latency_ms=finding.latency_ms
            )
        else:
            self._noted[finding.endpoint.id] = (finding.checked_at, finding.latency_ms)

    def doubt(self, endpoint_id: str) -> None:
        """Ask the leader to look at an endpoint at once, unless it was asked a moment ago."""
        now_s = clock.monotonic_s()
        if now_s - self._doubted_s.get(endpoint_id, -DOUBT_EVERY_S) < DOUBT_EVERY_S:
            return
        self._doubted_s = {
            id_: at_s for id_, at_s in self._doubted_s.items() if now_s - at_s < DOUBT_EVERY_S
        }
        self._doubted_s[endpoint_id] = now_s
        self._doubts.add(endpoint_id)
        self._news.set()

    async def run(self) -> Never:
        """Try to lead, for ever."""
        retry_s = RETRY_S
        while True:
            try:
                connection: asyncpg.Connection = await asyncpg.connect(
                    self._dsn,
                    timeout=CONNECT_TIMEOUT_S,
                    command_timeout=WRITE_TIMEOUT_S,
                    server_settings={"application_name": "jan fleet"},
                )
                try:
                    retry_s = RETRY_S
                    await self._take_part(connection)
                finally:
                    connection.terminate()
                    self._leave()
            except TROUBLE as error:
                if retry_s == RETRY_S:  # who listens for changes has told it
                    log.debug("nobody leads here", reason=str(error) or repr(error))
            await anyio.sleep(retry_s)
            retry_s = min(retry_s * 2, MAX_RETRY_S)

    async def _take_part(self, connection: asyncpg.Connection) -> Never:
        ended = False

        def end(_: object) -> None:
            nonlocal ended
            ended = True
            self._leave()
            self._news.set()

        connection.add_termination_listener(end)
        await connection.add_listener(DOUBT, lambda *got: self.on_doubt(str(got[3])))
        while not ended:
            self._news.clear()
            await self._try(connection)
            if not ended and not self.is_connected:
                self.is_connected = True
                self.on_change()
            await self._write(connection)
            with anyio.move_on_after(TRY_EVERY_S):
                await self._news.wait()
        raise ConnectionResetError("the server closed the connection")

    async def _try(self, connection: asyncpg.Connection) -> None:
        """Try what is not held; else ask for a sign of life."""
        wanted = [(which, name) for which, name in self._locks.items() if which not in self._held]
        if not wanted:
            await connection.execute("SELECT 1", timeout=ANSWER_TIMEOUT_S)
        for which, name in wanted:
            if await connection.fetchval(TRY, name, timeout=ANSWER_TIMEOUT_S):
                self._held.add(which)
                log.debug("looks after endpoints", of="all" if which else "this node")
                self.on_change()

    def _leave(self) -> None:
        was_there, self.is_connected = self.is_connected, False
        self._held.clear()
        self._written.clear()
        self._noted.clear()
        self._doubts.clear()
        if was_there:
            self.on_change()

    async def _write(self, connection: asyncpg.Connection) -> None:
        if self._doubts:
            doubts, self._doubts = self._doubts, set()
            await connection.execute(TELL, DOUBT, list(doubts))
        if self._written:
            written, self._written = self._written, {}
            await self._change(connection, WRITE, _columns(written.values()))
        now_s = clock.monotonic_s()
        if self._noted and now_s - self._noted_s >= NOTE_EVERY_S:
            noted, self._noted = self._noted, {}
            self._noted_s = now_s
            moments, latencies = zip(*noted.values(), strict=True)
            await self._change(connection, NOTE, (list(noted), moments, latencies))

    async def _change(
        self, connection: asyncpg.Connection, statement: str, columns: Iterable[object]
    ) -> None:
        try:
            async with scope.system_on(connection):
                await connection.execute(statement, *columns)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError):
            log.exception("what was found out about endpoints can't be kept")


def _columns(findings: Iterable[Finding]) -> Iterable[list[Any]]:
    rows = [
        (
            found.endpoint.id,
            found.endpoint.url,
            found.state,
            found.since,
            found.last_error and found.last_error.replace("\0", "")[:MAX_ERROR_LENGTH],
            msgspec.json.encode(found.served).decode(),
            found.checked_at,
            found.latency_ms,
        )
        for found in findings
    ]
    return map(list, zip(*rows, strict=True))
