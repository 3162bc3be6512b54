"""What answers on OpenAI's paths have in common."""

from datetime import datetime
from typing import Literal

import msgspec


class Deleted(msgspec.Struct, kw_only=True):
    """What is told of a thing that is there no more."""

    object: str
    """The thing's own `object`, and `.deleted`."""
    id: str
    deleted: Literal[True] = True


def seconds(moment: datetime) -> int:
    """Tell a time as OpenAI does: whole seconds since 1970 in UTC."""
    return int(moment.timestamp())


def optional_seconds(moment: datetime | None) -> int | None:
    """As `seconds`, of what may not have happened."""
    return None if moment is None else seconds(moment)
