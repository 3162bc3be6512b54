"""One engine of a model: a `jan runner` that is kept running, and drained before it ends."""

import signal
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote

import anyio
import msgspec
import structlog

from jan import ids, probe, sockets
from jan.deployments import Deployment
from jan.errors import COMPLAINT, JanError, Misconfigured, NotFound
from jan.inference import trouble
from jan.inference.client import Client
from jan.inference.look import Busy, Unwell, look
from jan.inference.registry import Endpoint, Served
from jan.process import Child, ourselves, spawn
from jan.runner import description, load, prepare, progress
from jan.runner.store import Model
from jan.runner.wishes import Assignment
from jan.settings import Loaded, Settings
from jan.supervisor.board import Board
from jan.supervisor.keeper import Keeper, PartFailed

ENGINE = "engine"
MODEL = "model"

RUNNER_GRACE_S = 5.0
"""What a runner gets on top of its engine's grace."""
NOTICE_S = 1.5
"""From the word that an engine is to end until every gateway has it, and has sent what was on the
way there."""
TOLD_TIMEOUT_S = 10.0
"""For that word to be written. After that it ends without."""
LOOK_EVERY_S = 0.25
LOOKS = 2
"""In a row at which nothing is to do: a request may come between two that belong together."""

log = structlog.get_logger()


@dataclass
class Ground:
    """What engines of this machine have in common."""

    loaded: Loaded
    keeper: Keeper
    environment: Callable[..., dict[str, str]]
    """Of children, with settings of their own."""
    changed: Callable[[], None]
    """Told when something about an engine is new."""
    installing: anyio.Lock = field(default_factory=anyio.Lock)
    """Engine and demonstration model are installed once, whoever needs them first."""

    @property
    def board(self) -> Board:
        """Where is told what goes on."""
        return self.keeper.board


@dataclass(eq=False)
class Instance:
    """It starts with `run`, and is over when that returns."""

    ground: Ground
    said: Deployment
    number: int
    """Among the engines of this model: no two that live have the same."""
    part: str
    """Its line on the board."""
    epoch: tuple[str, int] | None
    """Deployment and generation that it was started for. None: what the settings say, before the
    database was there."""
    socket: Path
    assignment: Assignment | None = None
    """Its part of the machine."""
    endpoint_id: str = field(default_factory=lambda: ids.new("ep"))
    is_current: bool = True
    is_ready: bool = False
    has_been_ready: bool = False
    is_retiring: bool = False
    is_shown: bool = False
    """Whether it has a row. One that starts beside others gets its own when it can answer."""
    is_leaving: bool = False
    """Its row is to go: it has nothing to do any more."""
    served: tuple[Served, ...] = ()
    """What it listed when it became ready."""
    is_news: bool = False
    """Whether it has become ready, or has died, and nobody was told yet."""
    failure: str | None = None
    is_broken: bool = False
    detail: str = ""
    share: float | None = None
    told: anyio.Event = field(default_factory=anyio.Event)
    """Set when its row says that it is to end."""
    _ending: anyio.Event = field(default_factory=anyio.Event)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"unix://{quote(str(self.socket))}"

    async def run(self) -> None:
        """Keep it running until it is to end."""
        keeping = self.ground.keeper.keeping(
            self.part, self.start, is_vital=False, on_failure=self._failed
        )
        try:
            async with keeping:
                await self._ending.wait()
        finally:
            trouble.clear(self.socket)
            sockets.leave(self.socket)
            self.ground.board.gone(self.part)

    async def retire(self) -> None:
        """End it, after what it does: nothing new is sent to one of which this is known."""
        self.is_retiring = True
        self.ground.changed()
        if self.is_ready:
            with anyio.move_on_after(TOLD_TIMEOUT_S):
                await self.told.wait()
            await self._until_quiet(self.ground.loaded.settings.drain_grace_s)
        self.is_leaving = True
        self.ground.changed()
        self._ending.set()

    async def _until_quiet(self, grace_s: float) -> None:
        with anyio.move_on_after(NOTICE_S):
            await self._ending.wait()
        with anyio.move_on_after(grace_s):
            quiet = 0
            while quiet < LOOKS and self.is_ready:
                seen = await load.read(self.socket)
                quiet = quiet + 1 if seen is not None and not seen.requests else 0
                with anyio.move_on_after(LOOK_EVERY_S):
                    await self._ending.wait()

    @asynccontextmanager
    async def start(self) -> AsyncGenerator[Child]:
        """Install what is missing, start the runner, and wait until its model answers."""
        settings, board = self._settings, self.ground.board
        async with self.ground.installing:
            with _part(ENGINE):
                self._require_model()
                engine = await prepare.engine_for(settings, partial(self._report, ENGINE))
            board.ready(ENGINE, engine.name)
            report = partial(self._report, self.part)
            model = await prepare.model_for(settings, engine, report)
        report(f"Loading {model.name}", None)
        # An engine whose runner was killed may answer there for some seconds more.
        sockets.make_way(self.socket)
        is_over = False

        def on_line(line: str) -> None:
            """Take its words: where it is while it loads, later what an operator has to know.

            Why it ends, and all that follows, is told with the failure.
            """
            nonlocal is_over
            is_over = is_over or line.startswith(COMPLAINT)
            if is_over:
                return
            if self.is_ready:
                log.info(line, part=self.part)
            else:
                report(*progress.parsed(line))

        # As flags: an empty variable would not win over a configuration file.
        flags = ["--model", model.name, f"--engine-args={self.said.engine_args}"]
        if self.assignment is not None:
            flags += ["--assignment", msgspec.json.encode(self.assignment).decode()]
        async with spawn(
            ourselves("runner", *flags),
            name="runner",
            env=self.ground.environment(runner_socket=self.socket),
            stop_grace_s=settings.runner_stop_grace_s + RUNNER_GRACE_S,
            parent_death_signal=signal.SIGTERM,  # it has an engine to stop
            on_line=on_line,
        ) as child:
            is_loaded = partial(probe.answers, self.url, "/health")
            await child.until_ready(is_loaded, timeout_s=settings.runner_start_timeout_s)
            self.served = await self._list(model)
            self.is_ready = self.has_been_ready = self.is_news = True
            self.is_broken, self.failure, self.detail, self.share = False, None, "", None
            trouble.clear(self.socket)
            board.ready(self.part, model.name)
            self.ground.changed()
            try:
                yield child
            finally:
                self.is_ready = False

    async def _list(self, model: Model) -> tuple[Served, ...]:
        """Ask it for its models, so that the first who hears of it can send it requests.

        What the model can do its engine does not tell; its folder does.
        """
        settings = self.ground.loaded.settings
        client = Client(self.url, connect_timeout_s=settings.connect_timeout_s)
        try:
            endpoint = Endpoint(id=self.endpoint_id, url=self.url)
            listed = await look(client, endpoint, timeout_s=settings.health_timeout_s)
        except (Unwell, Busy):  # whoever looks after it finds out
            return ()
        finally:
            client.close()
        able = description.capabilities(model.folder)
        told = None if able is None else tuple(able)
        return tuple(
            msgspec.structs.replace(each, capabilities=told) if each.id == model.name else each
            for each in listed
        )

    @property
    def _settings(self) -> Settings:
        return self.ground.loaded.settings.model_copy(
            update={
                "model": self.said.name,
                "engine_args": self.said.engine_args,
                "runner_socket": self.socket,
            }
        )

    def _require_model(self) -> None:
        try:
            prepare.require_model(self._settings)
        except NotFound as error:
            # It will not come by itself, however often it is looked for.
            raise Misconfigured(error.message, hint=error.hint) from None

    def _report(self, part: str, detail: str, share: float | None) -> None:
        self.ground.board.working(part, detail, share)
        self.detail, self.share = detail, share

    def _failed(self, error: JanError, is_broken: bool) -> None:
        """Let `/readyz` say why there is no engine, rather than that nobody listens."""
        self.failure, self.is_broken, self.is_news = error.message, is_broken, self.has_been_ready
        words = f"The engine keeps failing: {error.message}" if is_broken else error.message
        trouble.tell(self.socket, words)
        if self.is_retiring:
            self._ending.set()  # none that is to end is started again
        self.ground.changed()


@contextmanager
def _part(part: str) -> Generator[None]:
    """Tell what goes wrong in the block of that part, and not of what it is needed for."""
    try:
        yield
    except JanError as error:
        raise PartFailed(part, error) from error
