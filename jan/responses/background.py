"""Makes responses in the background: jobs, each of which makes one.

A job may be given to a second worker while the first still lives, or comes back from the dead. So
the worker claims the response first, with a new attempt and a lease; what an older attempt writes
is refused. A response of which nothing has been told yet is made anew, a few times. One that has
been told in part can't be: a model does not repeat itself, and its clients would see two halves of
different answers.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import structlog

from jan.db import scope
from jan.errors import Unavailable
from jan.inference.chat import Chat
from jan.jobs import queue
from jan.jobs.queue import Job, Retry
from jan.responses import log, news, reading, response, store
from jan.responses.carrying import Carriers
from jan.responses.compaction import Seal
from jan.responses.leases import LeaseLost, Leases
from jan.responses.log import Batch
from jan.responses.making import Claim, Making
from jan.responses.takeover import Ended, Remains
from jan.telemetry import Exchange

NAME = "responses.run"
MAX_ATTEMPTS = 3
"""Workers that may die of one response."""
GIVE_BACK_TIMEOUT_S = 1.5
"""At the end of this process."""
JOB_MARGIN_S = 120.0
"""What a job may take on top of making its response."""
RETRY = Retry(attempts=8, first_delay_s=2.0, max_delay_s=30.0)
"""Of jobs whose database is away, or whose response somebody else may still be making."""

INTERRUPTED = "The server was interrupted while it made the response."

CLAIM = """
UPDATE response SET status = 'in_progress', attempt = attempt + 1,
       started_at = coalesce(started_at, now()), lease_expires_at = now() + $2::interval
WHERE id = $1 AND is_background
AND (status = 'queued' OR (status = 'in_progress' AND lease_expires_at <= now()))
RETURNING id, attempt, is_stream, parameters, object, caller
"""
STATUS = "SELECT status FROM response WHERE id = $1"
INPUT = "SELECT item FROM response_item WHERE response_id = $1 AND NOT is_output ORDER BY position"

slog = structlog.get_logger("jan.responses")


async def enqueue(connection: Any, response_id: str) -> None:
    """Promise to make a response, in the transaction that writes it down."""
    await queue.enqueue(connection, NAME, response_id, dedupe_key=response_id)


class Background:
    """Makes responses, one a job."""

    def __init__(  # noqa: PLR0913 - as many as it has neighbours
        self,
        chat: Chat,
        seal: Seal,
        leases: Leases,
        record: Callable[[Exchange], None],
        *,
        carriers: Carriers | None = None,
        timeout_s: float,
    ) -> None:
        """`record` takes each request to the model server into the usage table.

        Without `carriers` no tools are carried out.
        """
        self.chat = chat
        self.seal = seal
        self.leases = leases
        self.record = record
        self.carriers = carriers
        self.timeout_s = timeout_s

    def job(self) -> Job:
        """Make the job."""
        return Job(NAME, self.run, str, retry=RETRY, timeout_s=self.timeout_s + JOB_MARGIN_S)

    async def run(self, response_id: str) -> None:
        """Make a response, unless it has ended or was deleted.

        Raises:
            Unavailable: somebody else may be making it.
        """
        claim = await self._claim(response_id)
        if claim is None:
            return
        if claim.attempt > MAX_ATTEMPTS or (claim.is_stream and claim.remains.has_output):
            await _fail(claim, INTERRUPTED)
            return
        making = Making(
            self.chat,
            self.seal,
            self.record,
            claim,
            carriers=self.carriers,
            timeout_s=self.timeout_s,
        )
        try:
            async with self.leases.hold(claim.id, claim.attempt) as lease:
                await making.run(lease)
                lease.release()
                await making.end()
        except LeaseLost:
            slog.info("response left", id=claim.id, attempt=claim.attempt)
            return
        except BaseException:
            with anyio.move_on_after(GIVE_BACK_TIMEOUT_S, shield=True):
                await making.give_back()
            raise

    async def _claim(self, response_id: str) -> Claim | None:
        async with scope.system() as connection:
            lease = timedelta(seconds=self.leases.lease_s)
            row = await connection.fetchrow(CLAIM, response_id, lease)
            if row is None:
                if await connection.fetchval(STATUS, response_id) == "in_progress":
                    raise Unavailable("Somebody else may still be making the response.")
                return None
            given = await connection.fetch(INPUT, response_id)
            stored = await log.read_all(connection, response_id)
            if stored and not row["is_stream"]:
                # Nobody has seen it, and nobody will.
                await log.forget(connection, response_id)
                stored = b""
        asked = reading.stored(row["parameters"], [item["item"] for item in given])
        return Claim(
            id=response_id,
            attempt=row["attempt"],
            is_stream=row["is_stream"],
            asked=asked,
            begun=response.read(row["object"]),
            caller=store.caller_of(row["caller"]),
            remains=await asyncio.to_thread(Remains, stored),
        )


async def _fail(claim: Claim, words: str) -> None:
    """End what can't be made any more. What it has come to is kept."""
    begun, remains = claim.begun, claim.remains
    last = remains.fail(begun, words)
    async with scope.of(claim.caller) as connection:
        if await store.finish(claim.caller, Ended(begun), attempt=claim.attempt):
            if claim.is_stream:
                await log.insert(connection, claim.id, Batch(remains.next_number, last))
            await news.tell_end(connection, claim.id)
            slog.warning("response failed", id=claim.id, attempt=claim.attempt, reason=words)
