"""The children of `jan serve`: how each is started, and when it counts as ready."""

import signal
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import structlog

from jan import listener, probe, sockets
from jan.db import embedded
from jan.errors import COMPLAINT, JanError
from jan.inference import trouble
from jan.keyring import Keyring
from jan.process import Child, ourselves, spawn
from jan.runner import prepare, progress
from jan.settings import Loaded
from jan.supervisor import schema
from jan.supervisor.board import Board
from jan.supervisor.keeper import PartFailed

DATABASE = "database"
GATEWAY = "gateway"
ENGINE = "engine"
MODEL = "model"

GATEWAY_START_TIMEOUT_S = 60.0
FLUSH_GRACE_S = 15.0
"""What a drained gateway gets on top to end its jobs, and to write its usage rows."""
RUNNER_GRACE_S = 5.0
"""What a runner gets on top of its engine's grace."""

log = structlog.get_logger()


@dataclass
class Parts:
    """What the children have in common."""

    loaded: Loaded
    keyring: Keyring
    listener: socket.socket
    board: Board
    _database_ready: anyio.Event = field(default_factory=anyio.Event)

    @asynccontextmanager
    async def gateway(self) -> AsyncGenerator[Child]:
        """Start a gateway worker. If we die it ends at once: the port has to be free."""
        self.board.working(GATEWAY, "starting")
        url = listener.url(self.listener)
        descriptor = self.listener.fileno()
        async with spawn(
            ourselves("gateway", "--fd", str(descriptor)),
            name=GATEWAY,
            env=self._environment(),
            pass_fds=(descriptor,),
            stop_grace_s=self.loaded.settings.drain_grace_s + FLUSH_GRACE_S,
            parent_death_signal=signal.SIGKILL,
            on_line=self.board.relay(GATEWAY),
        ) as child:
            is_alive = partial(probe.answers, url, "/livez")
            await child.until_ready(is_alive, timeout_s=GATEWAY_START_TIMEOUT_S)
            self.board.ready(GATEWAY, f"process {child.pid}")
            yield child

    @asynccontextmanager
    async def database(self) -> AsyncGenerator[Child]:
        """Start our own PostgreSQL."""
        self.board.working(DATABASE, "starting PostgreSQL")
        home, password = self.loaded.settings.home, self.keyring.database_password
        async with embedded.running(home, password, on_line=_log_postgres) as child:
            self.board.ready(DATABASE, f"process {child.pid}")
            self._database_ready.set()
            yield child

    async def prepare_database(self) -> None:
        """Do what is to be done once, when the database is there. Raises as `schema.prepare`."""
        if self.loaded.settings.manages_database:
            await self._database_ready.wait()
        settings = self.loaded.settings
        url = settings.public_url or listener.url(self.listener)
        await schema.prepare(settings, self.keyring, self.board, url=url)

    @asynccontextmanager
    async def runner(self) -> AsyncGenerator[Child]:
        """Install what is missing, start the runner, and wait until its model answers."""
        settings = self.loaded.settings
        with _part(ENGINE):
            prepare.require_model(settings)
            engine = await prepare.engine_for(settings, partial(self.board.working, ENGINE))
        self.board.ready(ENGINE, engine.name)
        report = partial(self.board.working, MODEL)
        model = await prepare.model_for(settings, engine, report)
        report(f"Loading {model.name}", None)
        # An engine whose runner was killed may answer there for some seconds more.
        sockets.make_way(self.engine_socket)
        is_ready = is_over = False

        def on_line(line: str) -> None:
            """Take its words: where it is while it loads, later what an operator has to know.

            Why it ends, and all that follows, is told with the failure.
            """
            nonlocal is_over
            is_over = is_over or line.startswith(COMPLAINT)
            if is_over:
                return
            if is_ready:
                log.info(line, part=MODEL)
            else:
                report(*progress.parsed(line))

        async with spawn(
            ourselves("runner"),
            name="runner",
            env=self._environment(),
            stop_grace_s=settings.runner_stop_grace_s + RUNNER_GRACE_S,
            parent_death_signal=signal.SIGTERM,  # it has an engine to stop
            on_line=on_line,
        ) as child:
            is_loaded = partial(probe.answers, settings.runner_url, "/health")
            await child.until_ready(is_loaded, timeout_s=settings.runner_start_timeout_s)
            is_ready = True
            trouble.clear(self.engine_socket)
            self.board.ready(MODEL, model.name)
            yield child

    def tell_gateways(self, error: JanError, is_broken: bool) -> None:
        """Let `/readyz` say why there is no engine, rather than that nobody listens."""
        words = f"The engine keeps failing: {error.message}" if is_broken else error.message
        trouble.tell(self.engine_socket, words)

    @property
    def engine_socket(self) -> Path:
        """Where our engine listens, if we have one."""
        path = self.loaded.settings.runner_socket
        assert path is not None
        return path

    def _environment(self) -> dict[str, str]:
        """Our settings, with what was open in them settled."""
        settled = {
            "port": self.listener.getsockname()[1],
            "log_format": self.board.log_format,
            "runner_socket": self.loaded.settings.runner_socket or "",
        }
        return self.loaded.environment(**settled)


@contextmanager
def _part(part: str) -> Generator[None]:
    """Tell what goes wrong in the block of that part, and not of what it is needed for."""
    try:
        yield
    except JanError as error:
        raise PartFailed(part, error) from error


def _log_postgres(line: str) -> None:
    """PostgreSQL's own levels, in our words. FATAL is the end of a session, not of the server."""
    level, _, _ = line.partition(":")
    known = {"WARNING": log.warning, "ERROR": log.warning, "PANIC": log.error}
    known.get(level, log.debug)(line, part=DATABASE)
