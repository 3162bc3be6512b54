"""Installed engines: folders of packages under `JAN_HOME/engines`, each with its `engine.json`.

A folder of an engine's name is complete: it was checked and then renamed into place. What came with
the program, in an image, lies beside it and is only read.
"""

import fcntl
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from jan import assets
from jan.errors import Conflict, NotFound
from jan.runner.bundles import Bundle

ENGINES = "engines"
MARKER = "engine.json"


@dataclass(frozen=True)
class Engine:
    """One installed engine."""

    variant: str
    version: str
    python: str
    """Version of Python that its packages were installed for."""
    interpreter: Path
    """What runs it when this program's own Python is of another version."""
    lock_sha256: str
    installed_at: datetime
    size_bytes: int
    folder: Path

    @property
    def name(self) -> str:
        """Name of its folder, such as `cpu-0.32.0`."""
        return self.folder.name

    @property
    def program(self) -> Path:
        """The Python to run it with. This program may have moved since, so it comes first."""
        is_ours = self.python == "{}.{}".format(*sys.version_info)
        return Path(sys.executable) if is_ours else self.interpreter

    def write(self) -> None:
        """Write the marker, the last file of an installation."""
        data = {name: value for name, value in asdict(self).items() if name != "folder"}
        (self.folder / MARKER).write_bytes(
            msgspec.json.format(msgspec.json.encode(data, enc_hook=str))
        )


def folder_of(home: Path) -> Path:
    """Where engines are installed."""
    return home / ENGINES


def installed(home: Path) -> list[Engine]:
    """All engines, by name. One that was installed hides one of its name that came with Jan."""
    markers = [
        marker for place in assets.places(home, ENGINES) for marker in place.glob(f"[!.]*/{MARKER}")
    ]
    found = {engine.name: engine for engine in map(_read, reversed(markers))}
    return [found[name] for name in sorted(found)]


def find(home: Path, bundle: Bundle) -> Engine | None:
    """The engine that was installed from exactly this bundle."""
    markers = [place / bundle.name / MARKER for place in assets.places(home, ENGINES)]
    found = [_read(marker) for marker in markers if marker.exists()]
    return next((each for each in found if each.lock_sha256 == bundle.lock_sha256), None)


def remove(home: Path, name: str) -> Engine:
    """Delete an engine, and return what it was.

    Raises:
        NotFound: there is none of that name.
        Conflict: a model runs on it, or it came with this Jan.
    """
    engine = next((engine for engine in installed(home) if engine.name == name), None)
    if engine is None:
        raise NotFound(f"No engine `{name}` is installed.", hint="`jan engine list` names them.")
    if engine.folder.parent != folder_of(home):
        raise Conflict(f"The engine `{name}` came with this Jan, and goes with it.")
    refuse_if_used(engine)
    discard(engine.folder)
    return engine


def discard(folder: Path) -> None:
    """Delete a folder that may be large: out of sight at once, whole or not, then gone."""
    trash = folder.with_name(f".{folder.name.lstrip('.')}.old")
    shutil.rmtree(trash, ignore_errors=True)  # of an earlier one that was killed
    if folder.exists():
        shutil.rmtree(folder.rename(trash))


@contextmanager
def using(engine: Engine) -> Generator[None]:
    """Keep the engine from being removed during the block. Several may do so at once."""
    with (engine.folder / MARKER).open("rb") as marker:
        fcntl.flock(marker, fcntl.LOCK_SH)
        yield


def refuse_if_used(engine: Engine) -> None:
    """Check that no runner is on it.

    Raises:
        Conflict: one is.
    """
    with (engine.folder / MARKER).open("rb") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"A model is running on the engine `{engine.name}`.",
                hint="Stop `jan serve` or `jan runner` first.",
            ) from None


def _read(marker: Path) -> Engine:
    data = msgspec.json.decode(marker.read_bytes())
    return msgspec.convert({**data, "folder": marker.parent}, Engine, dec_hook=_decode)


def _decode(kind: type, value: object) -> object:
    return kind(value)
