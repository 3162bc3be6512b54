"""The engines of this machine: as many of each model as are wanted, whoever wants them.

What the settings say starts at once. When the database is there, its rows say what is to run, and
are told what runs; while it is away, all goes on as it was said last. Nothing that one model does
holds up another.
"""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio
import anyio.abc
import asyncpg
import structlog
from anyio import to_thread

from jan import clock, sockets, telemetry
from jan.db import listen, opening
from jan.errors import JanError, Unavailable
from jan.fleet import node
from jan.fleet.running import Engine, Order, Registrar
from jan.inference import trouble
from jan.keyring import Keyring
from jan.runner.inventory import Running
from jan.runner.wishes import Assignment
from jan.settings import Loaded
from jan.supervisor import places, placing, steps
from jan.supervisor.instances import Ground, Instance
from jan.supervisor.keeper import Keeper
from jan.supervisor.placing import Placed, Wish
from jan.supervisor.resting import Resting

CHANNEL = "jan_fleet"
TURN_EVERY_S = 1.0
"""Whether or not anything was told. A look at some rows costs a millisecond."""
REST_S = 0.05
"""Between two turns: much that is told at once is one turn's work."""
BEAT_EVERY_S = 5.0
"""How often is told that the node is there."""
HARDWARE_EVERY_S = 60.0
"""How often is told what the machine has, and how much of it is free."""
AGAIN_S = 5.0
"""After which a place is looked for again: somebody else may have left the GPU."""
FAREWELL_S = 2.0
"""For the last rows, when the end is asked for."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Unplaced:
    """Why there is no place for an engine more of a model."""

    key: tuple[object, ...]
    """Of the order that it was looked for."""
    reason: str
    again_at_s: float


class Fleet:
    """Starts, replaces and stops engines, turn by turn."""

    def __init__(
        self,
        loaded: Loaded,
        keyring: Keyring,
        keeper: Keeper,
        environment: Callable[..., dict[str, str]],
    ) -> None:
        self.ground = Ground(loaded, keeper, environment, self.changed)
        self.settings = loaded.settings
        self.keyring = keyring
        self.registrar = Registrar(node.name(self.settings.home))
        self.orders: dict[str, Order] = {
            said.name: Order(None, said) for said in self.settings.deployments
        }
        """By the model: a node has one of each."""
        self.engines: dict[str, list[Instance]] = {}
        self._unplaced: dict[str, Unplaced] = {}
        self._resting = Resting()
        self._wake = anyio.Event()
        self._beaten_at_s: float | None = None
        self._looked_at_s = -math.inf
        self._running: dict[str, Running] = {}
        self._failing: set[str] = set()
        self._group: anyio.abc.TaskGroup | None = None

    def changed(self) -> None:
        """Have another turn soon."""
        self._wake.set()

    @asynccontextmanager
    async def running(self, is_prepared: anyio.Event) -> AsyncGenerator[None]:
        """Run all of them during the block. `is_prepared`: the database has its schema."""
        async with anyio.create_task_group() as group:
            self._group = group
            await self._attempt(self._take_steps)
            group.start_soon(self._control, is_prepared)
            try:
                yield
            finally:
                group.cancel_scope.cancel()

    async def _control(self, is_prepared: anyio.Event) -> None:
        await is_prepared.wait()
        async with (
            opening.database(
                self.settings, self.keyring, pool_size=2, application_name="jan serve"
            ) as database,
            anyio.create_task_group() as group,
        ):
            wake = lambda _: self.changed()  # noqa: E731 - for both
            group.start_soon(listen.listen, database.dsn, CHANNEL, wake, wake)
            group.start_soon(self._resting.watch, self._that_may_rest)
            try:
                while True:
                    await self._turn()
                    await anyio.sleep(REST_S)
                    with anyio.move_on_after(TURN_EVERY_S):
                        await self._wake.wait()
            finally:
                with anyio.move_on_after(FAREWELL_S, shield=True):
                    await self._leave()

    async def _turn(self) -> None:
        """Learn what is wanted, do what follows, and tell how far it is."""
        self._wake = anyio.Event()
        is_there = await self._attempt(self._learn)
        await self._attempt(self._take_steps)
        if is_there:
            await self._attempt(self._tell)

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do something that may fail without harm to what runs: it is done again at each turn."""
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - whatever it is, what runs goes on
            if work.__name__ not in self._failing:  # once, not at every turn
                log.warning("a turn came to nothing", **telemetry.brief(error))
            self._failing.add(work.__name__)
            return False
        self._failing.discard(work.__name__)
        return True

    async def _learn(self) -> None:
        await self._beat()
        self._obey(await self.registrar.orders())
        await self._let_rest()

    async def _beat(self) -> None:
        """Tell that the node is there, if it is time for that."""
        now_s = clock.monotonic_s()
        is_new = self._beaten_at_s is None
        if self._beaten_at_s is not None:
            if now_s < self._beaten_at_s + BEAT_EVERY_S:
                return
            is_new = not await self.registrar.seen(await self._hardware(now_s))
        if is_new:
            self._looked_at_s = -math.inf
            found = await self._hardware(now_s)
            await self.registrar.begin(found or {}, self.settings.deployments)
        self._beaten_at_s = now_s

    async def _hardware(self, now_s: float) -> dict[str, Any] | None:
        """Look at the machine, unless that was done a moment ago, with the same engines on it."""
        running = {
            engine.endpoint_id: Running(engine.said.name, engine.assignment or Assignment())
            for engines in self.engines.values()
            for engine in engines
        }
        if now_s < self._looked_at_s + HARDWARE_EVERY_S and running == self._running:
            return None
        self._looked_at_s, self._running = now_s, running
        return await to_thread.run_sync(placing.told, self.settings, running)

    def _obey(self, orders: Sequence[Order]) -> None:
        """Take what is wanted from now on."""
        self.orders = {order.said.name: order for order in orders}
        for model, engines in self.engines.items():
            order = self.orders.get(model)
            for engine in engines:
                if order is None or order.id is None:
                    engine.is_current = False
                    continue
                epoch = (order.id, order.generation)
                if engine.epoch is None and engine.said.engine_args == order.said.engine_args:
                    engine.epoch = epoch
                engine.is_current = engine.epoch == epoch

    async def _take_steps(self) -> None:
        """Start and end what has to be started and ended."""
        starts: list[Order] = []
        for model in {*self.orders, *self.engines}:
            engines = self.engines.setdefault(model, [])
            order = self.orders.get(model)
            count, replace = (order.count, order.said.replace) if order else (0, "surge")
            step = steps.following(count, replace, engines)
            for engine in step.retire:
                engine.is_retiring = True
                self._soon(engine.retire)
            if order is not None:
                starts += [order] * step.start
            if not engines and order is None:
                del self.engines[model]
        self._unplaced = {
            model: seen
            for model, seen in self._unplaced.items()
            if (order := self.orders.get(model)) and order.key == seen.key
        }
        now_s = clock.monotonic_s()
        starts = [
            order
            for order in starts
            if (seen := self._unplaced.get(order.said.name)) is None or now_s >= seen.again_at_s
        ]
        if starts:
            await self._start(starts, now_s)

    async def _start(self, starts: Sequence[Order], now_s: float) -> None:
        """Start one engine for each, where there is a place for it."""
        every = [engine for engines in self.engines.values() for engine in engines]
        running = [Placed(each.endpoint_id, each.said, each.assignment) for each in every]
        wishes: list[Wish] = []
        for number, order in enumerate(starts):
            old = [each for each in self.engines[order.said.name] if not each.is_current]
            replaces = old[0].endpoint_id if old else None
            wishes.append(Wish(str(number), order.said, replaces))
        plan = await placing.place(self.settings, running, wishes)
        for number, order in enumerate(starts):
            model, assignment = order.said.name, plan.placed.get(str(number))
            if assignment is None:
                reason = plan.refused.get(str(number), "there is no place for it")
                reason = f"It does not fit: {reason}."
                if (seen := self._unplaced.get(model)) is None or seen.reason != reason:
                    part = places.part_of(self.settings, model, 1)
                    self.ground.board.failed(part, Unavailable(reason), again_in_s=AGAIN_S)
                self._unplaced[model] = Unplaced(order.key, reason, now_s + AGAIN_S)
                continue
            self._unplaced.pop(model, None)
            self._begin(order, assignment)

    def _begin(self, order: Order, assignment: Assignment) -> None:
        model = order.said.name
        engines = self.engines[model]
        taken = {engine.number for engine in engines}
        number = next(number for number in range(1, len(taken) + 2) if number not in taken)
        engine = Instance(
            self.ground,
            order.said,
            number,
            places.part_of(self.settings, model, number),
            None if order.id is None else (order.id, order.generation),
            places.socket_of(self.settings, model, number),
            assignment,
        )
        engines.append(engine)
        self._resting.forget(model)
        self._soon(self._live, engine, engines)

    async def _live(self, engine: Instance, engines: list[Instance]) -> None:
        try:
            await engine.run()
        finally:
            engines.remove(engine)
            self._unplaced.clear()  # there is room now
            self.changed()

    def _soon(self, *work: object) -> None:
        assert self._group is not None
        self._group.start_soon(*work)  # pyright: ignore[reportArgumentType] - as it is given

    async def _tell(self) -> None:
        """Write down what runs, and how far everything is."""
        every = [engine for engines in self.engines.values() for engine in engines]
        rows = [
            row
            for model, order in self.orders.items()
            for row in self._rows(order, self.engines.get(model, []))
        ]
        for url in await self.registrar.write(rows):
            path = Path(unquote(url.removeprefix("unix://")))
            if all(engine.socket != path for engine in every):  # an earlier life's
                trouble.clear(path)
                sockets.leave(path)
        for engine in every:
            if engine.is_retiring:
                engine.told.set()
            elif engine.is_shown and engine.is_news:
                await self._spread(engine)
        for model, order in self.orders.items():
            unplaced = self._unplaced.get(model)
            engines = self.engines.get(model, [])
            told = steps.standing(order, engines, unplaced and unplaced.reason)
            if _differ(order, told):
                await self.registrar.tell(order, *told)

    def _rows(self, order: Order, engines: Sequence[Instance]) -> Iterator[Engine]:
        """Tell which engines of a deployment are to have rows."""
        said = order.said
        # Requests that somebody else answers, or that may wait, are not sent there too early.
        is_early = any(engine.is_ready for engine in engines)
        is_early |= said.idle_unload_s is not None or said.replace == "recreate"
        for engine in engines:
            engine.is_shown |= engine.has_been_ready or not is_early or engine.failure is not None
            if engine.epoch is None or engine.epoch[0] != order.id:
                continue  # the row went with another deployment's
            if engine.is_shown and not engine.is_leaving:
                most = said.max_running
                if most is None and engine.assignment is not None:
                    most = engine.assignment.max_running
                yield Engine(
                    id=engine.endpoint_id,
                    deployment_id=engine.epoch[0],
                    generation=engine.epoch[1],
                    url=engine.url,
                    max_running=most,
                    is_draining=engine.is_retiring,
                    is_ready=engine.is_ready,
                    served=engine.served,
                )

    async def _spread(self, engine: Instance) -> None:
        """Tell the gateways what they would find out by themselves only later."""
        engine.is_news = False
        if engine.is_ready:
            await self.registrar.well(engine.endpoint_id, engine.served)
        else:
            await self.registrar.doubt(engine.endpoint_id)

    def _that_may_rest(self) -> dict[str, list[Path]]:
        """Tell where the engines of models are that may be unloaded, and that all run."""
        return {
            model: [engine.socket for engine in engines]
            for model, order in self.orders.items()
            if order.said.idle_unload_s is not None
            and (engines := self.engines.get(model))
            and all(engine.is_ready for engine in engines)
        }

    async def _let_rest(self) -> None:
        """Unload what nobody has asked for as long as its deployment allows."""
        now_s = clock.monotonic_s()
        for model, order in self.orders.items():
            idle_s, since_s = order.said.idle_unload_s, self._resting.since_s.get(model)
            if idle_s is None or since_s is None or order.wanted != "loaded":
                continue
            if now_s - since_s >= idle_s:
                part = places.part_of(self.settings, model, 1)
                log.info("unloading what nobody asks for", part=part)
                await self.registrar.rest(order)
                self.changed()

    async def _leave(self) -> None:
        """Tell, as far as that can be done, that nothing runs any more."""
        try:
            await self.registrar.write([])
            for order in self.orders.values():
                if order.wanted == "loaded":
                    await self.registrar.tell(order, "pending", "`jan serve` has stopped.", None)
        except (JanError, asyncpg.PostgresError):
            return  # the next start puts it right


def _differ(order: Order, told: tuple[str, str, float | None]) -> bool:
    status, message, share = told
    before = None if order.share is None else round(order.share, 2)
    after = None if share is None else round(share, 2)
    return (order.status, order.message, before) != (status, message, after)
