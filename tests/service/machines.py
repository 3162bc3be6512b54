"""A machine to install on: a folder for its root, and a systemd that does as it is told."""

import io
import os
import pwd
import time
from dataclasses import dataclass, field
from pathlib import Path

from jan.errors import Unavailable
from jan.service import places
from jan.service.machine import Machine

NAME = b"jan-0.1.0-gateway-0123456789abcdef"
NEWER = b"jan-0.2.0-gateway-fedcba9876543210"


@dataclass(frozen=True)
class FakeMachine(Machine):
    """Keeps what it was told in `commands`; systemd's state is in `systemd`."""

    commands: list[str] = field(default_factory=list[str])
    systemd: dict[str, str] = field(default_factory=dict[str, str])
    users: dict[str, pwd.struct_passwd] = field(default_factory=dict[str, pwd.struct_passwd])

    def run(self, *argv: str) -> str:
        match argv:
            case ("systemctl", "show", *_):
                return self._show()
            case ("systemctl", "daemon-reload"):
                self.systemd["loaded"] = self._unit()
            case ("systemctl", "enable", _):
                self.systemd["UnitFileState"] = "enabled"
            case ("systemctl", "restart", _):
                started_us = time.monotonic_ns() // 1000
                self.systemd.setdefault("loaded", self._unit())
                self.systemd.update(
                    ActiveState="active",
                    SubState="running",
                    MainPID="4711",
                    ExecMainStartTimestampMonotonic=str(started_us),
                )
            case ("systemctl", "disable", "--now", _):
                if not self._unit():
                    raise Unavailable("Unit file jan.service does not exist.")
                self.systemd.clear()
            case ("systemctl", "reset-failed", _):
                self.systemd["ActiveState"] = "inactive"
            case ("systemd-sysusers", path):
                name = self.at(path).read_text(encoding="utf-8").split("\nu ")[1].split()[0]
                self.add_user(name)
            case _:
                raise AssertionError(argv)
        self.commands.append(" ".join(argv))
        return ""

    def _show(self) -> str:
        known = {"ActiveState": "inactive", "SubState": "dead", "UnitFileState": ""} | self.systemd
        loaded = known.setdefault("loaded", self._unit())  # systemd reads what it does not know
        known["LoadState"] = "loaded" if loaded else "not-found"
        known["NeedDaemonReload"] = "no" if loaded == self._unit() else "yes"
        known.pop("loaded")
        return "".join(f"{name}={value}\n" for name, value in known.items())

    def _unit(self) -> str:
        path = self.at(places.UNIT)
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def add_user(self, name: str, *, number: int = 990, home: str = places.HOME) -> None:
        self.users[name] = pwd.struct_passwd((name, "x", number, number, "", home, "/bin/false"))

    def user(self, name: str) -> pwd.struct_passwd | None:
        return self.users.get(name)

    def group_id(self, name: str) -> int | None:
        return os.getegid() if name in self.users else None

    def put(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Put a file there that is none of Jan's doing."""
        self.write(path, io.BytesIO(text.encode()), mode=mode)
        return self.at(path)
