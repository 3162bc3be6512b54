"""Programs out of Debian's packages, unpacked into .cache where they are not installed."""

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".cache" / "debian"
ALSO = "/usr/sbin:/sbin"
"""Where daemons are, and the PATH of users does not look."""
LIBRARIES = "usr/lib/x86_64-linux-gnu"
TIMEOUT_S = 120


@dataclass(frozen=True)
class Program:
    """One that can be run."""

    path: str
    environ: dict[str, str]
    """What is to be added to the environment for it."""


@cache
def program(name: str) -> Program | None:
    """Find the program of the package of its name. None: it is not here, and apt can't bring it."""
    if path := shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{ALSO}"):
        return Program(path, {})
    folder = FOLDER / name
    if not folder.exists() and not _unpack(name, folder):
        return None
    path = shutil.which(name, path=f"{folder}/usr/bin:{folder}/usr/sbin")
    return Program(path, {"LD_LIBRARY_PATH": str(folder / LIBRARIES)}) if path else None


def _unpack(package: str, folder: Path) -> bool:
    """Fetch it, and what it depends on and the machine lacks. Returns whether that went well."""
    if not shutil.which("apt-get"):
        return False
    FOLDER.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{package}-", dir=FOLDER))
    try:
        if not _fetch(package, draft) and os.geteuid() == 0:
            _apt("update")  # there are no lists yet on a new machine
            _fetch(package, draft)
        fetched = list(draft.glob("*.deb"))
        for deb in fetched:
            subprocess.run(["dpkg-deb", "--extract", deb, draft], check=True)
            deb.unlink()
        if not fetched or folder.exists():
            return folder.exists()
        draft.chmod(0o755)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return True


def _fetch(package: str, folder: Path) -> bool:
    """Download what an installation would. Returns whether there was something."""
    archives = ("-o", f"Dir::Cache::archives={folder}", "-o", "Debug::NoLocking=1")
    options = ("--download-only", "--yes", "--no-install-recommends")
    _apt("install", *archives, *options, package)
    return any(folder.glob("*.deb"))


def _apt(*arguments: str) -> None:
    """Run apt. Whoever wants something of it looks whether it came."""
    argv = ["apt-get", "-qq", *arguments]
    with suppress(subprocess.TimeoutExpired):  # there may be no network
        subprocess.run(argv, capture_output=True, timeout=TIMEOUT_S, check=False)
