"""Jan's own PostgreSQL: private, crash-safe, and never two of it."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import asyncpg
import pytest

from jan.db import dsn, embedded
from jan.errors import Conflict, Misconfigured

PASSWORD = "s" * 64

pytestmark = pytest.mark.slow


@asynccontextmanager
async def connected(home: Path, role: str = dsn.ROLE) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn.own(home, role, dsn.DATABASE, PASSWORD))
    try:
        yield connection
    finally:
        await connection.close()


def _runs(pid: int) -> bool:
    """A process that nobody has buried yet has no command line any more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


async def test_it_is_private_checked_and_durable(home: Path) -> None:
    async with embedded.running(home, PASSWORD):
        async with connected(home) as connection:
            shown = {
                name: await connection.fetchval(f"SHOW {name}")
                for name in ("listen_addresses", "data_checksums", "fsync", "server_version")
            }
            role = await connection.fetchrow("SELECT * FROM pg_user WHERE usename = 'jan'")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(dsn.own(home, dsn.ROLE, dsn.DATABASE, "wrong"))

    assert shown["listen_addresses"] == ""
    assert (shown["data_checksums"], shown["fsync"]) == ("on", "on")
    assert shown["server_version"]
    assert shown["server_version"].startswith(embedded.MAJOR)
    assert role
    assert not role["usesuper"]
    assert stat.S_IMODE((home / "postgres/data").stat().st_mode) == 0o700
    assert list(dsn.socket_folder(home).iterdir()) == []


async def test_what_was_committed_is_there_after_a_kill(home: Path) -> None:
    async with embedded.running(home, PASSWORD) as child:
        async with connected(home, dsn.OWNER) as connection:
            await connection.execute("CREATE TABLE t AS SELECT 42 AS n")
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()

    async with embedded.running(home, PASSWORD), connected(home, dsn.OWNER) as connection:
        assert await connection.fetchval("SELECT n FROM t") == 42


async def test_a_creation_that_was_killed_half_way_is_done_again(home: Path) -> None:
    (home / "postgres").mkdir(mode=0o700)
    (home / "postgres/data.new").mkdir()
    (home / "postgres/data.new/PG_VERSION").write_text("18")

    async with embedded.running(home, PASSWORD), connected(home) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_data_of_another_major_version_is_refused_and_left_alone(home: Path) -> None:
    data = home / "postgres/data"
    data.mkdir(parents=True, mode=0o700)
    (home / "postgres").chmod(0o700)
    (data / "PG_VERSION").write_text("16\n")

    with pytest.raises(Misconfigured, match="PostgreSQL 16"):
        async with embedded.running(home, PASSWORD):
            pass

    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


async def test_another_password_is_refused_with_a_reason(home: Path) -> None:
    async with embedded.running(home, PASSWORD):
        pass

    with pytest.raises(Misconfigured, match="password"):
        async with embedded.running(home, "t" * 64):
            pass


async def test_a_second_one_waits_for_the_first_and_then_gives_up(home: Path) -> None:
    async with embedded.running(home, PASSWORD):
        with pytest.raises(Conflict):
            async with embedded.running(home, PASSWORD, lock_timeout_s=0.2):
                pass


async def test_a_home_with_a_long_path_works(home: Path) -> None:
    long = home / ("x" * 120)

    async with embedded.running(long, PASSWORD), connected(long) as connection:
        assert await connection.fetchval("SELECT 1") == 1

    shutil.rmtree(dsn.socket_folder(long))


async def test_somebody_elses_socket_folder_is_refused(home: Path) -> None:
    long = home / ("x" * 120)
    folder = dsn.socket_folder(long)
    folder.mkdir(mode=0o755)
    os.chown(folder, 12345, 12345)
    try:
        with pytest.raises(Misconfigured, match="does not belong to Jan alone"):
            async with embedded.running(long, PASSWORD):
                pass
    finally:
        folder.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as somebody else")
async def test_root_runs_it_as_somebody_else_who_must_get_there(home: Path) -> None:
    async with embedded.running(home, PASSWORD) as child:
        assert Path(f"/proc/{child.pid}").stat().st_uid != 0

    (home / "closed").mkdir(mode=0o700)
    with pytest.raises(Misconfigured, match="can't enter") as refusal:
        async with embedded.running(home / "closed/home", PASSWORD):
            pass
    assert refusal.value.hint
    assert str(home / "closed") in refusal.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_an_ordinary_user_runs_it_as_itself(home: Path, tmp_path: Path) -> None:
    """In a process of its own: there is no way back from another user."""
    program = f"""
import asyncio, asyncpg, encodings.idna, os, queue, ssl
from pathlib import Path
from jan.db import embedded
os.setgroups([]); os.setgid(65534); os.setuid(65534)
async def main():
    async with embedded.running(Path({str(home / "own")!r}), {PASSWORD!r}) as child:
        print(Path(f"/proc/{{child.pid}}").stat().st_uid)
asyncio.run(main())
"""
    home.chmod(0o777)

    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert run.stdout.strip() == "65534", run.stderr


async def test_nothing_is_left_when_the_process_that_ran_it_is_killed(home: Path) -> None:
    program = f"""
import asyncio
from pathlib import Path
from jan.db import embedded
async def main():
    async with embedded.running(Path({str(home)!r}), {PASSWORD!r}) as child:
        print(child.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(await anyio.to_thread.run_sync(parent.stdout.readline))

    parent.kill()
    parent.wait()
    parent.stdout.close()

    async with embedded.running(home, PASSWORD):  # waits for the orphan, then starts
        assert not _runs(pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
async def test_a_link_in_place_of_the_socket_folder_gives_nothing_away(home: Path) -> None:
    long, victim = home / ("x" * 120), home / "victim"
    victim.mkdir(mode=0o700)
    link = dsn.socket_folder(long)
    link.symlink_to(victim)
    os.lchown(link, 12345, 12345)

    try:
        with pytest.raises(Misconfigured, match="does not belong to Jan alone"):
            async with embedded.running(long, PASSWORD):
                pass
    finally:
        link.unlink()

    assert victim.stat().st_uid == 0


async def test_a_pid_file_that_names_another_program_is_no_server(home: Path) -> None:
    async with embedded.running(home, PASSWORD):
        pass
    data = home / "postgres/data"
    # Our parent stands for the other program: it lives, and runs as somebody PostgreSQL may signal.
    (data / "postmaster.pid").write_text(f"{os.getppid()}\n{data}\n1700000000\n5432\n\n\n")

    async with embedded.running(home, PASSWORD):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="needs folders of somebody else's")
async def test_root_serves_the_data_of_whoever_made_it(home: Path) -> None:
    for folder in ("postgres", "run/postgres"):
        (home / folder).mkdir(mode=0o700, parents=True)
        os.chown(home / folder, 65534, 65534)

    async with embedded.running(home, PASSWORD) as child:
        assert Path(f"/proc/{child.pid}").stat().st_uid == 65534
