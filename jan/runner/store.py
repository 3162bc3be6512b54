"""The model store: `JAN_HOME/models/<name>/`, a folder of weights each, with its `model.json`.

A folder that holds `model.json` is complete: that file is written last, and the whole is then
renamed into place. Names are a word, or an owner and a word: `SmolLM2-135M`, `org/name`.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from jan import clock
from jan.errors import Conflict, InvalidRequest, NotFound
from jan.runner import sizes, weights

MANIFEST = "model.json"
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
    """Where models are."""
    return home / "models"


def models(home: Path) -> list[Model]:
    """All models, by name."""
    root = folder_of(home)
    manifests = [*root.glob(f"[!.]*/{MANIFEST}"), *root.glob(f"[!.]*/[!.]*/{MANIFEST}")]
    return sorted(map(_read, manifests), key=lambda model: model.name.lower())


def find(home: Path, name: str) -> Model | None:
    """The model of that name.

    Raises:
        InvalidRequest: that is no name.
    """
    manifest = folder_of(home) / checked(name) / MANIFEST
    return _read(manifest) if manifest.exists() else None


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
    draft = folder_of(home) / ".staging" / checked(name).replace("/", "--")
    draft.mkdir(parents=True, exist_ok=True)
    return draft


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
) -> Model:
    """Check a complete draft and make it a model of the store, at once or not at all.

    Raises:
        InvalidRequest: vLLM could not load it.
        Conflict: the name is taken.
    """
    weights.check(draft)
    require_free(home, name)
    files = {
        str(path.relative_to(draft)): _file(path)
        for path in sorted(draft.rglob("*"))
        if path.is_file() and path != draft / MANIFEST
    }
    final = folder_of(home) / name
    model = Model(name, source, revision, files, clock.now(), draft, note)
    data = {key: value for key, value in asdict(model).items() if key != "folder"}
    manifest = msgspec.json.format(msgspec.json.encode(data))
    (draft / MANIFEST).write_bytes(manifest)
    os.sync()  # weights are gigabytes that may not be on the disk yet
    final.parent.mkdir(parents=True, exist_ok=True)
    draft.rename(final)
    return _read(final / MANIFEST)


def add(home: Path, name: str, folder: Path) -> Model:
    """Take a folder of safetensors into the store, by hard links where the disk is the same.

    Raises:
        InvalidRequest: it is no such folder.
        Conflict: the name is taken.
    """
    if not folder.is_dir():
        raise InvalidRequest(f"There is no folder {folder}.")
    weights.check(folder)
    require_free(home, name)
    draft = staging(home, name)
    shutil.rmtree(draft)
    needed_bytes = sizes.of_folder(folder)
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
    """
    model = get(home, name)
    (model.folder / MANIFEST).unlink()  # from here on it is no model
    shutil.rmtree(model.folder)
    if model.folder.parent != folder_of(home) and not any(model.folder.parent.iterdir()):
        model.folder.parent.rmdir()
    return model


def _link(source: str, target: str) -> None:
    """Links in a hub's cache lead to files of another folder: the file is what counts."""
    os.link(os.path.realpath(source), target)


def _file(path: Path) -> File:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256")
    return File(path.stat().st_size, digest.hexdigest())


def _read(manifest: Path) -> Model:
    data = msgspec.json.decode(manifest.read_bytes())
    return msgspec.convert({**data, "folder": manifest.parent}, Model, dec_hook=_decode)


def _decode(kind: type, value: object) -> object:
    return kind(value)
