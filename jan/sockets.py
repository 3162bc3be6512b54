"""Unix sockets of ours: where they are, and that nobody else can listen there in our place.

A socket is as good as its folder: that is ours, and nobody else may write to it.
"""

import hashlib
import os
import socket
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from jan.errors import Misconfigured

NAME = "http.sock"
MAX_NAME_LENGTH = 40
"""Of a model, in the name of a folder: paths of sockets are short."""
MAX_PATH_BYTES = 107
"""Source: https://man7.org/linux/man-pages/man7/unix.7.html (sun_path, less its NUL)."""
OPTION = "JAN_RUNNER_SOCKET"
CONNECT_TIMEOUT_S = 1.0
"""Somebody whose queue is full this long is there all the same."""
CREDENTIALS = struct.Struct("3i")
"""Process, user and group. Source: https://man7.org/linux/man-pages/man7/unix.7.html (ucred)."""


def place_of(model: str, number: int) -> str:
    """Name the folder of a model's engine, the first, the second and so on: no two share one."""
    name = model.replace("/", "+")
    if len(name) > MAX_NAME_LENGTH:
        digest = hashlib.sha256(name.encode()).hexdigest()
        name = f"{name[:MAX_NAME_LENGTH]}~{digest[:8]}"
    return f"{name}-{number}"


def nameless() -> socket.socket:
    """Listen where only who is told can find it: no file is left by whoever dies.

    Source: https://man7.org/linux/man-pages/man7/unix.7.html (autobind)
    """
    made = socket.socket(socket.AF_UNIX)
    made.bind("")
    made.listen()
    return made


def of_engine(home: Path, place: str) -> Path:
    """Decide where an engine of `jan serve` listens: below `home`, or in /tmp if that is too long.

    The answer depends on `home` and `place` alone.
    """
    path = engines(home) / place / NAME
    if len(bytes(path)) <= MAX_PATH_BYTES:
        return path
    digest = hashlib.sha256(bytes(home) + b"/" + place.encode()).hexdigest()
    return Path("/tmp") / f"jan-engine-{digest[:16]}" / NAME  # noqa: S108 - `make_way` checks it


def engines(home: Path) -> Path:
    """Tell below which folder those are that need not be in /tmp."""
    return home / "run" / "engine"


def leave(path: Path) -> None:
    """Remove a socket of ours that nobody listens on any more, and its folder if it is empty."""
    with suppress(OSError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    with suppress(OSError):
        path.parent.rmdir()


def make_way(path: Path) -> None:
    """Make the socket's folder, and remove a socket that is there, whoever listened on it.

    Raises:
        Misconfigured: the folder is not ours alone, or no socket can be there.
    """
    if len(bytes(path)) > MAX_PATH_BYTES:
        raise Misconfigured(
            f"{path} is too long for a socket: {MAX_PATH_BYTES} bytes are the most.",
            hint=f"Choose a shorter path with {OPTION}.",
        )
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_private(folder)
        _remove_socket(path)
    except OSError as error:
        raise Misconfigured(
            f"Can't have a socket in {folder}: {error.strerror}.",
            hint="It needs a folder that you may write to.",
        ) from None


def is_answered(path: Path) -> bool:
    """Whether somebody listens on the socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(CONNECT_TIMEOUT_S)
        try:
            client.connect(bytes(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
    return True


@dataclass
class Claim:
    """A path on which a child is to listen. Another's socket may come there in its place."""

    path: Path
    _seen: tuple[int, int] | None = field(default=None, init=False)

    def look(self) -> None:
        """Remember the socket that appeared since way was made, by what tells it from any other."""
        self._seen = self._identity()

    def is_lost(self, pid: int) -> bool:
        """Whether somebody listens there who is not in the process group that `pid` leads."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(CONNECT_TIMEOUT_S)
            try:
                client.connect(bytes(self.path))
                said = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
                return os.getpgid(CREDENTIALS.unpack(said)[0]) != pid
            except OSError:  # nobody listens any more
                return False

    def release(self) -> None:
        """Remove the socket. One that came after it, which a successor listens on, stays."""
        if self._seen is not None and self._seen == self._identity():
            self.path.unlink(missing_ok=True)

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self.path.lstat()
        except OSError:
            return None
        # Numbers of files are given again; with the time of making they are not.
        return status.st_ino, status.st_ctime_ns


def _remove_socket(path: Path) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Misconfigured(
                f"{path} is there already, and is no socket.",
                hint=f"Choose another path with {OPTION}.",
            )
        path.unlink()


def _require_private(folder: Path) -> None:
    """Links are not followed: in /tmp anybody can put one where our folder should be."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise Misconfigured(
            f"{folder} does not belong to the user that runs Jan.", hint=f"ls -ld {folder}"
        )
    if status.st_mode & 0o022:
        raise Misconfigured(
            f"Others may write to {folder}, and so could listen in the engine's place.",
            hint=f"chmod go-w {folder}",
        )
