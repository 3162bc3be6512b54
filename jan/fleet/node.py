"""This machine, or container, as the fleet calls it."""

import socket
from pathlib import Path

MAX_LENGTH = 200
"""Of a name, in the database."""


def name(home: Path) -> str:
    """Name the node whose `jan serve` has this JAN_HOME: a machine may have several."""
    return f"{socket.gethostname()}:{home}"[:MAX_LENGTH]
