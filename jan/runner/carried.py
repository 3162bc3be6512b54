"""What an executable carries behind its own program: an engine, a model, each packed as one part.

The parts are tar archives compressed by zstd. They end the file, in the order of `carried.json`, so
that where one begins follows from its length and those after it. A checkout carries nothing.
"""

import hashlib
import io
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import msgspec
from anyio import to_thread

from jan import assets
from jan.errors import Misconfigured
from jan.runner.progress import Report

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIST = "carried.json"
"""What the program knows of the parts: a JSON array of `Part`."""
REPORT_EVERY = 0.01
"""Share of a part after which it is told how far it is."""
BLOCK_BYTES = 2**20
"""Read at once from a part."""


class Part(msgspec.Struct, frozen=True):
    """One packed folder."""

    name: str
    """The folder of `bundles/` that says what it is, such as `cpu`."""
    packed_bytes: int
    sha256: str
    """Of the packed bytes."""


def parts() -> list[Part]:
    """Name all that is carried, in its order in the file."""
    if assets.executable() is None:
        return []
    return msgspec.json.decode(assets.path(LIST).read_bytes(), type=list[Part])


def find(name: str) -> Part | None:
    """Look for a part."""
    return next((part for part in parts() if part.name == name), None)


async def unpack(part: Part, folder: Path, report: Report, step: str) -> None:
    """Fill a new folder from a part. Its content is right once this has returned, and not before.

    Raises:
        Misconfigured: the file is damaged, or is not the one any more that this program came from.
        OSError: the folder can't be written to.
    """
    await to_thread.run_sync(_unpack, part, folder, partial(report, step))


def _unpack(part: Part, folder: Path, report: Callable[[float], None]) -> None:
    file = assets.executable()
    assert file is not None  # or there would be no part
    told = 0.0
    try:
        with file.open("rb") as whole:
            size = whole.seek(0, io.SEEK_END)
            whole.seek(max(0, size - _distance_from_end(part)))
            window = _Window(whole, part.packed_bytes)
            # The archive of a stranger could do no harm beside wasting disk: `data` keeps it in the
            # folder, and whoever called us removes that.
            with (
                zstd.open(window) as plain,
                tarfile.open(None, "r|", plain, BLOCK_BYTES) as archive,
            ):
                for member in archive:
                    archive.extract(member, folder, filter="data")
                    anyio.from_thread.check_cancelled()
                    share = 1 - window.left / part.packed_bytes
                    if share >= told + REPORT_EVERY:
                        told = share
                        anyio.from_thread.run_sync(report, share)
            while window.read(BLOCK_BYTES):
                pass
    except (FileNotFoundError, zstd.ZstdError, tarfile.TarError, EOFError) as error:
        raise _unfit(file) from error
    if window.left or window.digest.hexdigest() != part.sha256:
        raise _unfit(file)


def _distance_from_end(part: Part) -> int:
    """Bytes from where a part begins to the end of the file."""
    held = parts()
    return sum(each.packed_bytes for each in held[held.index(part) :])


def _unfit(file: Path) -> Misconfigured:
    return Misconfigured(
        f"What {file} carries is damaged, or that file was moved or replaced while Jan runs.",
        hint="Start Jan again; if this comes again, copy the file again.",
    )


class _Window(io.RawIOBase):
    """The next bytes of a file, up to a number of them, and their digest."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        super().__init__()
        self._file = file
        self.left = size
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        view = memoryview(buffer)[: self.left]
        count = self._file.readinto(view)
        self.digest.update(view[:count])
        self.left -= count
        return count
