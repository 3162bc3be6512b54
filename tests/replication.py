"""A real primary with two real streaming replicas, which can be stopped and started again."""

import asyncio
import shutil
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import asyncpg

from jan.db import dsn, embedded, migrate
from jan.db.engine import connect
from tests.conftest import PASSWORD, new_home

DEADLINE_S = 20
SETTINGS = {**embedded.SETTINGS, "fsync": "off", "max_standby_streaming_delay": "1s"}

_numbers = count(1)


@dataclass
class Server:
    """A PostgreSQL on a data folder that is there."""

    home: Path
    programs: Path
    owner: str | None
    name: str
    process: Process | None = None

    @property
    def data(self) -> Path:
        """Where its data is."""
        return self.home / "postgres" / self.name

    @property
    def socket(self) -> Path:
        """The folder that its socket is in."""
        return self.home / "postgres" / f"{self.name}.run"

    def url(self, database: str, role: str = dsn.ROLE) -> str:
        """Name a database of it."""
        return f"postgresql://{role}:{PASSWORD}@/{database}?host={self.socket}"

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        if not self.socket.exists():
            self.socket.mkdir(mode=0o700)
            if self.owner:
                shutil.chown(self.socket, self.owner)
        said = [f"--{name}={value}" for name, value in SETTINGS.items()]
        said.append(f"--cluster_name={self.name}")
        self.process = await self._run("postgres", "-D", self.data, "-k", self.socket, *said)
        with anyio.fail_after(DEADLINE_S):
            while True:
                try:
                    await self.fetchval("SELECT 1")
                except (OSError, asyncpg.CannotConnectNowError):
                    await asyncio.sleep(0.02)
                else:
                    return

    async def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it: neatly, or by SIGKILL."""
        if self.process is None:
            return
        self.process.send_signal(number)
        with anyio.fail_after(DEADLINE_S):
            await self.process.wait()
        self.process = None

    async def copy_to(self, name: str) -> "Server":
        """Make a replica of it."""
        made = Server(self.home, self.programs, self.owner, name)
        conninfo = f"host={self.socket} user={dsn.SUPERUSER} password={PASSWORD}"
        copying = await self._run(
            *("pg_basebackup", "-d", conninfo, "-D", made.data, "-R", "-X", "stream"),
            "--checkpoint=fast",
        )
        with anyio.fail_after(DEADLINE_S):
            assert await copying.wait() == 0
        return made

    async def fetchval(self, query: str) -> Any:
        """Ask it, as its superuser."""
        connection = await asyncpg.connect(self.url("postgres", dsn.SUPERUSER), timeout=DEADLINE_S)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    async def _run(self, program: str, *arguments: object) -> Process:
        return await asyncio.create_subprocess_exec(
            self.programs / program,
            *map(str, arguments),
            stdout=DEVNULL,
            stderr=DEVNULL,
            env=embedded._environment(),
            user=self.owner,
        )


@dataclass
class Cluster:
    """They run, and hold the same."""

    primary: Server
    replicas: list[Server]

    @property
    def servers(self) -> list[Server]:
        """All of them."""
        return [self.primary, *self.replicas]

    async def new_database(self) -> str:
        """Make a database with Jan's schema, everywhere. Returns its name."""
        name = f"test_{next(_numbers)}"
        await self.primary.fetchval(
            f"CREATE DATABASE {name} OWNER {dsn.OWNER} TEMPLATE {dsn.DATABASE}"
        )
        await self.until_same()
        return name

    async def until_same(self) -> None:
        """Wait until the replicas have all that the primary has now."""
        lsn = await self.primary.fetchval("SELECT pg_current_wal_flush_lsn()::text")
        with anyio.fail_after(DEADLINE_S):
            for replica in self.replicas:
                while not await replica.fetchval(f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'"):
                    await asyncio.sleep(0.01)

    async def pause(self) -> None:
        """Have the replicas fall behind from now on."""
        for replica in self.replicas:
            await replica.fetchval("SELECT pg_wal_replay_pause()")
            while await replica.fetchval("SELECT pg_get_wal_replay_pause_state()") != "paused":
                await asyncio.sleep(0.01)

    async def resume(self) -> None:
        """Let them catch up."""
        for replica in self.replicas:
            await replica.fetchval("SELECT pg_wal_replay_resume()")

    async def heal(self) -> None:
        """Have all of them run as at the start, whatever was done to them."""
        for server in self.servers:
            if server.process is None or server.process.returncode is not None:
                await server.start()
        await self.resume()
        await self.until_same()


@asynccontextmanager
async def running() -> AsyncGenerator[Cluster]:
    """Run them during the block."""
    home = new_home()
    async with embedded.running(home, PASSWORD):
        owner_url = dsn.own(home, dsn.OWNER, dsn.DATABASE, PASSWORD)
        async with connect(owner_url, pool_size=1, application_name="template") as database:
            await migrate.up(database, role=dsn.ROLE)
    owner = embedded._owner(home)
    programs = embedded._programs(home / "postgres", owner)
    primary = Server(home, programs, owner, "data")
    cluster = Cluster(primary, [])
    try:
        await primary.start()
        for name in ("replica-1", "replica-2"):
            replica = await primary.copy_to(name)
            cluster.replicas.append(replica)
            await replica.start()
        yield cluster
    finally:
        for server in reversed(cluster.servers):
            await server.stop()
        shutil.rmtree(home)
