"""Finds what a step of the schema's history takes away from programs that were there before it.

By its words alone, so it finds too much rather than too little: see `jan.db.migration`.
"""

import re
from collections.abc import Iterable, Sequence

# Bodies of functions, comments and texts: what is in them is not done now.
_ASIDE = re.compile(r"\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_MADE = re.compile(r'\bCREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?"?(\w+)"?')
_TABLE = re.compile(
    r"\b(?:ALTER TABLE (?:IF EXISTS )?(?:ONLY )?|TRUNCATE (?:TABLE )?|DELETE FROM (?:ONLY )?"
    r'|CREATE UNIQUE INDEX (?:CONCURRENTLY )?(?:IF NOT EXISTS )?(?:\w+ )?ON (?:ONLY )?)"?(\w+)"?'
)
_TAKING = {
    "drops something": re.compile(r"\bDROP (?!NOT NULL\b)"),
    "renames something": re.compile(r"\bRENAME\b"),
    "moves something": re.compile(r"\bSET SCHEMA\b"),
    "changes a column's type": re.compile(r"\bALTER (?:COLUMN )?\S+ (?:SET DATA )?TYPE\b"),
    "requires a value": re.compile(r"\bSET NOT NULL\b"),
    "restricts what rows hold": re.compile(
        r"\bADD (?:CONSTRAINT|CHECK|UNIQUE|PRIMARY KEY|FOREIGN KEY|EXCLUDE)\b"
        r"|\bCREATE UNIQUE INDEX\b"
    ),
    "hides rows": re.compile(r"\b(?:ENABLE|FORCE) ROW LEVEL SECURITY\b"),
    "removes rows": re.compile(r"^TRUNCATE\b|^DELETE FROM\b|^WITH .*\bDELETE FROM\b"),
    "takes a right": re.compile(r"^REVOKE\b"),
}
_ADDED = re.compile(
    r"\bADD (?!CONSTRAINT|CHECK|UNIQUE|PRIMARY|FOREIGN|EXCLUDE)(?:COLUMN )?(?:IF NOT EXISTS )?"
    r"\S+ (?:[^,()]|\([^()]*(?:\([^()]*\)[^()]*)*\))*"
)
_FILLED = re.compile(r"\bDEFAULT\b|\bGENERATED\b|\b\w*SERIAL\b")


def taken_away(statements: Sequence[str]) -> list[str]:
    """Tell what the statements of a step do that older programs may not bear.

    Tables that the step makes itself are its own: no older program knows them.
    """
    plain = [_plain(statement) for statement in statements]
    made = {table for statement in plain for table in _MADE.findall(statement)}
    return [
        f"{what}: {statement}"
        for statement in plain
        if not ((tables := set(_TABLE.findall(statement))) and tables <= made)
        for what in _of(statement)
    ]


def _of(statement: str) -> Iterable[str]:
    for what, pattern in _TAKING.items():
        if pattern.search(statement):
            yield what
    for added in _ADDED.findall(statement):
        if "NOT NULL" in added and not _FILLED.search(added):
            yield "requires a value"


def _plain(statement: str) -> str:
    """Write a statement in one line and capitals, without what is aside."""
    return " ".join(_ASIDE.sub(" ", statement).upper().split())
