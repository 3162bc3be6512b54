"""What can go from the model store: leftovers of attempts that died, and models nobody serves."""

import fcntl
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from jan import clock
from jan.errors import Conflict, NotFound
from jan.runner import sizes, store


@dataclass(frozen=True)
class Surplus:
    """Something that can go."""

    name: str
    size_bytes: int
    reason: str
    is_model: bool


def found(home: Path, *, unused_for: timedelta | None, wanted: Collection[str]) -> list[Surplus]:
    """Tell what could go. `unused_for`: models too that were not served for so long.

    `wanted` are models that are to run, whenever they last did.
    """
    surplus = [
        Surplus(draft.name, sizes.of_folder(draft), "left by an attempt that ended", False)
        for draft in _drafts(home)
    ]
    if unused_for is None:
        return surplus
    oldest = clock.now() - unused_for
    for model in store.models(home):
        if store.is_shipped(home, model):
            continue
        served_at = store.last_served(model)
        if model.name not in wanted and served_at < oldest and not store.is_used(model):
            reason = f"not served since {served_at:%Y-%m-%d}"
            surplus.append(Surplus(model.name, model.size_bytes, reason, True))
    return surplus


def remove(home: Path, surplus: Sequence[Surplus]) -> int:
    """Remove what was found, but for what is used again by now. Returns the bytes freed."""
    freed_bytes = 0
    for each in surplus:
        if each.is_model:
            try:
                store.remove(home, each.name)
            except (Conflict, NotFound):  # used again by now, or gone
                continue
        elif not _remove_draft(store.folder_of(home) / store.STAGING / each.name):
            continue
        freed_bytes += each.size_bytes
    return freed_bytes


def _drafts(home: Path) -> list[Path]:
    """Find drafts that no process is putting together."""
    folder = store.folder_of(home) / store.STAGING
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and sizes.of_folder(path) and not _is_locked(path)
    ]


def _is_locked(draft: Path) -> bool:
    # A package being unpacked beside its draft has the draft's lock.
    lock = draft.with_name(f"{draft.name.removesuffix('.package')}.lock")
    try:
        with lock.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _remove_draft(draft: Path) -> bool:
    lock = draft.with_name(f"{draft.name.removesuffix('.package')}.lock")
    with lock.open("ab") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(draft, ignore_errors=True)
    return True
