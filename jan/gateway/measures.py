"""All that a gateway process measures, told when somebody asks.

What requests come to is counted as they end; how things stand is looked up here. Only the database
is asked something, and it may take as long as it likes: nobody waits longer than for an answer that
is of use.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import Metric as Family

from jan.chat.passage import Passages
from jan.db import pool as pools
from jan.db.engine import Database
from jan.db.trouble import TROUBLE, explained
from jan.errors import JanError
from jan.inference.checks import Checks
from jan.inference.fleet import Fleet
from jan.jobs import queue
from jan.jobs.queue import State
from jan.metrics import names
from jan.metrics.families import Labels, family
from jan.metrics.loop import LoopLag
from jan.metrics.requests import Generations, Requests
from jan.usage.recorder import Recorder

DATABASE_TIMEOUT_S = 0.5

NOTHING_TO_DO = State(0, 0, 0, 0.0)


@dataclass
class Measures:
    """What there is to look at. `collect` looks."""

    requests: Requests
    generations: Generations
    running: Callable[[], int]
    """Tells how many requests have not ended."""
    passages: Passages
    fleet: Fleet
    checks: Checks
    database: Database
    recorders: Mapping[str, Recorder[Any]]
    """By the tables that they write into."""
    job_kinds: Sequence[str]
    """Those that are told though there are none."""
    lag: LoopLag
    _asking: asyncio.Task[Mapping[str, State] | None] | None = field(default=None, init=False)

    async def collect(self) -> list[Family]:
        """Tell everything, within little more than `DATABASE_TIMEOUT_S`."""
        jobs = await self._jobs()
        return [
            family(names.BUILD, {(version("jan"),): 1}),
            *self.requests.families(),
            *self.generations.families(),
            *self._on_their_way(),
            *self._upstreams(),
            *self._usage(),
            *self._connections(),
            *self._replicas(),
            *_told(jobs),
            self.lag.family(),
            *ProcessCollector(registry=None).collect(),
        ]

    async def _jobs(self) -> Mapping[str, State] | None:
        """Count the jobs. None: the database does not say."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._count_jobs())
        # Not cancelled when it is late: a connection that is cut off takes its time, too.
        done, _ = await asyncio.wait([self._asking], timeout=DATABASE_TIMEOUT_S)
        return self._asking.result() if done else None

    async def _count_jobs(self) -> Mapping[str, State] | None:
        try:
            async with self.database.connection() as connection:
                with explained(TROUBLE):  # the schema may not be there yet
                    found = await queue.depths(connection)
        except JanError:
            return None
        return dict.fromkeys(self.job_kinds, NOTHING_TO_DO) | found

    def _on_their_way(self) -> Iterator[Family]:
        models = {model.id: 0 for model in self.fleet.catalog.models}
        running = [passage.exchange for passage in self.passages.running]
        streams = Counter(each.model for each in running if each.is_stream and each.model)
        yield family(names.RUNNING, {(): self.running()})
        yield family(names.STREAMS, _by_model({**models, **streams}))
        yield family(names.WAITING, _by_model({**models, **self.fleet.waiting}))

    def _upstreams(self) -> Iterator[Family]:
        every = [
            ((each.endpoint.provider, each.id), each) for each in self.fleet.instances.values()
        ]
        states = {(*place, each.condition.state): 1 for place, each in every}
        yield family(names.UPSTREAM_STATE, states)
        yield family(names.UPSTREAM_CHANGES, self.checks.provider_changes)
        yield family(names.UPSTREAM_RUNNING, {place: each.running for place, each in every})

    def _usage(self) -> Iterator[Family]:
        every = self.recorders.items()
        yield family(names.USAGE_WAITING, {(table,): each.waiting_rows for table, each in every})
        yield family(names.USAGE_LOST, {(table,): each.lost_rows for table, each in every})

    def _connections(self) -> Iterator[Family]:
        every = {("primary",): self.database.pool}
        every |= {(each.name,): each.pool for each in self.database.replicas.every}
        free = {place: pool.get_idle_size() for place, pool in every.items()}
        used = {place: pool.get_size() - free[place] for place, pool in every.items()}
        most = {place: pool.get_max_size() for place, pool in every.items()}
        waiting = {place: pools.waiting(pool) for place, pool in every.items()}
        yield family(names.POOL_USED, used)
        yield family(names.POOL_IDLE, free)
        yield family(names.POOL_MOST, most)
        yield family(names.POOL_WAITING, waiting)

    def _replicas(self) -> Iterator[Family]:
        every = {(each.name,): each for each in self.database.replicas.every}
        known = {place: each for place, each in every.items() if math.isfinite(each.lag_s)}
        yield family(
            names.REPLICA_UP, {place: each.trouble is None for place, each in every.items()}
        )
        yield family(names.REPLICA_LAG, {place: each.lag_s for place, each in known.items()})
        yield family(names.REPLICA_READS, {place: each.reads for place, each in every.items()})


def _told(jobs: Mapping[str, State] | None) -> Iterator[Family]:
    yield family(names.DATABASE_UP, {(): jobs is not None})
    every = {} if jobs is None else {(kind,): state for kind, state in jobs.items()}
    yield family(names.JOBS_WAITING, {kind: state.waiting for kind, state in every.items()})
    yield family(names.JOBS_RUNNING, {kind: state.running for kind, state in every.items()})
    yield family(names.JOBS_FAILED, {kind: state.failed for kind, state in every.items()})
    yield family(names.JOBS_OVERDUE, {kind: state.overdue_s for kind, state in every.items()})


def _by_model(counts: Mapping[str, int]) -> Mapping[Labels, float]:
    return {(model,): count for model, count in counts.items()}
