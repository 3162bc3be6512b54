"""The model store: `JAN_HOME/models/<name>/`, a folder of weights each, with its `model.json`.

A folder that holds `model.json` is complete: that file is written last, and the whole is then
renamed into place. Names are a word, or an owner and a word: `SmolLM2-135M`, `org/name`. What came
with the program, in an image, lies beside it and is only read.
"""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from jan import assets, clock, sources
from jan.errors import Conflict, InvalidRequest, Misconfigured, NotFound
from jan.runner import sizes, weights

MODELS = "models"
MANIFEST = "model.json"
STAGING = ".staging"
MAX_PATH_BYTES = 1024
MAX_PART_BYTES = 255
SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_NAME_LENGTH = 96
WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
NAME = re.compile(rf"{WORD}(/{WORD})?")


@dataclass(frozen=True)
class File:
    """One file of a model, as it was when it came."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Model:
    """Weights with a name."""

    name: str
    source: str
    """Where it came from: a hub's id, or a folder."""
    revision: str | None
    """The hub's commit."""
    files: Mapping[str, File]
    added_at: datetime
    folder: Path
    note: str | None = None
    """What its user should know, such as that it is for trying out."""

    @property
    def size_bytes(self) -> int:
        """Size of all its files."""
        return sum(file.size_bytes for file in self.files.values())


def folder_of(home: Path) -> Path:
    """Where models are kept."""
    return home / MODELS


def models(home: Path) -> list[Model]:
    """All models, by name. One that was added hides one of its name that came with Jan."""
    manifests = [
        manifest
        for place in assets.places(home, MODELS)
        for depth in ("[!.]*", "[!.]*/[!.]*")
        for manifest in place.glob(f"{depth}/{MANIFEST}")
    ]
    found = {model.name: model for model in map(_read, reversed(manifests))}
    return sorted(found.values(), key=lambda model: model.name.lower())


def find(home: Path, name: str) -> Model | None:
    """The model of that name.

    Raises:
        InvalidRequest: that is no name.
    """
    manifests = [place / checked(name) / MANIFEST for place in assets.places(home, MODELS)]
    return next((_read(manifest) for manifest in manifests if manifest.exists()), None)


def get(home: Path, name: str) -> Model:
    """The model of that name.

    Raises:
        NotFound: there is none.
    """
    if model := find(home, name):
        return model
    raise NotFound(
        f"There is no model `{name}` here.",
        hint=f"`jan model list` names those there are; `jan model pull {name}` fetches it.",
    )


def is_shipped(home: Path, model: Model) -> bool:
    """Whether it came with this Jan, and is none of the store's own."""
    return folder_of(home) not in model.folder.parents


def checked(name: str) -> str:
    """Return the name if it is one: it becomes a path, so it must not lead elsewhere.

    Raises:
        InvalidRequest: it is not.
    """
    if not NAME.fullmatch(name) or ".." in name or len(name) > MAX_NAME_LENGTH:
        raise InvalidRequest(
            f"`{name}` can't be the name of a model.",
            hint="Letters, digits, dots, dashes and underscores, with one slash at most.",
        )
    return name


def staging(home: Path, name: str) -> Path:
    """A folder in which a model is put together. It keeps what an attempt that died has left."""
    draft = folder_of(home) / STAGING / checked(name).replace("/", "--")
    draft.mkdir(parents=True, exist_ok=True)
    return draft


@contextmanager
def drafting(home: Path, name: str) -> Generator[Path]:
    """Put a model together during the block, in `staging`, as the only process that does.

    Raises:
        Conflict: another one does, or the name is taken.
    """
    require_free(home, name)
    draft = staging(home, name)
    with draft.with_name(f"{draft.name}.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"Another process is fetching `{name}`.") from None
        yield draft


def used_bytes(home: Path) -> int:
    """How much the store holds, with what attempts that died have left."""
    return sizes.of_folder(folder_of(home))


def require_room(home: Path, needed_bytes: int, what: str, max_bytes: int | None) -> None:
    """Check for room before anything is fetched. `max_bytes`: the most that the store may hold.

    Raises:
        Misconfigured: there is none, on the disk or in what is allowed.
    """
    folder = folder_of(home)
    folder.mkdir(parents=True, exist_ok=True)
    sizes.require_free(folder, needed_bytes, what)
    if max_bytes is None:
        return
    held_bytes = used_bytes(home)
    if held_bytes + needed_bytes > max_bytes:
        raise Misconfigured(
            f"{what} needs {sizes.in_words(needed_bytes)}; the store holds "
            f"{sizes.in_words(held_bytes)} and may hold {sizes.in_words(max_bytes)}.",
            hint="`jan model prune --dry-run --unused-for 30d` tells what could go; "
            "`model_store_max_bytes` is the limit.",
        )


@contextmanager
def holding(model: Model) -> Generator[None]:
    """Keep a model from being removed during the block. Several may do so at once.

    Raises:
        NotFound: it has just been removed.
    """
    manifest = model.folder / MANIFEST
    with ExitStack() as until_end:
        try:
            held = until_end.enter_context(manifest.open("rb"))
            fcntl.flock(held, fcntl.LOCK_SH)
            manifest.stat()  # it may have been removed while we waited
        except FileNotFoundError:
            raise NotFound(f"The model `{model.name}` has just been removed.") from None
        yield


@contextmanager
def serving(model: Model) -> Generator[None]:
    """Hold a model, and note that it was served, from the beginning of the block to its end.

    Raises:
        NotFound: as `holding`.
    """
    with holding(model):
        _note_served(model)
        try:
            yield
        finally:
            _note_served(model)


def _note_served(model: Model) -> None:
    with suppress(OSError):  # a store that is only read is pruned by nobody
        os.utime(model.folder / MANIFEST)


def last_served(model: Model) -> datetime:
    """When an engine last served it; when it was added, if none has."""
    moment = (model.folder / MANIFEST).stat().st_mtime
    return datetime.fromtimestamp(moment, tz=UTC)


def is_used(model: Model) -> bool:
    """Whether an engine serves it now."""
    with (model.folder / MANIFEST).open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def require_free(home: Path, name: str) -> None:
    """Check that a model of that name can be added.

    Raises:
        Conflict: there is one, or one whose folder would lie around this one or inside it.
    """
    path = folder_of(home) / checked(name)
    taken = path if path.exists() else path.parent
    if path.exists() or (taken / MANIFEST).exists():
        other = taken.relative_to(folder_of(home))
        raise Conflict(
            f"There is a model `{other}` already.",
            hint=f"Remove it with `jan model remove {other}`, or choose another name.",
        )


def keep(  # noqa: PLR0913 - as much as there is to know about a model
    home: Path,
    name: str,
    draft: Path,
    *,
    source: str,
    revision: str | None = None,
    note: str | None = None,
    files: Mapping[str, File] | None = None,
) -> Model:
    """Check a complete draft and make it a model of the store, at once or not at all.

    `files` are its files if they have been read and found to be so; otherwise they are read now.

    Raises:
        InvalidRequest: vLLM could not load it.
        Conflict: the name is taken.
    """
    weights.check(draft)
    require_free(home, name)
    files = files or read_files(draft)
    final = folder_of(home) / name
    model = Model(name, source, revision, files, sources.made_at() or clock.now(), draft, note)
    data = {key: value for key, value in asdict(model).items() if key != "folder"}
    manifest = msgspec.json.format(msgspec.json.encode(data))
    (draft / MANIFEST).write_bytes(manifest)
    os.sync()  # weights are gigabytes that may not be on the disk yet
    final.parent.mkdir(parents=True, exist_ok=True)
    draft.rename(final)
    return _read(final / MANIFEST)


def add(home: Path, name: str, folder: Path, *, max_bytes: int | None = None) -> Model:
    """Take a folder of safetensors into the store, by hard links where the disk is the same.

    Raises:
        InvalidRequest: it is no such folder.
        Conflict: the name is taken.
        Misconfigured: as `require_room`.
    """
    if not folder.is_dir():
        raise InvalidRequest(f"There is no folder {folder}.")
    weights.check(folder)
    with drafting(home, name) as draft:
        shutil.rmtree(draft)
        try:
            needed_bytes = sizes.to_copy(folder)
        except OSError as error:
            raise InvalidRequest(f"{folder} can't be read: {error}.") from None
        if max_bytes is not None:
            require_room(home, needed_bytes, f"`{name}`", max_bytes)
        try:
            shutil.copytree(folder, draft, copy_function=_link, ignore=shutil.ignore_patterns(".*"))
        except OSError:
            sizes.require_free(draft.parent, needed_bytes, f"A copy of {folder}")
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(folder, draft, ignore=shutil.ignore_patterns(".*"))
        return keep(home, name, draft, source=str(folder.absolute()))


def remove(home: Path, name: str) -> Model:
    """Delete a model, and return what it was.

    Raises:
        NotFound: there is none of that name.
        Conflict: an engine serves it, or it came with this Jan.
    """
    model = get(home, name)
    if is_shipped(home, model):
        raise Conflict(f"The model `{name}` came with this Jan, and goes with it.")
    manifest = model.folder / MANIFEST
    with manifest.open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"An engine is serving `{name}`, or it is being exported.",
                hint=f"`jan model unload {name}` ends the former.",
            ) from None
        manifest.unlink()  # from here on it is no model; who waits for the lock sees it
    shutil.rmtree(model.folder)
    if model.folder.parent != folder_of(home) and not any(model.folder.parent.iterdir()):
        model.folder.parent.rmdir()
    return model


def _link(source: str, target: str) -> None:
    """Links in a hub's cache lead to files of another folder: the file is what counts."""
    os.link(os.path.realpath(source), target)


def read_files(draft: Path) -> dict[str, File]:
    """Read all files of a draft, for their checksums."""
    return {
        str(path.relative_to(draft)): _file(path)
        for path in sorted(draft.rglob("*"))
        if path.is_file() and path != draft / MANIFEST
    }


def read_manifest(data: bytes) -> Model:
    """Read the manifest of a model elsewhere. Its folder is none.

    Raises:
        InvalidRequest: it is none, or names a file that could lie elsewhere than in its folder.
    """
    try:
        said = msgspec.json.decode(data, type=dict[str, Any])
        model = msgspec.convert({**said, "folder": ""}, Model, dec_hook=_decode)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, TypeError):
        raise InvalidRequest("The manifest of the model can't be read.") from None
    for path, file in model.files.items():
        if not _is_plain(path) or any(str(folder) in model.files for folder in _folders(path)):
            raise InvalidRequest(f"`{path[:100]}` can't be the name of a model's file.")
        if file.size_bytes < 0 or not SHA256.fullmatch(file.sha256):
            raise InvalidRequest(f"What is said of the model's file `{path[:100]}` makes no sense.")
    checked(model.name)
    return model


def _is_plain(path: str) -> bool:
    """Whether a path leads to a file below its folder, wherever that is, and to no other."""
    parts = PurePosixPath(path).parts
    return (
        bool(parts)
        and path != MANIFEST
        and str(PurePosixPath(path)) == path
        and len(path.encode(errors="replace")) <= MAX_PATH_BYTES
        and path.isprintable()
        and not any(
            part.startswith((".", "/")) or len(part.encode()) > MAX_PART_BYTES for part in parts
        )
    )


def _folders(path: str) -> list[PurePosixPath]:
    return list(PurePosixPath(path).parents)[:-1]


def _file(path: Path) -> File:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256")
    return File(path.stat().st_size, digest.hexdigest())


def _read(manifest: Path) -> Model:
    data = msgspec.json.decode(manifest.read_bytes())
    return msgspec.convert({**data, "folder": manifest.parent}, Model, dec_hook=_decode)


def _decode(kind: type, value: object) -> object:
    return kind(value)
