"""What the options before the command said, and the settings that follow from all sources."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `jan --help` must not pay for pydantic
    from jan.settings import Loaded

_flags: dict[str, Any] = {}
_config: list[Path] = []
_loaded: "list[Loaded]" = []


def remember(*, home: Path | None, config: Path | None, server: str | None) -> None:
    """Keep what stood before the command, for `loaded`."""
    _flags.update(home=home, server=server)
    _config[:] = [config] if config else []


def loaded(**flags: Any) -> "Loaded":
    """Load the settings, with the command's own flags on top. None means not said.

    Raises:
        Misconfigured: see `jan.settings.load` and `jan.owner.become`.
    """
    from jan import owner, settings

    said = {**_flags, **flags}
    owner.become(said)
    _loaded.append(settings.load(said, config=_config[0] if _config else None))
    return _loaded[-1]


def log_level() -> str | None:
    """Tell the level that the command's settings name. None before it has loaded them."""
    return _loaded[-1].settings.log_level if _loaded else None
