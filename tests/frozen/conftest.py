"""The executable, built where anything in it has changed, and a machine that has nothing else."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from jan import process
from tests.serving import DEADLINE_S, Serve

ROOT = Path(__file__).parents[2]
BUILDS = ROOT / ".cache" / "frozen"
INPUTS = ("jan", "bundles", "helm", "jan.spec", "pyproject.toml", "requirements.lock")
FAST = "3"
"""zstd's level: a minute less than a release takes. The rest is as in a release."""

USER = 10001
"""An ordinary user of the bare machine."""
SHELL = "/bin/sh"  # PostgreSQL's initdb starts programs by it
LIBC = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1")
LSCPU = "/usr/bin/lscpu"  # vLLM asks it; util-linux is on every machine
OF_LSCPU = "libsmartcols.so.1"
LOADER = Path("/lib64/ld-linux-x86-64.so.2")

ENTER = """
set -e
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
mount --rbind /sys "$0/sys"
mount -t tmpfs -o noexec,mode=1777 tmpfs "$0/tmp"
exec "$@"
"""
"""Runs in a mount namespace of its own: what is mounted goes with the last process in it."""


def _fingerprint() -> str:
    """Tell apart all that a build depends on."""
    digest = hashlib.sha256(f"{sys.version} {sys.base_prefix} {FAST}".encode())
    for name in INPUTS:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def executable() -> Path:
    """Build the gateway's executable, unless that of the same inputs is there."""
    if not shutil.which("objcopy"):
        pytest.skip("building an executable needs binutils")
    folder = BUILDS / _fingerprint()
    if not (folder / "manifest.json").exists():  # written last
        shutil.rmtree(BUILDS, ignore_errors=True)
        just = Path(sys.executable).with_name("just")
        argv = [just, "bundle", "gateway", "--level", FAST, "--out", folder]
        build = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
        assert build.returncode == 0, build.stdout + build.stderr
    return folder / "jan"


@dataclass(frozen=True)
class Machine:
    """A root file system that holds glibc, a shell, lscpu and the executable, and no Python."""

    root: Path
    program: str = "/opt/für alle/jan"
    home: str = "/home/user"
    user: int = USER
    """Who runs it; 0 is root."""

    @property
    def jan_home(self) -> Path:
        """JAN_HOME, seen from outside."""
        return self.root / "home/user/.local/share/jan"

    @property
    def cache(self) -> Path:
        """Where it unpacks itself to, seen from outside."""
        return self.root / "home/user/.cache/jan"

    def command(self, *arguments: str, **environ: str) -> list[str]:
        """What runs the executable there, without any environment."""
        words = {"HOME": self.home, "PATH": "/bin", **environ}
        return [
            *("unshare", "--mount", "--propagation", "private", SHELL, "-c", ENTER),
            *(
                str(self.root),
                "chroot",
                f"--userspec={self.user}:{self.user}",
                "--groups=",
                str(self.root),
            ),
            *("/bin/env", "-i", *(f"{name}={value}" for name, value in words.items())),
            *(self.program, *arguments),
        ]

    def jan(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return run(self.command(*arguments, **environ))

    @asynccontextmanager
    async def serving(self, *flags: str) -> AsyncGenerator[Serve]:
        """Run `jan serve` on any free port."""
        lines: list[str] = []
        argv = self.command("serve", "--port", "0", "--log-format", "json", *flags)
        async with process.spawn(
            argv, env=os.environ, on_line=lines.append, stop_grace_s=DEADLINE_S
        ) as child:
            yield Serve(child, self.jan_home, lines)


def run(
    argv: Sequence[str | Path], environ: Mapping[str, str] | None = None, *, timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever that is."""
    environment = {**os.environ, **(environ or {})}
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )


@pytest.fixture(scope="session")
def machine(executable: Path) -> Iterator[Machine]:
    """Make one for all tests."""
    with bare_machine(executable) as machine:
        yield machine


@contextmanager
def bare_machine(executable: Path) -> Generator[Machine]:
    """Make a machine. The executable lies in a folder that nobody may write to."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a root file system")
    root = Path(tempfile.mkdtemp(prefix="jan-root-"))
    root.chmod(0o755)
    for name in ("proc", "sys", "dev", "tmp", "etc"):
        (root / name).mkdir()
    for program in (SHELL, "/usr/bin/env", LSCPU):
        _copy(Path(program), root / "bin" / Path(program).name)
    _copy(LOADER, root / LOADER.relative_to("/"))
    for name in (*LIBC, OF_LSCPU):
        _copy(Path("/lib/x86_64-linux-gnu") / name, root / "lib/x86_64-linux-gnu" / name)
    # A part of glibc, which PostgreSQL sorts by.
    shutil.copytree("/usr/lib/locale/C.utf8", root / "usr/lib/locale/C.utf8")
    (root / "etc/passwd").write_text(f"user:x:{USER}:{USER}::/home/user:{SHELL}\n")
    (root / "etc/group").write_text(f"user:x:{USER}:\n")
    machine = Machine(root)
    _copy(executable, root / machine.program.lstrip("/"))
    (root / machine.program.lstrip("/")).parent.chmod(0o555)
    home = root / machine.home.lstrip("/")
    home.mkdir(parents=True)
    os.chown(home, USER, USER)
    yield machine
    shutil.rmtree(root)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
