"""Installing Jan as a service: what is refused, and the steps.

The service is a user of its own. Its program is root's, so that the service can't change it; its
state is in /var/lib/jan, where root's commands look too.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from jan import assets, listener
from jan.errors import Misconfigured
from jan.service import executable, places, unit
from jan.service.machine import Machine
from jan.service.steps import Answer, Command, Copy, File, Opening, Removal, Step
from jan.settings import Settings
from jan.supervisor import lock

USER = "jan"
EXECUTABLE_DIR = "/usr/local/bin"
FIRST_PERSON = 1000
"""Users from this number on are people, by the convention of all distributions."""

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_FOLDER = re.compile(r"(/[A-Za-z0-9._+-]+)+")
"""Paths that mean themselves in a unit: no space, `%`, `$` or quote."""


@dataclass(frozen=True)
class Wish:
    """What the operator asked for. None: as it is already, or else the default."""

    host: str | None = None
    port: int | None = None
    user: str | None = None
    executable_dir: str | None = None


def steps(machine: Machine, wish: Wish, source: Path | None) -> list[Step]:
    """Tell what is to be done, in this order. `source` is this executable.

    Raises:
        Misconfigured: the service would not be safe, or something is in its way that is not ours.
    """
    installed = unit.installed(machine)
    unit.require_ours(machine, places.SYSUSERS)
    user = wish.user
    if user is None:
        user = installed.user if installed else USER
    _refuse_bad_user(machine, user)
    program = _program(wish, installed)
    _refuse_bad_place(machine, program)
    settings = planned_settings(machine, wish)

    account = f'{unit.MARK}.\nu {user} - "Jan" {places.HOME}\n'
    service = File(places.UNIT, unit.render(settings, executable=program, user=user))
    files: list[Step] = [Copy(source, program), service]
    match places.config(machine):
        case None:
            files.insert(0, File(places.CONFIG, _config(wish), mode=0o640, group=user))
        case places.CONFIG:  # the operator's, so what is in it stays
            files.insert(0, Opening(places.CONFIG, user))
        case _:
            pass  # in what becomes the service's with all of JAN_HOME
    start = Command(
        ("systemctl", "restart", unit.NAME), lambda machine: _is_current(machine, program), files
    )
    moved: list[Step] = []
    if installed and installed.executable != program:
        moved = [Removal(installed.executable)]
    return [
        File(places.SYSUSERS, account),
        Command(
            ("systemd-sysusers", places.SYSUSERS), lambda machine: machine.user(user) is not None
        ),
        *files,
        Command(
            ("systemctl", "daemon-reload"),
            lambda machine: unit.properties(machine).get("NeedDaemonReload") == "no",
            [service],
        ),
        Command(
            ("systemctl", "enable", unit.NAME),
            lambda machine: unit.properties(machine).get("UnitFileState") == "enabled",
        ),
        start,
        Answer(settings.local_url, unit.is_running, [start]),
        *moved,
    ]


def require_free(machine: Machine, settings: Settings) -> None:
    """Refuse to start beside what has the port or the home. The service itself may have them.

    Raises:
        Misconfigured: another program listens there, or another `jan serve` runs on the home.
    """
    if unit.is_running(machine):
        return
    if lock.is_held(machine.at(places.HOME) / "run"):
        raise Misconfigured(
            f"Another `jan serve` is running on {places.HOME}.",
            hint="Stop it: the service goes on with what it keeps there.",
        )
    options = ("`host`", "`port`") if places.config(machine) else listener.OPTIONS
    listener.listen(settings.host, settings.port, options=options).close()


def planned_settings(machine: Machine, wish: Wish) -> Settings:
    """Tell the settings that the service will have.

    Raises:
        Misconfigured: they can't be read, or say otherwise than the wish. They are the operator's,
            so they are not changed.
    """
    path = places.config(machine)
    if path is None:
        said = {"home": places.HOME, "host": wish.host, "port": wish.port}
        return Settings.model_validate(
            {name: value for name, value in said.items() if value is not None}
        )
    settings = places.settings(machine)
    for name, asked in (("host", wish.host), ("port", wish.port)):
        has = getattr(settings, name)
        if asked not in {None, has}:
            raise Misconfigured(
                f"{path} is there already, and with it `{name}` is {json.dumps(has)}.",
                hint=f"Write `{name} = {json.dumps(asked)}` there, and install without --{name}.",
            )
    return settings


def _program(wish: Wish, installed: unit.Installed | None) -> str:
    """Tell where the service's executable is to be."""
    folder = wish.executable_dir
    if folder is None:
        folder = str(Path(installed.executable).parent) if installed else EXECUTABLE_DIR
    if not _FOLDER.fullmatch(folder) or {".", ".."} & set(folder.split("/")):
        raise Misconfigured(
            f"`{folder}` can't be the folder of the executable.",
            hint="An absolute path of letters, digits and `.`, `_`, `-`, `+`.",
        )
    return f"{folder}/jan"


def _refuse_bad_user(machine: Machine, name: str) -> None:
    if not _USER.fullmatch(name) or name == "root":
        raise Misconfigured(
            f"`{name}` can't be the service's user.",
            hint="Small letters, digits, `-` and `_`, at most 31, and not root.",
        )
    user = machine.user(name)
    if user and user.pw_uid >= FIRST_PERSON and user.pw_dir != places.HOME:
        raise Misconfigured(
            f"The user `{name}` seems to be a person: number {user.pw_uid}, at home in"
            f" {user.pw_dir}.",
            hint="Give the service a user of its own, such as --user jan-service.",
        )


def _refuse_bad_place(machine: Machine, program: str) -> None:
    executable.require_ours_alone(machine, str(Path(program).parent))
    there = machine.at(program)
    if (there.exists() or there.is_symlink()) and executable.packed(there) is None:
        raise Misconfigured(
            f"{program} is there, and is no executable of Jan.",
            hint="Move it away, or choose another folder with --executable-dir.",
        )


def _config(wish: Wish) -> str:
    """Write the first settings: what was asked for, and the rest as a proposal."""
    template = assets.path("jan/service/templates/jan.toml").read_text(encoding="utf-8")
    lines = {}
    for name, asked, proposal in (("host", wish.host, "0.0.0.0"), ("port", wish.port, 8080)):  # noqa: S104 nothing is bound
        # A string of JSON is one of TOML.
        lines[name] = (
            f"{name} = {json.dumps(asked)}" if asked else f"# {name} = {json.dumps(proposal)}"
        )
    return Template(template).substitute(lines)


def _is_current(machine: Machine, program: str) -> bool:
    """Whether the service runs, and was started after the last change of what it is made of."""
    if not unit.is_running(machine):
        return False
    started_s = unit.started_s(unit.properties(machine))
    made_of = (program, places.UNIT, places.CONFIG, places.CONFIG_OF_HOME, places.ENVIRONMENT)
    paths = [machine.at(path) for path in made_of]
    # The time of change, not of modification: `mv` keeps the latter.
    return all(path.stat().st_ctime <= started_s for path in paths if path.exists())
