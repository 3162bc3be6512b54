"""What goes behind an executable: engines and models, installed here as on a machine, then packed.

`jan/runner/carried.py` unpacks them. Packing takes minutes, so the last of each name is kept.
"""

import asyncio
import compileall
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Self

import msgspec

from bundles import pack
from bundles.contents import Component, components_in
from bundles.profile import ROOT, Profile, matches
from jan.runner import bundles, demonstration, engines, install, progress
from jan.runner.carried import LIST, Part

HOME = ROOT / ".cache" / "engine-home"
"""Where the tests keep an engine too."""
KEPT = ROOT / ".cache" / "bundle" / "carried"
FILE = "part.tar.zst"
COPY_BYTES = 2**20


class Packed(msgspec.Struct, frozen=True):
    """A part, with what it is made of."""

    part: Part
    components: Sequence[Component]

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return KEPT / self.part.name / FILE

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def write(self, path: Path) -> None:
        """Write it down, for the next build."""
        path.write_bytes(msgspec.json.encode(self))


def collect(profile: Profile, level: int) -> list[Packed]:
    """Install and pack all that a profile carries, in its order."""
    return [_packed(profile, name, level) for name in profile.carries]


def tell(packed: Iterable[Packed], folder: Path) -> None:
    """Write the list by which the program finds the parts."""
    parts = msgspec.json.encode([each.part for each in packed])
    (folder / LIST).write_bytes(msgspec.json.format(parts))


def append(packed: Iterable[Packed], executable: Path) -> None:
    """Write the parts behind the program."""
    with executable.open("ab") as whole:
        for each in packed:
            with each.file.open("rb") as part:
                shutil.copyfileobj(part, whole, COPY_BYTES)


def _packed(profile: Profile, name: str, level: int) -> Packed:
    lock = next((ROOT / "bundles" / name).glob("*.lock")).read_text(encoding="utf-8")
    recipe = Path(__file__).read_text(encoding="utf-8")
    said = (lock, recipe, sys.version, level, profile.carried_without, profile.carried_stripped)
    key = hashlib.sha256(repr(said).encode()).hexdigest()[:16]
    folder = KEPT / name
    note = folder / f"{key}.json"
    if note.exists():  # written last
        return Packed.read(note)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = folder / FILE
    with tempfile.TemporaryDirectory(dir=folder) as scratch, progress.shown() as report:
        draft = Path(scratch) / "draft"
        _install(name, draft, profile, report)
        components = components_in(draft)
        report(f"Packing {name}", None)
        pack.compress(draft, file, level)
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    packed = Packed(Part(name, file.stat().st_size, digest), components)
    packed.write(note)
    return packed


def _install(name: str, draft: Path, profile: Profile, report: progress.Report) -> None:
    """Make a folder as it is to be after unpacking."""
    if name == demonstration.BUNDLE:
        asyncio.run(demonstration.fetch(HOME, Path(sys.executable), draft, report))
        return
    engine = asyncio.run(install.install(HOME, bundles.find(name), report))

    def left_out(folder: str, names: list[str]) -> list[str]:
        place = Path(folder).relative_to(engine.folder)
        without = [*profile.carried_without, "*__pycache__", engines.MARKER]
        return [each for each in names if matches((place / each).as_posix(), without)]

    report(f"Preparing {name}", None)
    shutil.copytree(engine.folder, draft, ignore=left_out)
    for pattern in profile.carried_stripped:
        for library in draft.glob(pattern):
            subprocess.run(["strip", "--strip-unneeded", library], check=True)
    # Valid whatever the time of the source: an archive of the same content has the same bytes.
    compileall.compile_dir(
        draft,
        maxlevels=99,
        stripdir=str(draft),
        quiet=2,
        workers=0,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
