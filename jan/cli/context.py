"""What the options before the command said, and the settings that follow from all sources."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `jan --help` must not pay for pydantic
    from jan.settings import Loaded

_said: dict[str, Path | None] = {"home": None, "config": None}


def remember(*, home: Path | None, config: Path | None) -> None:
    """Keep what stood before the command, for `loaded`."""
    _said.update(home=home, config=config)


def loaded(**flags: Any) -> "Loaded":
    """Load the settings, with the command's own flags on top. None means not said.

    Raises:
        Misconfigured: see `jan.settings.load`.
    """
    from jan import settings

    return settings.load({**flags, "home": _said["home"]}, config=_said["config"])
