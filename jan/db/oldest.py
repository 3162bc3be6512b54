"""The oldest release that runs on a database's schema, written down in the database itself.

It stands in the comment of the table of what has run, which every program reads before it does
anything. No comment: all run on it.
"""

import re
from importlib.metadata import version
from typing import Any

_NOTE = re.compile(r"Jan ([0-9.]+) or later")


def note(release: str) -> str:
    """Write the statement that notes it."""
    return f"COMMENT ON TABLE migration IS 'Jan {release} or later'"


async def read(connection: Any) -> str | None:
    """Read it. None: any."""
    said = await connection.fetchval("SELECT obj_description('migration'::regclass, 'pg_class')")
    found = _NOTE.fullmatch(said or "")
    return found and found[1]


def is_ours_older(release: str) -> bool:
    """Whether this program is older than that."""
    return parts(version("jan")) < parts(release)


def parts(release: str) -> tuple[int, ...]:
    """Take a release's number apart, to compare it."""
    return tuple(map(int, release.split(".")))
