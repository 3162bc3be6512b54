"""Does jobs, for as long as a process lives, next to others that do the same.

pgqueuer hands them out, keeps them alive by heartbeats, and takes over those of a worker that died.
Ours is what happens to one: attempts, the pauses between them, and an end that loses nothing.
"""

import asyncio
import logging
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Never

import anyio
import msgspec
import structlog
from pgqueuer.core.buffers import JobStatusLogBuffer
from pgqueuer.core.executors import (
    AbstractEntrypointExecutor,
    EntrypointExecutorParameters,
    ScheduleCrontab,
)
from pgqueuer.core.tm import discard_outcome
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Context, TracebackRecord
from pgqueuer.domain.models import Job as Row
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries
from pgqueuer.sm import SchedulerManager

from jan import clock
from jan.errors import JanError, Unavailable
from jan.jobs import schema
from jan.jobs.connection import Connection
from jan.jobs.queue import Hopeless, Job, Schedule

MAX_RUNNING = 10
"""Jobs at once in one process. What they do is mostly waiting for others."""
BATCH = 5
"""Taken at once. pgqueuer wants to have room for two batches."""
UNREADY_RETRY_S = 1.0
"""Between two looks for the tables: a process may be up before the migrations are."""
FAILED_RETRY_S = 5.0
RELEASE_TIMEOUT_S = 2.0
"""For jobs that are cut short to say so, so that others do them at once."""
LET_GO_TIMEOUT_S = 0.5
"""For pgqueuer's tasks to end when cancelled; a handler that does not is left behind."""

# An attempt is a time that a worker took the job, whatever became of the worker: one that kills
# its process each time is given up too. Counted anew after somebody has revived a failed job.
ATTEMPT = """
SELECT count(*) AS attempt FROM pgqueuer_log
WHERE job_id = $1 AND status = 'picked'
AND id > coalesce((SELECT max(id) FROM pgqueuer_log WHERE job_id = $1 AND status = 'failed'), 0)
"""

log = structlog.get_logger("jan.jobs")


@dataclass(frozen=True, slots=True)
class Pace:
    """How quickly a worker notices things."""

    takeover_s: float = 30.0
    """Silence after which a worker counts as dead, and others do its jobs."""
    poll_s: float = 5.0
    """Between two looks at the queue, though nothing was notified."""
    stop_grace_s: float = 5.0
    """For running jobs to finish at the end. With what follows it fits into the time that
    `jan serve` gives a drained gateway."""


async def run(
    dsn: str,
    jobs: Sequence[Job],
    schedules: Sequence[Schedule] = (),
    pace: Pace | None = None,
    *,
    max_running: int = MAX_RUNNING,
) -> Never:
    """Do these kinds of jobs, for ever; others are left alone. When cancelled, end within a bound.

    The connection must be direct: a pooler in transaction mode drops LISTEN.
    """
    logging.getLogger("pgqueuer").setLevel(logging.ERROR)  # the rest is told here, in our words
    while True:
        connection = Connection(dsn)
        try:
            await _until_installed(connection)
            await _Worker(connection, jobs, schedules, pace or Pace(), max_running).run()
        except Exception:  # requests are served in this process whatever becomes of jobs
            log.exception("the job worker failed and starts again")
        finally:
            with anyio.CancelScope(shield=True):
                await connection.close()
        await anyio.sleep(FAILED_RETRY_S)


async def _until_installed(connection: Connection) -> None:
    wanted = "SELECT to_regclass($1) IS NOT NULL AS is_there"
    while not (await connection.fetch(wanted, schema.NAMES.schedules_table))[0]["is_there"]:
        await anyio.sleep(UNREADY_RETRY_S)


class _Worker:
    """pgqueuer's managers on one connection."""

    def __init__(
        self,
        connection: Connection,
        jobs: Sequence[Job],
        schedules: Sequence[Schedule],
        pace: Pace,
        max_running: int,
    ) -> None:
        self._connection = connection
        self._pace = pace
        self._max_running = max_running
        self._cut = _Cut()
        queries = schema.queries(connection)
        self._queue = _Queue(queries, channel=schema.NAMES.channel)
        for job in jobs:
            self._queue.register_executor(job.name, _Executor(job, queries, self._cut))
        self._clock = SchedulerManager(queries)
        for schedule in schedules:
            self._clock.schedule(schedule.job, schedule.cron)(_enqueuer(queries, schedule))

    async def run(self) -> None:
        """Work until something fails, or until cancelled."""
        tasks = [
            asyncio.create_task(
                self._queue.run(
                    dequeue_timeout=timedelta(seconds=self._pace.poll_s),
                    batch_size=min(BATCH, self._max_running // 2),
                    max_concurrent_tasks=self._max_running,
                    heartbeat_timeout=timedelta(seconds=self._pace.takeover_s),
                    log_aggregation_interval=timedelta(),  # nobody reads its statistics
                )
            )
        ]
        if self._clock.registry:
            tasks.append(asyncio.create_task(self._clock.run()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            with anyio.CancelScope(shield=True):
                await self._stop(tasks)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def _stop(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Let running jobs finish; give back what takes longer; let go of what even then remains.

        pgqueuer's tasks are cancelled only when nothing can be written any more: it would note
        their jobs as cancelled, and nobody would do them again.
        """
        self._queue.shutdown.set()
        self._clock.shutdown.set()
        _, running = await asyncio.wait(tasks, timeout=self._pace.stop_grace_s)
        if running:
            self._connection.give_up()
            self._cut.everything()
            _, running = await asyncio.wait(tasks, timeout=RELEASE_TIMEOUT_S)
        if running:
            log.warning("jobs are left for others to take over")
            self._connection.cut()
            for task in running:
                task.cancel()
            await asyncio.wait(tasks, timeout=LET_GO_TIMEOUT_S)
        for task in tasks:
            task.add_done_callback(discard_outcome)  # the end is no news


class _Cut:
    """The end of a worker's patience with running jobs."""

    def __init__(self) -> None:
        self.is_made = False
        self._scopes: set[anyio.CancelScope] = set()

    def everything(self) -> None:
        """Cancel all that runs, and what would begin."""
        self.is_made = True
        for scope in self._scopes:
            scope.cancel()

    async def run(self, job: Job, payload: Any) -> bool:
        """Run a handler. Returns whether it got to its end."""
        if self.is_made:
            return False
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                with anyio.fail_after(job.timeout_s):
                    await job.handler(payload)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if scope.cancel_called or (task is not None and task.cancelling()):
                    raise
                # Of something within: pgqueuer would take it for our wish, and forget the job.
                raise Unavailable("Something that it waited for was cancelled.") from None
            finally:
                self._scopes.discard(scope)
        return not scope.cancelled_caught


class _Queue(QueueManager):
    """pgqueuer's, but what it says of failures is ours."""

    async def log_failure(
        self,
        job: Row,
        executor: AbstractEntrypointExecutor,  # noqa: ARG002 - as the method it replaces
        exc: Exception,
        jbuff: JobStatusLogBuffer,
    ) -> None:
        """Keep the job, to be looked at. What it was is in the log, what it held is not."""
        words = {"job": job.entrypoint, "job_id": job.id, "reason": _reason(exc)}
        if not isinstance(exc, Hopeless | JanError):
            words["where"] = "".join(traceback.format_tb(exc.__traceback__))
        log.error("job given up", **words)
        record = TracebackRecord(
            job_id=job.id,
            timestamp=clock.now(),
            exception_type=type(exc).__name__,
            exception_message=_reason(exc),
            traceback="",
            additional_context=None,
        )
        await jbuff.add((job, "failed", record))


class _Executor(AbstractEntrypointExecutor):
    """One attempt at a job of one kind."""

    def __init__(self, job: Job, queries: Queries, cut: _Cut) -> None:
        super().__init__(
            EntrypointExecutorParameters(0, job.handler, accepts_context=False, on_failure="hold")
        )
        self._job = job
        self._queries = queries
        self._cut = cut

    async def execute(self, job: Row, context: Context) -> None:  # noqa: ARG002 - pgqueuer's
        """Do it.

        Raises:
            RetryRequested: it is to be done again, later.
            Exception: it is not.
        """
        (row,) = await self._queries.driver.fetch(ATTEMPT, job.id)
        attempt, retry = int(str(row["attempt"])), self._job.retry
        if attempt > retry.attempts:
            raise Hopeless(f"{retry.attempts} workers died of it, or were stopped at it")
        started_s = clock.monotonic_s()
        words = {"job": job.entrypoint, "job_id": job.id, "attempt": attempt}
        try:
            is_done = await self._cut.run(self._job, _decoded(self._job, job.payload))
        except Hopeless:
            raise
        except Exception as error:  # whatever a handler raises, the job has failed
            if attempt >= retry.attempts:
                raise
            delay_s = retry.delay_s(attempt)
            log.warning("job failed", **words, again_in_s=delay_s, reason=_reason(error))
            # Without its cause: the message may tell what the job holds, and is kept.
            raise RetryRequested(timedelta(seconds=delay_s), _reason(error)) from None
        if not is_done:
            log.info("job given back", **words)
            raise RetryRequested(reason="given back")
        duration_ms = (clock.monotonic_s() - started_s) * 1000
        log.info("job done", **words, duration_ms=round(duration_ms, 1))


def _decoded(job: Job, payload: bytes | None) -> Any:
    try:
        return msgspec.json.decode(payload or b"null", type=job.payload)
    except msgspec.DecodeError:
        raise Hopeless("its payload is not what this version takes") from None


def _reason(error: Exception) -> str:
    """What may be told of a failure: what was worded for it, else its kind alone."""
    if isinstance(error, JanError):
        return error.message
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(error) if isinstance(error, Hopeless) else type(error).__name__


def _enqueuer(queries: Queries, schedule: Schedule) -> ScheduleCrontab:
    async def enqueue(_: Any) -> None:
        await queries.enqueue(
            schedule.job, b"null", dedupe_key=f"schedule {schedule.job}", on_conflict="skip"
        )

    return enqueue
