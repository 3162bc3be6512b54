"""A real PgBouncer in transaction mode, before the tests' PostgreSQL."""

import asyncio
import os
import pwd
import shutil
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import asyncpg
import pytest

from jan.db import dsn, embedded
from tests import debian
from tests.conftest import PASSWORD
from tests.ports import free_port

DEADLINE_S = 10
SERVERS = 2
"""Connections to PostgreSQL, of each role and database. Far fewer than there are clients."""

CONFIGURATION = """
[databases]
* = host={host}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {servers}
max_client_conn = 500
"""


@asynccontextmanager
async def pooler(home: Path) -> AsyncGenerator[str]:
    """Run one before the server of this home. The value is its `host:port`."""
    program = debian.program("pgbouncer")
    if program is None:
        pytest.skip("needs PgBouncer (Debian's package `pgbouncer`)")
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="jan-pooler-"))
    users = folder / "users.txt"
    users.write_text(f'"{dsn.ROLE}" "{PASSWORD}"\n', encoding="utf-8")
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(host=dsn.socket_folder(home), port=port, users=users, servers=SERVERS),
        encoding="utf-8",
    )
    # It refuses to run as root, and must get to PostgreSQL's socket.
    user = embedded._owner(home)
    if user is not None:
        for path in (folder, users, configuration):
            os.chown(path, pwd.getpwnam(user).pw_uid, -1)
    process = await asyncio.create_subprocess_exec(
        *(program.path, configuration),
        user=user,
        env={**os.environ, **program.environ},
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        with anyio.fail_after(DEADLINE_S):
            while True:
                try:
                    await (await asyncpg.connect(url(f"127.0.0.1:{port}", "postgres"))).close()
                    break
                except OSError:
                    await asyncio.sleep(0.02)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()
        shutil.rmtree(folder)


def url(place: str, database: str) -> str:
    """Name a database through the pooler, for the role that requests run as."""
    return f"postgresql://{dsn.ROLE}:{PASSWORD}@{place}/{database}"
