"""The unit `jan.service`: its text, whether the one that is there is ours, what systemd says."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from string import Template

from jan import assets, clock
from jan.db import embedded
from jan.errors import JanError, Misconfigured
from jan.service import places
from jan.service.machine import Machine
from jan.settings import Settings
from jan.supervisor.instances import RUNNER_GRACE_S
from jan.supervisor.parts import FLUSH_GRACE_S

NAME = "jan.service"
MARK = "# Written by `jan service install`"
"""How what we wrote begins. What does not begin so is somebody else's, and is left alone."""
SPARE_S = 25.0
"""Beyond what Jan grants its children: systemd's patience must not end before Jan's."""
FIRST_FREE_PORT = 1024
"""Ports below it are for root, or who has the capability."""
PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NeedDaemonReload",
    "MainPID",
    "NRestarts",
    "MemoryCurrent",
    "ExecMainStartTimestampMonotonic",
)


@dataclass(frozen=True)
class Installed:
    """What the unit that is there says."""

    executable: str
    user: str


def render(settings: Settings, *, executable: str, user: str) -> str:
    """Write the unit for these settings."""
    template = assets.path("jan/service/templates/jan.service").read_text(encoding="utf-8")
    is_privileged = settings.port < FIRST_FREE_PORT
    return Template(template).substitute(
        user=user,
        executable=executable,
        capabilities="CAP_NET_BIND_SERVICE" if is_privileged else "",
        stop_timeout_s=round(stop_timeout_s(settings)),
    )


def stop_timeout_s(settings: Settings) -> float:
    """Tell how long Jan may take to end: gateways, then engines, then PostgreSQL."""
    gateways = settings.drain_grace_s + FLUSH_GRACE_S
    engines = settings.runner_stop_grace_s + RUNNER_GRACE_S
    return gateways + engines + embedded.STOP_GRACE_S + SPARE_S


def installed(machine: Machine) -> Installed | None:
    """Read the unit that is there. None: there is none.

    Raises:
        Misconfigured: it is not ours.
    """
    require_ours(machine, places.UNIT)
    try:
        text = machine.at(places.UNIT).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    said = dict(re.findall(r"^(ExecStart|User)=(\S+)", text, re.MULTILINE))
    return Installed(said["ExecStart"], said["User"])


def require_ours(machine: Machine, path: str) -> None:
    """Refuse to touch a file that something else wrote.

    Raises:
        Misconfigured: it is there, and we did not write it.
    """
    try:
        text = machine.at(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise Misconfigured(f"Can't read {path}: {error.strerror}.") from None
    if not text.startswith(MARK):
        raise Misconfigured(
            f"{path} is there, and Jan did not write it.", hint="Move it away, if it may go."
        )


def properties(machine: Machine) -> Mapping[str, str]:
    """Ask systemd about the unit. Nothing where there is no systemd to ask."""
    with suppress(JanError):
        said = machine.run("systemctl", "show", NAME, f"--property={','.join(PROPERTIES)}")
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    return {}


def is_running(machine: Machine) -> bool:
    """Whether its main process runs."""
    return is_up(properties(machine))


def is_up(properties: Mapping[str, str]) -> bool:
    """Whether they are those of a service whose main process runs."""
    return (properties.get("ActiveState"), properties.get("SubState")) == ("active", "running")


def started_s(properties: Mapping[str, str]) -> float:
    """Tell when its main process was started, in seconds since 1970."""
    started_us = int(properties.get("ExecMainStartTimestampMonotonic") or 0)
    return clock.now().timestamp() - (clock.monotonic_s() - started_us / 1e6)
