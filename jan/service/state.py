"""How the service is: what systemd says of it, which program it runs, whether it answers."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jan import probe
from jan.errors import Misconfigured
from jan.service import executable, places, unit
from jan.service.machine import Machine


@dataclass(frozen=True)
class State:
    """The service at this moment."""

    is_installed: bool
    is_running: bool
    """Whether its main process runs."""
    active_state: str
    """systemd's word: `active`, `activating`, `inactive`, `failed`..."""
    sub_state: str
    """`running`, `auto-restart`, `dead`..."""
    since: datetime | None
    """When the process that runs was started."""
    pid: int | None
    restarts: int
    """How often systemd started it again since it was started by hand or at boot."""
    memory_bytes: int | None
    """Of all its processes."""
    is_enabled: bool
    """Whether it is started at boot."""
    user: str | None
    executable: str | None
    version: str | None
    """Of the executable that is installed. None: it can't be read."""
    is_this: bool | None
    """Whether it is the same as the one that is asked. None: this one is a checkout."""
    url: str | None
    livez: bool | None
    """Whether it answers. None: not known, for its settings can't be read by everyone."""
    readyz: bool | None
    """Whether it can do its work."""


def look(machine: Machine, this: Path | None) -> State:
    """Ask for everything. `this` is the executable that asks.

    Raises:
        Misconfigured: the unit that is there is not ours.
    """
    installed = unit.installed(machine)
    found = unit.properties(machine)
    program = executable.packed(machine.at(installed.executable)) if installed else None
    is_up = unit.is_up(found)
    url = _url(machine) if installed else None
    pid = int(found.get("MainPID") or 0)
    memory = found.get("MemoryCurrent", "")
    return State(
        is_installed=installed is not None,
        is_running=is_up,
        active_state=found.get("ActiveState", "unknown"),
        sub_state=found.get("SubState", "unknown"),
        since=datetime.fromtimestamp(unit.started_s(found), UTC) if is_up else None,
        pid=pid or None,
        restarts=int(found.get("NRestarts") or 0),
        # Where nothing counts memory, systemd says so in words, or as the largest number it has.
        memory_bytes=int(memory) if memory.isdigit() and int(memory) < 2**63 else None,
        is_enabled=found.get("UnitFileState") == "enabled",
        user=installed.user if installed else None,
        executable=installed.executable if installed else None,
        version=program.version if program else None,
        is_this=program == executable.packed(this) if program and this else None,
        url=url,
        livez=_answers(url, "/livez") if is_up else False,
        readyz=_answers(url, "/readyz") if is_up else False,
    )


def _url(machine: Machine) -> str | None:
    try:
        return places.settings(machine).local_url
    except Misconfigured:
        return None


def _answers(url: str | None, path: str) -> bool | None:
    return None if url is None else asyncio.run(probe.answers(url, path))
