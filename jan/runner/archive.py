"""Models as files, for machines without a network: a tar of the model's folder, manifest first.

What comes in is believed in nothing: names, sizes and checksums are those of the manifest, or it is
refused. Nothing is held in memory.

Source: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13 (pax)
"""

import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, BinaryIO

from jan.errors import InvalidRequest, Unavailable
from jan.runner import sizes, store
from jan.runner.progress import Report
from jan.runner.store import MANIFEST, File, Model

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_EXTRA_BYTES = 64 * 1024
CHUNK_BYTES = 1024 * 1024


def export(model: Model, target: BinaryIO, report: Report) -> None:
    """Write a model. The target need not be seekable."""
    words = f"Exporting {model.name}, {sizes.in_words(model.size_bytes)}"
    written_bytes = 0

    def tell(of_file_bytes: int) -> None:
        share = (written_bytes + of_file_bytes) / max(1, model.size_bytes)
        report(words, min(1.0, share))  # the manifest comes on top

    with (
        store.holding(model),
        tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in (MANIFEST, *model.files):
            file = model.folder / path
            entry = tarfile.TarInfo(path)
            entry.size = file.stat().st_size
            entry.mtime = int(model.added_at.timestamp())
            with file.open("rb") as content:
                tar.addfile(entry, _Told(content, tell))
            written_bytes += entry.size


def take_in(
    home: Path,
    source: BinaryIO,
    report: Report,
    *,
    name: str | None = None,
    max_bytes: int | None = None,
) -> Model:
    """Read a model that `export` has written into the store, perhaps under another name.

    Raises:
        InvalidRequest: it is none, is cut off, or holds something else than it says.
        Conflict: the name is taken.
        Misconfigured: there is no room for it.
    """
    try:
        with tarfile.open(fileobj=source, mode="r|", tarinfo=_Entry) as tar:
            announced = _manifest(tar)
            name = store.checked(name or announced.name)
            with store.drafting(home, name) as draft:
                shutil.rmtree(draft)
                draft.mkdir()
                store.require_room(home, announced.size_bytes, f"`{name}`", max_bytes)
                try:
                    _unpack(tar, announced, draft, report)
                    return store.keep(
                        home,
                        name,
                        draft,
                        source=announced.source,
                        revision=announced.revision,
                        note=announced.note,
                        files=announced.files,
                    )
                except BaseException:  # no later attempt goes on from it
                    shutil.rmtree(draft, ignore_errors=True)
                    raise
    except (tarfile.TarError, EOFError) as error:
        raise InvalidRequest(f"The archive can't be read: {error}.") from None
    except OSError as error:  # the disk is full, for one
        raise Unavailable(f"`{name}` can't be imported: {error.strerror or error}.") from None


class _Told(io.RawIOBase):
    """A file that tells how much of it was read."""

    def __init__(self, file: BinaryIO, tell: Callable[[int], None]) -> None:
        self._file, self._tell = file, tell

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._tell(self._file.tell())
        return data


class _Entry(tarfile.TarInfo):
    """An entry of a tar. Names and the like that stand before it are read whole, so not any."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type != tarfile.REGTYPE and self.size > MAX_EXTRA_BYTES:
            raise tarfile.ReadError("a header is too long")
        return super()._proc_member(tar)  # pyright: ignore[reportAttributeAccessIssue] - unlisted


def _manifest(tar: tarfile.TarFile) -> Model:
    entry = tar.next()
    if entry is None or entry.name != MANIFEST or not entry.isreg():
        raise InvalidRequest(f"This is no exported model: `{MANIFEST}` does not come first.")
    if entry.size > MAX_MANIFEST_BYTES:
        raise InvalidRequest("The manifest is too long.")
    content = tar.extractfile(entry)
    assert content is not None
    return store.read_manifest(content.read())


def _unpack(tar: tarfile.TarFile, announced: Model, draft: Path, report: Report) -> None:
    missing = dict(announced.files)
    words = f"Importing {announced.name}, {sizes.in_words(announced.size_bytes)}"
    read_bytes = 0

    def tell(of_file_bytes: int) -> None:
        report(words, (read_bytes + of_file_bytes) / max(1, announced.size_bytes))

    while (entry := tar.next()) is not None:
        file = missing.pop(entry.name, None)
        if file is None or not entry.isreg() or entry.size != file.size_bytes:
            raise InvalidRequest(f"The archive holds `{entry.name[:100]}`, which is not announced.")
        content = tar.extractfile(entry)
        assert content is not None
        _write(content, draft / entry.name, file, tell)
        read_bytes += entry.size
        tell(0)
    if missing:
        raise InvalidRequest(f"The archive lacks `{min(missing)[:100]}`, which is announced.")


def _write(content: IO[bytes], path: Path, announced: File, tell: Callable[[int], None]) -> None:
    """Write a file as it comes.

    Raises:
        InvalidRequest: it is not the one that was announced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("wb") as target:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
            target.write(chunk)
            tell(target.tell())
    if digest.hexdigest() != announced.sha256:
        path.unlink()
        raise InvalidRequest(f"`{path.name}` is damaged: its checksum is another one.")
