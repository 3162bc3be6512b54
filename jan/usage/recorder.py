"""Usage rows on their way to the database: taken at once, written together, never in the way.

What was done leaves its row here and goes on. Each second all rows are written together, so that a
`kill -9` loses one second of them at most, and a clean stop none. While the database is in trouble
they wait, up to a bound; what is past it is counted and logged.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, Never, TypeVar
from uuid import UUID, uuid4

import anyio
import asyncpg
import structlog

from jan import clock
from jan.db import scope
from jan.errors import DatabaseUnavailable
from jan.usage.schemas import UsageRow

FLUSH_EVERY_S = 0.7
"""With the writing itself less than a second, of which a `kill -9` may lose the rows."""
MAX_WAITING_ROWS = 100_000
"""About 50 MB. At 1,000 requests a second the database may be gone for a minute and a half."""
BATCH_ROWS = 1000
"""Written at once. Encoding so many holds up the event loop for a few milliseconds."""
WRITE_TIMEOUT_S = 5.0
LAST_FLUSH_TIMEOUT_S = 5.0
LAST_RETRY_S = 0.1
REPORT_EVERY_S = 10.0
"""Between two log lines about lost rows."""

COLUMNS = {
    "id": "uuid",
    "request_id": "text",
    "organization_id": "text",
    "project_id": "text",
    "user_id": "text",
    "key_id": "text",
    "model": "text",
    "path": "text",
    "status": "smallint",
    "prompt_tokens": "integer",
    "completion_tokens": "integer",
    "cached_tokens": "integer",
    "time_to_first_token_ms": "real",
    "duration_ms": "real",
    "request_bytes": "bigint",
    "response_bytes": "bigint",
    "is_stream": "boolean",
    "error_code": "text",
    "created_at": "timestamptz",
    "endpoint_id": "text",
    "queue_ms": "real",
    "cost_picodollars": "bigint",
}
MAX_INTEGER = 2**31 - 1
MAX_TEXT = 256
"""Of a model's name and the like: what is longer is a client's mistake, and cut."""

REFUSED = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    TypeError,  # this and the rest: asyncpg can't encode it
    ValueError,
    OverflowError,
    AttributeError,
)
"""What a row is to blame for."""
TROUBLE = (DatabaseUnavailable, asyncpg.PostgresError, OSError)  # TimeoutError too
"""What the database is to blame for (gone, read-only, disk full): rows wait until it is over."""

# Never waits: neither for a revocation nor for another process that does the same.
MARK_USED = """
UPDATE api_key SET last_used_at = $2::timestamptz WHERE id IN (
    SELECT id FROM api_key WHERE id = ANY($1)
    AND (last_used_at IS NULL OR last_used_at < $2::timestamptz - interval '1 minute')
    FOR NO KEY UPDATE SKIP LOCKED
)
"""

log = structlog.get_logger("jan.usage")

Row = TypeVar("Row")


class Recorder(Generic[Row]):
    """Takes rows from the hot path and writes them in batches."""

    def __init__(
        self,
        table: str,
        columns: Mapping[str, str],
        values: Callable[[UUID, Row], Sequence[Any]],
    ) -> None:
        """Write into `columns`, which are told with their types; `values` are in their order.

        `values` cuts and clamps what PostgreSQL would refuse.
        """
        self._table = table
        self._insert = _insert(table, columns)
        self._values = values
        self._waiting: deque[Row] = deque()
        self._batch: list[tuple[UUID, Row]] = []
        first = uuid4().int >> 40 << 40  # in a row from there: kind to the index
        self._ids = (UUID(int=number) for number in itertools.count(first))
        self._is_behind = False
        self.lost_rows = 0
        """Rows that were never written, since the start."""
        self._reported_rows = 0
        self._reported_s = -REPORT_EVERY_S

    @property
    def waiting_rows(self) -> int:
        """Rows that are not in the database yet."""
        return len(self._waiting) + len(self._batch)

    def record(self, row: Row) -> None:
        """Take a row. Neither waits nor fails, whatever is in it."""
        if self.waiting_rows < MAX_WAITING_ROWS:
            self._waiting.append(row)
        else:
            self.lost_rows += 1

    async def run(self) -> Never:
        """Write rows each second, for ever; when cancelled, the rest, within a bound."""
        try:
            while True:
                await anyio.sleep(FLUSH_EVERY_S)
                await self._flush()
                if clock.monotonic_s() - self._reported_s >= REPORT_EVERY_S:
                    self._report()
        finally:
            with anyio.move_on_after(LAST_FLUSH_TIMEOUT_S, shield=True):
                while not await self._flush():
                    await anyio.sleep(LAST_RETRY_S)
            self.lost_rows += self.waiting_rows
            self._waiting.clear()
            self._batch.clear()
            self._report()

    async def _flush(self) -> bool:
        """Write what waits. Returns whether all of it is written."""
        while self.waiting_rows:
            if not self._batch:
                size = min(BATCH_ROWS, len(self._waiting))
                self._batch = [(next(self._ids), self._waiting.popleft()) for _ in range(size)]
            try:
                await self._write(list(self._batch))
                self._has_written(row for _, row in self._batch)
                self._batch.clear()
            except TROUBLE as error:
                if not self._is_behind:
                    log.warning("rows wait", of=self._table, reason=str(error) or repr(error))
                self._is_behind = True
                return False
        if self._is_behind:
            log.info("rows are written again", of=self._table)
        self._is_behind = False
        return True

    def _has_written(self, rows: Iterable[Row]) -> None:
        """Take note of rows that are in the database."""

    async def _write(self, batch: Sequence[tuple[UUID, Row]]) -> None:
        """Write a batch; a refused one in halves, until the rows to blame stand alone.

        What is refused though `values` saw to it must not keep the others out: it is dropped.
        """
        try:
            columns = zip(*(self._values(row_id, row) for row_id, row in batch), strict=True)
            async with scope.system() as connection:
                await connection.execute(self._insert, *map(list, columns), timeout=WRITE_TIMEOUT_S)
        except REFUSED as error:
            if len(batch) == 1:
                name, reason = getattr(batch[0][1], "id", None), type(error).__name__
                log.warning("row refused", of=self._table, request_id=name, reason=reason)
                self._batch.remove(batch[0])
                self.lost_rows += 1
                return
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])

    def _report(self) -> None:
        if self.lost_rows > self._reported_rows:
            rows = self.lost_rows - self._reported_rows
            log.error("rows lost", of=self._table, rows=rows, in_all=self.lost_rows)
            self._reported_rows, self._reported_s = self.lost_rows, clock.monotonic_s()


class UsageRecorder(Recorder[UsageRow]):
    """Takes rows of requests, and notes when keys were used."""

    def __init__(self) -> None:
        super().__init__("usage", COLUMNS, _values)
        self._used_keys: set[str] = set()

    def note_use(self, key_id: str) -> None:
        """Take note that a key was used for what leaves no row. Neither waits nor fails."""
        self._used_keys.add(key_id)

    def _has_written(self, rows: Iterable[UsageRow]) -> None:
        self._used_keys.update(row.key_id for row in rows if row.key_id)

    async def _flush(self) -> bool:
        is_all_written = await super()._flush()
        if is_all_written and self._used_keys:
            key_ids, self._used_keys = self._used_keys, set()
            await self._mark_used(key_ids)
        return is_all_written

    async def _mark_used(self, key_ids: set[str]) -> None:
        """Note when keys were last used, to the minute. What fails is noted at the next use."""
        with suppress(*TROUBLE):
            async with scope.system() as connection:
                await connection.execute(
                    MARK_USED, list(key_ids), clock.now(), timeout=WRITE_TIMEOUT_S
                )


def _values(row_id: UUID, row: UsageRow) -> tuple[Any, ...]:
    """A row as PostgreSQL takes it, in the order of `COLUMNS`."""
    return (
        row_id, text(row.id, 128), row.organization_id, row.project_id, row.user_id, row.key_id,
        text(row.model), text(row.path),
        row.status, _count(row.prompt_tokens), _count(row.completion_tokens),
        _count(row.cached_tokens), row.time_to_first_token_ms, row.duration_ms,
        row.request_bytes, row.response_bytes, row.is_stream,
        None if row.error_code is None else text(row.error_code), row.created_at,
        row.endpoint_id, row.queue_ms, row.cost_picodollars,
    )  # fmt: skip


def text(value: str, length: int = MAX_TEXT) -> str:
    """What PostgreSQL takes for text: no NUL, no lone surrogates, not endless."""
    if value.isascii() and len(value) <= length and "\0" not in value:
        return value
    return value[:length].replace("\0", "").encode(errors="replace").decode()


def _insert(table: str, columns: Mapping[str, str]) -> str:
    # Not COPY: PostgreSQL has none into tables with row security. A row whose confirmation got lost
    # is there already.
    arrays = ", ".join(f"${i}::{kind}[]" for i, kind in enumerate(columns.values(), 1))
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"  # noqa: S608 - our own names
        " ON CONFLICT (id) DO NOTHING"
    )


def _count(value: int) -> int:
    return min(max(value, 0), MAX_INTEGER)
