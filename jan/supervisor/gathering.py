"""The metrics of all processes of `jan serve`, as one text.

Each gateway process is asked over a socket of its own, and so is each engine, all at once, when
somebody asks us; who does not answer in time is left out, and holds nobody up. What counts up is
added over gateway processes. Of one that died, or does not answer, what it said last counts: a sum
never falls while we live, and of a `kill -9` it lacks what was done since the last question. What
is at this moment (streams, queues) is only told by who lives.

The multi-process mode of Prometheus' library would lose nothing, but it keeps each number in a
mapped file: slower for each request, without the functions that look up how things stand, and with
a folder to sweep after the dead.
"""

import asyncio
import socket
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import Metric as Family

from jan import sockets
from jan.metrics import asking, families, names
from jan.supervisor.instances import Instance

TIMEOUT_S = 0.9
"""A gateway process itself gives the database half a second."""
OURSELVES = "serve"
ENGINES = "vllm:"
"""Begins all that is an engine's own. What it says of Python and of HTTP is left out."""


@dataclass(eq=False)
class Worker:
    """A gateway process that can be asked."""

    name: str
    address: str
    said: Sequence[Family] = ()
    """Last."""


@dataclass
class Gathering:
    """Who can be asked."""

    engines: Mapping[str, Sequence[Instance]] = field(default_factory=dict[str, Sequence[Instance]])
    """Those of this machine, by model."""
    _workers: list[Worker] = field(default_factory=list[Worker], init=False)
    _past: list[Family] = field(default_factory=list[Family], init=False)
    """What gateway processes counted that are no more."""

    @contextmanager
    def asking(self) -> Generator[socket.socket]:
        """Ask who listens on this socket, during the block, and remember after it what they said.

        They get the lowest number that is free.
        """
        taken = {worker.name for worker in self._workers}
        numbered = (f"gateway-{number}" for number in range(1, len(taken) + 2))
        with sockets.nameless() as private:
            name = next(name for name in numbered if name not in taken)
            worker = Worker(name, private.getsockname().decode())
            self._workers.append(worker)
            try:
                yield private
            finally:
                self._workers.remove(worker)
                self._past = families.merged({}, [self._past, worker.said])

    async def collect(self) -> list[Family]:
        """Tell everything, within little more than `TIMEOUT_S`."""
        workers = list(self._workers)
        engines = [each for running in self.engines.values() for each in running]
        said, told = await asyncio.gather(
            asyncio.gather(*(_ask(each.address) for each in workers)),
            asyncio.gather(*(_ask(each.socket if each.is_ready else None) for each in engines)),
        )
        answers = [
            (worker, answer)
            for worker, answer in zip(workers, said, strict=True)
            if answer is not None and worker in self._workers
        ]
        for worker, answer in answers:
            worker.said = answer
        answered = [worker for worker, _ in answers]
        past = [worker.said for worker in self._workers if worker not in answered]
        processes = {worker.name: worker.said for worker in answered}
        processes[OURSELVES] = list(ProcessCollector(registry=None).collect())
        return [
            *families.merged(processes, [self._past, *past]),
            families.family(names.WORKERS, {(): len(answered)}),
            *_of_engines(zip(engines, told, strict=True)),
        ]


def _of_engines(told: Iterable[tuple[Instance, Sequence[Family] | None]]) -> Iterator[Family]:
    up: dict[families.Labels, float] = {}
    found: list[tuple[Mapping[str, str], Sequence[Family]]] = []
    for engine, answer in told:
        labels = {"model": engine.said.name, "replica": str(engine.number)}
        up[tuple(labels.values())] = answer is not None
        found.append((labels, answer or ()))
    yield families.family(names.ENGINE_UP, up)
    yield from families.labelled(found, ENGINES)


async def _ask(address: Path | str | None) -> Sequence[Family] | None:
    if address is None:
        return None
    answer = await asking.told(address, timeout_s=TIMEOUT_S)
    try:
        return None if answer is None else families.read(answer)
    except ValueError:  # it was cut short
        return None
