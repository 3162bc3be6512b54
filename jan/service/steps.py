"""What is done to a machine, step by step: told, and carried out, by the same objects.

A step that is done already is none to do again, so going through the steps once more finishes what
was killed half-way.
"""

import asyncio
import io
import os
import shutil
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from jan import clock, probe
from jan.errors import Misconfigured, Unavailable
from jan.service import executable
from jan.service.machine import Machine

ANSWER_TIMEOUT_S = 90.0
"""From the start to the first answer of the gateway. The first start unpacks the program."""
POLL_S = 0.5


class Step(Protocol):
    """One thing that is to be so."""

    def __str__(self) -> str:
        """Say it in the imperative: `write /etc/jan/jan.toml`."""
        ...

    @property
    def text(self) -> str:
        """What is written, if it is text; else nothing."""
        ...

    def is_done(self, machine: Machine) -> bool:
        """Whether it is so. Changes nothing."""
        ...

    def carry_out(self, machine: Machine) -> None:
        """Make it so."""
        ...


@dataclass(frozen=True)
class File:
    """A file of text, as it has to be."""

    path: str
    text: str
    mode: int = 0o644
    group: str | None = None
    """Whose it is beside root. None: root's."""

    def __str__(self) -> str:
        owner = f" root:{self.group}" if self.group else ""
        return f"write {self.path} ({self.mode:04o}{owner})"

    def is_done(self, machine: Machine) -> bool:
        path = machine.at(self.path)
        try:
            return path.read_text(encoding="utf-8", errors="replace") == self.text
        except OSError:
            return False

    def carry_out(self, machine: Machine) -> None:
        source = io.BytesIO(self.text.encode())
        machine.write(self.path, source, mode=self.mode, group=self.group)


@dataclass(frozen=True)
class Opening:
    """A file that a group can read, whoever made it."""

    path: str
    group: str
    text: str = ""

    def __str__(self) -> str:
        return f"let the group {self.group} read {self.path}"

    def is_done(self, machine: Machine) -> bool:
        try:
            status = machine.at(self.path).stat()
        except OSError:
            return False
        is_theirs = status.st_gid == machine.group_id(self.group)
        return bool(status.st_mode & (stat.S_IRGRP if is_theirs else stat.S_IROTH))

    def carry_out(self, machine: Machine) -> None:
        path, gid = machine.at(self.path), machine.group_id(self.group)
        assert gid is not None
        try:
            os.chown(path, -1, gid)
            path.chmod(path.stat().st_mode | stat.S_IRGRP)
        except OSError as error:
            raise Misconfigured(f"Can't open {self.path}: {error.strerror}.") from None


@dataclass(frozen=True)
class Copy:
    """The executable, where the service runs it."""

    source: Path | None
    """None in a checkout, which has none: that can be told, and not be carried out."""
    path: str
    text: str = ""

    def __str__(self) -> str:
        return f"copy {self.source or 'the executable'} to {self.path} ({executable.MODE:04o})"

    def is_done(self, machine: Machine) -> bool:
        return self.source is not None and executable.is_in_place(machine, self.source, self.path)

    def carry_out(self, machine: Machine) -> None:
        assert self.source is not None
        try:
            with self.source.open("rb") as source:
                machine.write(self.path, source, mode=executable.MODE)
        except OSError as error:
            raise Misconfigured(f"Can't read {self.source}: {error.strerror}.") from None


@dataclass(frozen=True)
class Removal:
    """A file or folder that is not to be there."""

    path: str
    text: str = ""

    def __str__(self) -> str:
        return f"remove {self.path}"

    def is_done(self, machine: Machine) -> bool:
        path = machine.at(self.path)
        return not path.exists() and not path.is_symlink()

    def carry_out(self, machine: Machine) -> None:
        path = machine.at(self.path)
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise Misconfigured(f"Can't remove {self.path}: {error.strerror}.") from None


@dataclass(frozen=True)
class Command:
    """A program that is run, until what it is run for is so."""

    argv: Sequence[str]
    is_so: Callable[[Machine], bool] = field(repr=False)
    after: Sequence[Step] = ()
    """What has to be done before: while it is not, neither is this."""
    text: str = ""

    def __str__(self) -> str:
        return f"run {' '.join(self.argv)}"

    def is_done(self, machine: Machine) -> bool:
        return all(step.is_done(machine) for step in self.after) and self.is_so(machine)

    def carry_out(self, machine: Machine) -> None:
        machine.run(*self.argv)


@dataclass(frozen=True)
class Answer:
    """The gateway, heard."""

    url: str
    is_running: Callable[[Machine], bool] = field(repr=False)
    after: Sequence[Step] = ()
    text: str = ""

    def __str__(self) -> str:
        return f"wait until {self.url} answers"

    def is_done(self, machine: Machine) -> bool:
        return all(step.is_done(machine) for step in self.after) and self._is_heard(machine)

    def carry_out(self, machine: Machine) -> None:
        until_s = clock.monotonic_s() + ANSWER_TIMEOUT_S
        while not self._is_heard(machine):
            if clock.monotonic_s() > until_s:
                raise Unavailable(
                    f"The service is installed, and does not answer at {self.url}.",
                    hint="It goes on trying; its log says why: journalctl -u jan -n 50",
                )
            time.sleep(POLL_S)

    def _is_heard(self, machine: Machine) -> bool:
        # In this order: another program may answer there as long as ours can't listen.
        return asyncio.run(probe.answers(self.url, "/livez")) and self.is_running(machine)


def carry_out(machine: Machine, steps: Sequence[Step], tell: Callable[[str], None]) -> bool:
    """Do what is not done yet, telling each step. Returns whether there was anything to do."""
    has_changed = False
    for step in steps:
        if step.is_done(machine):
            tell(f"unchanged: {step}")
            continue
        step.carry_out(machine)
        has_changed = True
        tell(f"done: {step}")
    return has_changed


def foretell(machine: Machine, steps: Sequence[Step]) -> str:
    """Say what `carry_out` would do, with all text that it would write."""
    lines: list[str] = []
    for step in steps:
        lines.append(f"{'unchanged' if step.is_done(machine) else 'to do'}: {step}")
        if step.text:
            lines += ["", *(f"    {line}".rstrip() for line in step.text.splitlines()), ""]
    return "\n".join(lines)
