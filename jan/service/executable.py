"""The one file as a service runs it: a copy where nobody but root can put another."""

import filecmp
import mmap
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from jan.errors import Misconfigured
from jan.service.machine import Machine

MODE = 0o755
OTHERS_WRITE = 0o022

_NAME = re.compile(rb"jan-(?P<version>[0-9][0-9A-Za-z.+]*)-[a-z0-9_]+-[0-9a-f]{16}(?![0-9a-f])")
"""What the file unpacks to, as `bundles/pack.py` names it: version, profile, digest."""


@dataclass(frozen=True)
class Packed:
    """What an executable says of itself, without being run."""

    name: str
    """Such as `jan-0.1.0-gateway-0123456789abcdef`; the same name is the same program."""
    version: str


def packed(path: Path) -> Packed | None:
    """Tell what a file holds. None: no Jan, or there is no such file, or we may not read it.

    It is not run: that would unpack it into the cache of whoever asks.
    """
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as bytes_,
        ):
            found = _NAME.search(bytes_)
            return found and Packed(found.group().decode(), found["version"].decode())
    except (OSError, ValueError):  # ValueError: it is empty
        return None


def require_ours_alone(machine: Machine, folder: str) -> None:
    """Refuse a folder in which others than root could put a program in the place of ours.

    Raises:
        Misconfigured: one of the folders on the way belongs to, or can be written by, others.
    """
    root = machine.root.resolve()
    place = machine.at(folder).resolve()
    for step in (place, *place.parents):
        if not step.exists() or not step.is_relative_to(root):
            continue
        status = step.stat()
        if status.st_uid not in {0, os.geteuid()} or status.st_mode & OTHERS_WRITE:
            raise Misconfigured(
                f"Others than root can write to /{step.relative_to(root)}, so a service must not"
                " run a program from there.",
                hint="Choose another folder with --executable-dir, such as /opt/jan.",
            )


def is_in_place(machine: Machine, source: Path, target: str) -> bool:
    """Whether the file is there already, and root's."""
    path = machine.at(target)
    try:
        status = path.lstat()
        is_safe = status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == MODE
        return (
            stat.S_ISREG(status.st_mode)
            and is_safe
            and (source.samefile(path) or filecmp.cmp(source, path, shallow=False))
        )
    except OSError:
        return False
