"""Files that ship with Jan but are not code: found here, whether frozen or in a checkout."""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from jan import sources
from jan.errors import Misconfigured

BUILD = "build.json"
"""What the executable says of itself. A checkout has none."""


class Build(NamedTuple):
    """Which Jan this is."""

    version: str
    commit: str | None
    """What it was built from; None in a checkout."""
    profile: str | None
    """Folder of `bundles/` that says what is in it."""
    made_at_s: float
    """Seconds since 1970 when it was made: no clock may say less."""

    def __str__(self) -> str:
        if self.commit is None:
            return f"{self.version} (source)"
        return f"{self.version} ({self.profile}, commit {self.commit})"


def path(relative: str) -> Path:
    """Find a shipped file or folder, such as `bundles/cpu/engine.lock`.

    Raises:
        Misconfigured: it is not there, so this copy of Jan is incomplete.
    """
    found = _root() / relative
    if not found.exists():
        raise Misconfigured(
            f"`{relative}` is missing from this copy of Jan.", hint="Install it again."
        )
    return found


def build() -> Build:
    """Tell which Jan this is."""
    if not getattr(sys, "frozen", False):
        return Build(version("jan"), None, None, Path(__file__).stat().st_mtime)
    return Build(**json.loads(path(BUILD).read_bytes()))


def executable() -> Path | None:
    """Tell which file this program was unpacked from. None in a checkout.

    `bundles/unpack.zig` says so when it starts the program.
    """
    return sources.executable() if getattr(sys, "frozen", False) else None


def places(home: Path, name: str) -> list[Path]:
    """Tell where folders of a home are looked for: in it, then beside this program.

    There an image has an engine and a model (`images/cpu.Dockerfile`), which are only read.
    """
    is_frozen = getattr(sys, "frozen", False)
    return [home / name, *([Path(sys.executable).with_name(name)] if is_frozen else [])]


def _root() -> Path:
    return Path(getattr(sys, "_MEIPASS", Path(__file__).parent.parent))
