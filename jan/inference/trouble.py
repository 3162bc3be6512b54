"""Why our own engine is away: told by the supervisor, who knows, to the gateways, who are asked.

A file beside the engine's socket, in a folder that is ours alone. Both sides are processes that may
be restarted at any time, so what is told has to outlive either, and needs nobody to be connected;
it can be read while the database is away, and by `cat`. Gateways look only while nobody answers.
"""

from contextlib import suppress
from pathlib import Path

NAME = "trouble.txt"
MAX_CHARS = 500
"""Of a reason; it is shown in one line."""


def tell(socket: Path, reason: str) -> None:
    """Say why nobody answers on the socket. Read whole or not at all."""
    draft = _file(socket).with_suffix(".new")
    with suppress(OSError):  # a full disk may be the very reason: all else must go on
        draft.write_text(" ".join(reason.split())[:MAX_CHARS], encoding="utf-8")
        draft.replace(_file(socket))


def clear(socket: Path) -> None:
    """Take back what was said, if anything was."""
    with suppress(OSError):
        _file(socket).unlink()


def told(socket: Path | None) -> str | None:
    """What was said about the socket last, and not taken back."""
    if socket is None:
        return None
    try:
        return _file(socket).read_text(encoding="utf-8") or None
    except (OSError, UnicodeDecodeError):
        return None


def _file(socket: Path) -> Path:
    return socket.with_name(NAME)
