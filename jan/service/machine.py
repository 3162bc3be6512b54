"""The machine that a service is installed on: its files, its users, and programs run on it."""

import grp
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from jan import sources
from jan.errors import Misconfigured, Unavailable

TIMEOUT_S = 600.0
"""For one program. `systemctl stop` waits until Jan has drained."""
FOLDER_MODE = 0o755


@dataclass(frozen=True)
class Machine:
    """This machine. Another `root` than `/` is a place to try things out in."""

    root: Path = Path("/")

    def at(self, path: str | Path) -> Path:
        """Where a path of that machine is for us."""
        return self.root / str(path).lstrip("/")

    def require_root(self, command: str) -> None:
        """Refuse those who may not change the system.

        Raises:
            Misconfigured: we are not root.
        """
        if os.geteuid() != 0:
            raise Misconfigured("Only root can do that.", hint=f"sudo {command}")

    def require_systemd(self) -> None:
        """Refuse a machine on which systemd does not start the services.

        Raises:
            Misconfigured: /run/systemd/system is missing. Source: man 3 sd_booted
        """
        if not self.at("/run/systemd/system").is_dir():
            raise Misconfigured(
                "systemd does not run this machine (there is no /run/systemd/system).",
                hint="In a container, start `jan serve` as its program. Elsewhere `jan service"
                " install --dry-run` shows what another service manager has to do.",
            )

    def run(self, *argv: str) -> str:
        """Run a program to its end. Returns what it wrote to standard output.

        Raises:
            Unavailable: it failed, with its words in the hint.
            Misconfigured: there is no such program.
        """
        try:
            done = subprocess.run(  # noqa: S603 - the programs are our own choice
                argv,
                env={**sources.inherited(), "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except OSError as error:
            raise Misconfigured(f"Can't run {argv[0]}: {error.strerror}.") from None
        except subprocess.TimeoutExpired:
            raise Unavailable(f"`{' '.join(argv)}` took longer than {TIMEOUT_S:.0f} s.") from None
        if done.returncode != 0:
            raise Unavailable(f"`{' '.join(argv)}` failed.", hint=done.stderr.strip() or None)
        return done.stdout

    def user(self, name: str) -> pwd.struct_passwd | None:
        """Look a user up. None: there is none."""
        try:
            return pwd.getpwnam(name)
        except KeyError:
            return None

    def group_id(self, name: str) -> int | None:
        """Look a group up. None: there is none."""
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None

    def write(self, path: str, source: BinaryIO, *, mode: int, group: str | None = None) -> None:
        """Put a file in place, whole or not at all, for root alone to change.

        Raises:
            Misconfigured: that can't be done.
        """
        target = self.at(path)
        draft = target.with_name(f"{target.name}.new")
        gid = None if group is None else self.group_id(group)
        try:
            _make_folders(target.parent)
            draft.unlink(missing_ok=True)  # of an installation that was killed
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                shutil.copyfileobj(source, file)
                os.fchown(descriptor, -1, -1 if gid is None else gid)
                os.fchmod(descriptor, mode)  # after the group: until then it is root's alone
                file.flush()
                os.fsync(descriptor)
            draft.rename(target)
        except OSError as error:
            raise Misconfigured(f"Can't write {path}: {error.strerror}.") from None


def _make_folders(folder: Path) -> None:
    """Make what is missing. Root's umask may be strict, and the service has to get there."""
    missing = [step for step in (*reversed(folder.parents), folder) if not step.exists()]
    for step in missing:
        step.mkdir(mode=FOLDER_MODE)
        step.chmod(FOLDER_MODE)
