"""Where the parts of the service are, and the settings that it has."""

import os
from pathlib import Path

from jan import settings as settings_
from jan import sources
from jan.service.machine import Machine
from jan.settings import Settings

HOME = str(sources.SYSTEM_HOME)
CONFIG = str(sources.SYSTEM_CONFIG / sources.CONFIG)
CONFIG_OF_HOME = f"{HOME}/{sources.CONFIG}"
"""Found first, as for any home."""
ENVIRONMENT = str(sources.SYSTEM_CONFIG / "environment")
CACHE = "/var/cache/jan-service"
UNIT = "/etc/systemd/system/jan.service"
SYSUSERS = "/etc/sysusers.d/jan.conf"


def config(machine: Machine) -> str | None:
    """Tell which file of settings the service reads. None: there is none."""
    for path in (CONFIG_OF_HOME, CONFIG):
        if os.path.exists(machine.at(path)):  # noqa: PTH110 - Path's raises where we may not look
            return path
    return None


def settings(machine: Machine) -> Settings:
    """Read the settings of the service, without what its environment says.

    Raises:
        Misconfigured: they can't be read, or don't fit.
    """
    path = config(machine)
    if path is None:
        return Settings(home=Path(HOME))
    return settings_.load({"home": HOME}, config=machine.at(path), environ={}).settings
