"""The children of `jan serve`: how each is started, and when it counts as ready."""

import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import anyio
import structlog

from jan import listener, probe
from jan.db import embedded
from jan.keyring import Keyring
from jan.process import Child, ourselves, spawn
from jan.settings import Loaded
from jan.supervisor import schema
from jan.supervisor.board import Board
from jan.supervisor.gathering import Gathering

DATABASE = "database"
GATEWAY = "gateway"

GATEWAY_START_TIMEOUT_S = 60.0
FLUSH_GRACE_S = 15.0
"""What a drained gateway gets on top to end its jobs, and to write its usage rows."""

log = structlog.get_logger()


@dataclass
class Parts:
    """What the children have in common."""

    loaded: Loaded
    keyring: Keyring
    listener: socket.socket
    board: Board
    is_prepared: anyio.Event = field(default_factory=anyio.Event)
    """Set when the database has the schema of this program."""
    gathering: Gathering = field(default_factory=Gathering)
    """Where their metrics come together."""
    _database_ready: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        """Ask the listener where it listens now: it is closed while others still start."""
        self.url = listener.url(self.listener)
        self._port = self.listener.getsockname()[1]

    @asynccontextmanager
    async def gateway(self) -> AsyncGenerator[Child]:
        """Start a gateway worker. If we die it ends at once: the port has to be free."""
        self.board.working(GATEWAY, "starting")
        async with AsyncExitStack() as block:
            private = block.enter_context(self.gathering.asking())
            fds = self.listener.fileno(), private.fileno()
            child = await block.enter_async_context(
                spawn(
                    ourselves("gateway", "--managed", f"--fd={fds[0]}", f"--private-fd={fds[1]}"),
                    name=GATEWAY,
                    env=self.environment(),
                    pass_fds=fds,
                    stop_grace_s=self.loaded.settings.drain_grace_s + FLUSH_GRACE_S,
                    parent_death_signal=signal.SIGKILL,
                    on_line=self.board.relay(GATEWAY),
                )
            )
            private.close()  # or whoever asks would wait for one that is gone
            is_alive = partial(probe.answers, self.url, "/livez")
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
        url = settings.public_url or self.url
        await schema.prepare(settings, self.keyring, self.board, url=url)
        self.is_prepared.set()

    def environment(self, **changes: object) -> dict[str, str]:
        """Our settings for a child, with what was open in them settled."""
        settled = {
            "port": self._port,
            "log_format": self.board.log_format,
            "runner_socket": self.loaded.settings.runner_socket or "",
        }
        return self.loaded.environment(**{**settled, **changes})


def _log_postgres(line: str) -> None:
    """PostgreSQL's own levels, in our words. FATAL is the end of a session, not of the server."""
    level, _, _ = line.partition(":")
    known = {"WARNING": log.warning, "ERROR": log.warning, "PANIC": log.error}
    known.get(level, log.debug)(line, part=DATABASE)
