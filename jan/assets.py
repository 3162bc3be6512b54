"""Files that ship with Jan but are not code: found here, whether frozen or in a checkout."""

import sys
from pathlib import Path

from jan.errors import Misconfigured


def path(relative: str) -> Path:
    """Find a shipped file or folder, such as `bundles/cpu/engine.lock`.

    Raises:
        Misconfigured: it is not there, so this copy of Jan is incomplete.
    """
    root = Path(getattr(sys, "_MEIPASS", Path(__file__).parent.parent))
    found = root / relative
    if not found.exists():
        raise Misconfigured(
            f"`{relative}` is missing from this copy of Jan.", hint="Install it again."
        )
    return found


def made_at_s() -> float:
    """When this copy of Jan was made, in seconds since 1970: no clock may say less."""
    return Path(__file__).stat().st_mtime
