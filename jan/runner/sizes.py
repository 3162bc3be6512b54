"""Bytes: how they are said to a person, how many a folder takes, and whether there is room."""

import os
import shutil
from pathlib import Path

from jan.errors import Misconfigured


def in_words(size_bytes: float) -> str:
    """Say a size as people do, such as `432 MB` or `2.4 GB`."""
    for unit, bytes_each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= bytes_each:
            number = size_bytes / bytes_each
            return f"{number:.1f} {unit}" if unit == "GB" else f"{number:.0f} {unit}"
    return f"{size_bytes:.0f} bytes"


def of_folder(folder: Path) -> int:
    """Bytes of all files below, 0 where there is no such folder. Files may vanish meanwhile."""
    total_bytes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total_bytes += os.lstat(f"{parent}/{name}").st_size
            except FileNotFoundError:
                continue
    return total_bytes


def to_copy(folder: Path) -> int:
    """Bytes that a copy of a folder takes: links count as what they lead to, hidden files not."""
    total_bytes = 0
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        seen = (Path(parent, name) for name in names if not name.startswith("."))
        total_bytes += sum(path.stat().st_size for path in seen)
    return total_bytes


def require_free(folder: Path, needed_bytes: int, what: str) -> None:
    """Check for room before the work rather than half-way.

    Raises:
        Misconfigured: the disk of `folder` has not that much left.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise Misconfigured(
            f"{what} needs {in_words(needed_bytes)} on the disk of {folder}, "
            f"and {in_words(free_bytes)} are free.",
            hint="Free some space, or give JAN_HOME a folder on a larger disk.",
        )
