"""Taking the service away again. What it keeps, its settings and its user stay."""

from jan.service import executable, places, unit
from jan.service.machine import Machine
from jan.service.steps import Command, Removal, Step


def steps(machine: Machine) -> list[Step]:
    """Tell what is to be done, in this order; the unit goes last, for it tells where the rest is.

    Raises:
        Misconfigured: the unit that is there is not ours.
    """
    found = unit.installed(machine)
    removals: list[Step] = []
    if found is not None:
        if executable.packed(machine.at(found.executable)) is not None:
            removals.append(Removal(found.executable))
        unit.require_ours(machine, places.SYSUSERS)
        removals += [Removal(places.CACHE), Removal(places.SYSUSERS), Removal(places.UNIT)]
    return [
        Command(("systemctl", "disable", "--now", unit.NAME), _is_off),
        # Else systemd would remember that it failed once, though it is gone.
        Command(
            ("systemctl", "reset-failed", unit.NAME),
            lambda machine: unit.properties(machine).get("ActiveState") != "failed",
        ),
        *removals,
        Command(
            ("systemctl", "daemon-reload"),
            lambda machine: unit.properties(machine).get("LoadState") == "not-found",
            removals,
        ),
    ]


def _is_off(machine: Machine) -> bool:
    found = unit.properties(machine)
    is_enabled = found.get("UnitFileState") == "enabled"
    return found.get("ActiveState") in {"inactive", "failed"} and not is_enabled
