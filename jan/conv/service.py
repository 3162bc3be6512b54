"""Rules of workspaces: private to their owner, like the conversations in them."""

import unicodedata
from typing import Any

from msgspec import UNSET

from jan import clock, pages
from jan.caller import Caller
from jan.conv.schemas import Workspace, WorkspaceCreate, WorkspaceList
from jan.conv.tables import new_workspace_id
from jan.db import paging, scope
from jan.errors import InvalidRequest, NotFound
from jan.pages import Wanted
from jan.wire import Deleted

MAX_NAME_LENGTH = 50
"""In characters, as the database's column has it."""

COLUMNS = "id, name, instruction, created_at, updated_at"
INSERT = f"""
INSERT INTO workspace (id, project_id, owner_id, name, instruction, created_at, updated_at)
VALUES ($3, $1, $2, $4, $5, $6, $6) RETURNING {COLUMNS}
"""  # noqa: S608 - our own names
SELECT = f"SELECT {COLUMNS} FROM workspace AS w WHERE w.project_id = $1 AND w.owner_id = $2"  # noqa: S608 - as above
COUNT = "SELECT count(*) FROM workspace WHERE project_id = $1 AND owner_id = $2"
MINE = "WHERE project_id = $1 AND owner_id = $2 AND id = $3"
RENAME = f"UPDATE workspace SET name = $4, updated_at = $5 {MINE} RETURNING {COLUMNS}"  # noqa: S608 - as above
INSTRUCT = f"UPDATE workspace SET instruction = $4, updated_at = $5 {MINE} RETURNING {COLUMNS}"  # noqa: S608 - as above
DELETE = f"DELETE FROM workspace {MINE} RETURNING id"  # noqa: S608 - as above


async def create(caller: Caller, wanted: WorkspaceCreate) -> Workspace:
    """Make a workspace.

    Raises:
        InvalidRequest: the name does not fit, or the caller has no place for it.
    """
    place = caller.require_place()
    name, instruction = _name(wanted.name), _instruction(wanted.instruction)
    async with scope.of(caller) as connection:
        row = await connection.fetchrow(
            INSERT, *place, new_workspace_id(), name, instruction, clock.now()
        )
    return _workspace(row)


async def get(caller: Caller, workspace_id: str) -> Workspace:
    """Find a workspace of the caller's.

    Raises:
        NotFound: there is none of this id, or it is somebody else's.
    """
    async with scope.of(caller) as connection:
        row = await connection.fetchrow(
            f"{SELECT} AND w.id = $3", *caller.require_place(), workspace_id
        )
    return _found(row, workspace_id)


async def page(caller: Caller, wanted: Wanted) -> WorkspaceList:
    """List the caller's workspaces, oldest first.

    Raises:
        InvalidRequest: the cursor is none of the list's ids.
    """
    place = caller.require_place()
    async with scope.reading(caller) as connection:
        total = await connection.fetchval(COUNT, *place)
        rows = await paging.fetch(connection, SELECT, place, wanted, alias="w")
    found = pages.page([_workspace(row) for row in rows], wanted)
    return WorkspaceList(
        total=total,
        results=found.data,
        first_id=found.first_id,
        last_id=found.last_id,
        has_more=found.has_more,
    )


async def update(caller: Caller, workspace_id: str, name: str) -> Workspace:
    """Rename a workspace.

    Raises:
        InvalidRequest: the name does not fit.
        NotFound: as `get`.
    """
    return await _change(caller, RENAME, workspace_id, _name(name))


async def instruct(caller: Caller, workspace_id: str, instruction: str | None) -> Workspace:
    """Set what the model is told in all conversations of a workspace. None or blank: nothing.

    Raises:
        NotFound: as `get`.
    """
    return await _change(caller, INSTRUCT, workspace_id, _instruction(instruction))


async def delete(caller: Caller, workspace_id: str) -> Deleted:
    """Delete a workspace with all conversations in it.

    Raises:
        NotFound: as `get`.
    """
    async with scope.of(caller) as connection:
        if await connection.fetchval(DELETE, *caller.require_place(), workspace_id) is None:
            raise _missing(workspace_id)
    return Deleted(object="workspace.deleted", id=workspace_id)


async def _change(
    caller: Caller, statement: str, workspace_id: str, value: str | None
) -> Workspace:
    async with scope.of(caller) as connection:
        row = await connection.fetchrow(
            statement, *caller.require_place(), workspace_id, value, clock.now()
        )
    return _found(row, workspace_id)


def _name(said: str) -> str:
    name = said.strip()
    if not 1 <= len(name) <= MAX_NAME_LENGTH or any(map(_is_control, name)):
        raise InvalidRequest(
            f"A workspace's name has 1 to {MAX_NAME_LENGTH} characters,"
            " none of them a control character.",
            param="name",
        )
    return name


def _instruction(said: str | None) -> str | None:
    if said is not None and "\x00" in said:
        raise InvalidRequest(
            "`instruction` holds a NUL character, which can't be stored.", param="instruction"
        )
    return (said or "").strip() or None


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"


def _found(row: Any, workspace_id: str) -> Workspace:
    if row is None:
        raise _missing(workspace_id)
    return _workspace(row)


def _missing(workspace_id: str) -> NotFound:
    return NotFound(f"There is no workspace `{workspace_id}`.")


def _workspace(row: Any) -> Workspace:
    return Workspace(
        id=row["id"],
        name=row["name"],
        instruction=row["instruction"] or UNSET,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
