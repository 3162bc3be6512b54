"""Rules of registered MCP servers: by administrators, for a project or a whole organization.

Credentials go in and never come out: they are sealed together with the server's id and origin, so
that neither a row that was moved nor a URL that was changed sends them to somebody else.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
from msgspec import UNSET

from jan import clock, pages
from jan.audit import service as audit
from jan.audit.schemas import OUTSIDE
from jan.caller import Caller
from jan.db import paging, scope
from jan.errors import Conflict, InvalidRequest, NotFound
from jan.net.policy import Policy
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.projects import access
from jan.seal import Broken, Seal
from jan.tools import registered
from jan.tools.registered import Registered, ServerCreate, ServerUpdate
from jan.tools.tables import new_mcp_server_id
from jan.wire import Deleted

PURPOSE = b"jan mcp server, credentials"
MAX_SERVERS = 100
"""Of one place."""

COLUMNS = """
s.id, s.organization_id, s.project_id, s.label, s.description, s.url, s.sealed, s.header_names,
s.allowed_tools, s.require_approval, s.is_enabled, s.tools, s.left_out, s.tools_listed_at,
s.last_checked_at, s.last_error, s.created_at, s.updated_at
"""
SELECT = f"SELECT {COLUMNS} FROM mcp_server AS s"  # noqa: S608 - our own words
FIND = f"{SELECT} WHERE s.id = $1"
OF_ORGANIZATION = f"{SELECT} WHERE s.organization_id = $1"
OF_PROJECT = (
    f"{SELECT} WHERE (s.project_id = $1 OR (s.project_id IS NULL AND s.organization_id = $2))"
)
USABLE = f"{OF_PROJECT} AND s.is_enabled ORDER BY s.project_id IS NULL, s.label"
COUNT = """
SELECT count(*) FROM mcp_server
WHERE project_id IS NOT DISTINCT FROM $1 AND organization_id IS NOT DISTINCT FROM $2
"""
INSERT = """
INSERT INTO mcp_server (id, organization_id, project_id, label, description, url, sealed,
                        header_names, allowed_tools, require_approval, is_enabled, created_at,
                        updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
"""
UPDATE = """
UPDATE mcp_server SET label = $2, description = $3, url = $4, sealed = $5, header_names = $6,
                      allowed_tools = $7, require_approval = $8, is_enabled = $9, updated_at = $10
WHERE id = $1
"""
FORGET = """
UPDATE mcp_server SET tools = NULL, left_out = '{}', tools_listed_at = NULL,
                      last_checked_at = NULL, last_error = NULL
WHERE id = $1
"""
DELETE = "DELETE FROM mcp_server WHERE id = $1"


class _Sealed(msgspec.Struct):
    id: str
    origin: str
    headers: dict[str, str]


class Servers:
    """What is needed to register servers and to come in to them."""

    def __init__(self, policy: Policy, api_key_secret: str) -> None:
        self._policy = policy
        self._seal = Seal(api_key_secret, PURPOSE)

    def url(self, said: str) -> str:
        """Take a URL that may be called. Raises UrlRefused, InvalidRequest."""
        if len(said) > registered.MAX_URL_LENGTH:
            raise InvalidRequest("The URL is too long.", param="url")
        return str(self._policy.read(said))

    def close(self, server_id: str, url: str, headers: Mapping[str, str]) -> str | None:
        """Seal headers for a server. None: there are none."""
        if not headers:
            return None
        return self._seal.close(
            msgspec.json.encode(_Sealed(server_id, _origin(url), dict(headers)))
        )

    def headers(self, server: Registered) -> dict[str, str]:
        """Open what is sent to a server. For the connection to it alone.

        Raises:
            Conflict: they were sealed with another secret, or for another server.
        """
        if server.sealed is None:
            return {}
        try:
            opened = msgspec.json.decode(self._seal.open(server.sealed), type=_Sealed)
        except Broken:
            raise _unreadable(server) from None
        if (opened.id, opened.origin) != (server.id, _origin(server.url)):
            raise _unreadable(server)
        return opened.headers


async def create(caller: Caller, wanted: ServerCreate, *, means: Servers) -> Registered:
    """Register a server. It is asked for its tools by the next check, or by `test`.

    Raises:
        InvalidRequest, UrlRefused: a field does not fit.
        Forbidden: the caller does not administer the place.
        NotFound: there is no such project, or none that the caller may see.
        Conflict: there is one of this label, or too many; or the project is archived.
    """
    label, url = registered.label(wanted.label), means.url(wanted.url)
    headers = registered.headers(wanted.headers, wanted.authorization)
    server_id, now = new_mcp_server_id(), clock.now()
    values = (
        *(label, registered.description(wanted.description), url),
        *(means.close(server_id, url, headers), sorted(headers)),
        *(registered.tools(wanted.allowed_tools), wanted.require_approval, wanted.enabled, now),
    )
    async with scope.of(caller) as connection:
        organization_id, project_id = await _place(caller, wanted.project_id)
        if await connection.fetchval(COUNT, project_id, organization_id) >= MAX_SERVERS:
            raise Conflict(f"There are {MAX_SERVERS} servers already.")
        try:
            await connection.execute(INSERT, server_id, organization_id, project_id, *values)
        except asyncpg.UniqueViolationError:
            raise _taken(label) from None
        server = await _found(connection, server_id)
        data = {"label": label, "url": url, "header_names": sorted(headers)}
        await _record(caller, "mcp_server.created", server, data=data)
    return server


async def get(caller: Caller, server_id: str) -> Registered:
    """Find a server of a project that the caller may see, or of the caller's organization.

    Raises:
        NotFound: there is none of this id, or none that the caller may see.
    """
    async with scope.of(caller) as connection:
        server = await _found(connection, server_id)
        if server.project_id is not None:
            try:
                async with access.within(caller, server.project_id, Scope.PROJECTS_READ):
                    pass
            except NotFound:
                raise _missing(server_id) from None
        return server


async def page(caller: Caller, wanted: Wanted, *, project_id: str | None) -> Page[Registered]:
    """List servers: those that can be used in a project, or all of the organization's.

    All of them sees who may read the organization; others, those of their project.

    Raises:
        NotFound: there is no such project, or none that the caller may see.
        InvalidRequest: the cursor is none of the list's ids.
    """
    async with scope.reading(caller) as connection:
        if project_id is None and Scope.ORGANIZATION_READ in caller.scopes:
            select, values = OF_ORGANIZATION, [caller.organization_id]
        elif (named := project_id or caller.project_id) is None:
            return pages.page([], wanted)
        else:
            async with access.within(caller, named, Scope.PROJECTS_READ) as place:
                select, values = OF_PROJECT, [place.id, place.organization_id]
        rows = await paging.fetch(connection, select, values, wanted, alias="s")
    return pages.page([Registered.of(row) for row in rows], wanted)


async def usable(caller: Caller) -> Sequence[Registered]:
    """Tell which servers requests in the caller's project may name.

    A project's own server stands before one of the organization that has the same label.
    """
    async with scope.of(caller) as connection:
        rows = await connection.fetch(USABLE, caller.project_id, caller.owning_organization_id)
    found: dict[str, Registered] = {}
    for row in rows:
        found.setdefault(row["label"], Registered.of(row))
    return list(found.values())


async def update(
    caller: Caller, server_id: str, changes: ServerUpdate, *, means: Servers
) -> Registered:
    """Change a server. Where its URL leads to another site, its credentials are dropped.

    Raises:
        As `create` and `get`.
    """
    async with scope.of(caller) as connection:
        before = await get(caller, server_id)
        await _place(caller, before.project_id)
        url = before.url if changes.url is UNSET else means.url(changes.url)
        sealed, names = before.sealed, before.header_names
        is_moved = _origin(url) != _origin(before.url)
        is_said = changes.headers is not UNSET or changes.authorization is not UNSET
        if is_said or is_moved:
            said = {} if changes.headers is UNSET else changes.headers
            token = None if changes.authorization is UNSET else changes.authorization
            headers = registered.headers(said, token)
            sealed, names = means.close(before.id, url, headers), sorted(headers)
        label = before.label if changes.label is UNSET else registered.label(changes.label)
        described = changes.description
        allowed = changes.allowed_tools
        approval, enabled = changes.require_approval, changes.enabled
        try:
            await connection.execute(
                UPDATE,
                *(before.id, label),
                before.description if described is UNSET else registered.description(described),
                *(url, sealed, names),
                before.allowed_tools if allowed is UNSET else registered.tools(allowed),
                before.require_approval if approval is UNSET else approval,
                before.is_enabled if enabled is UNSET else enabled,
                clock.now(),
            )
        except asyncpg.UniqueViolationError:
            raise _taken(label) from None
        if url != before.url or is_said:
            await connection.execute(FORGET, before.id)
        server = await _found(connection, before.id)
        await _record(
            caller,
            "mcp_server.updated",
            server,
            before=_told(before),
            changes=_told(server) | ({"headers": "replaced"} if is_said or is_moved else {}),
        )
    return server


async def delete(caller: Caller, server_id: str) -> Deleted:
    """Forget a server, and its credentials.

    Raises:
        NotFound: as `get`.
        Forbidden: the caller does not administer its place.
    """
    async with scope.of(caller) as connection:
        server = await get(caller, server_id)
        await _place(caller, server.project_id)
        await connection.execute(DELETE, server.id)
        await _record(caller, "mcp_server.deleted", server, before=_told(server))
    return Deleted(object="mcp.server.deleted", id=server.id)


async def administered(caller: Caller, server_id: str) -> Registered:
    """Find a server whose place the caller administers.

    Raises:
        NotFound: as `get`.
        Forbidden: the caller does not administer it.
    """
    async with scope.of(caller):
        server = await get(caller, server_id)
        await _place(caller, server.project_id)
    return server


async def _place(caller: Caller, project_id: str | None) -> tuple[str | None, str | None]:
    """Tell organization and project of what the caller administers. None: all projects."""
    if project_id is None:
        if caller.organization_id is None:
            project_id = caller.project_id if caller.is_at_home else None
        else:
            caller.require(Scope.MCP_ADMIN)
            return caller.organization_id, None
    if project_id is None:
        raise NotFound("There is no organization that the server would be for.")
    async with access.within(caller, project_id, Scope.MCP_ADMIN, is_changed=True) as place:
        return place.organization_id, place.id


async def _found(connection: Any, server_id: str) -> Registered:
    row = await connection.fetchrow(FIND, server_id)
    if row is None:
        raise _missing(server_id)
    return Registered.of(row)


async def _record(caller: Caller, act: str, server: Registered, **sides: Any) -> None:
    await audit.record(
        caller,
        act,
        server.id,
        organization_id=server.organization_id or OUTSIDE,
        project_id=server.project_id,
        **sides,
    )


def _told(server: Registered) -> dict[str, Any]:
    return {
        "label": server.label,
        "url": server.url,
        "header_names": server.header_names,
        "allowed_tools": server.allowed_tools,
        "require_approval": server.require_approval,
        "enabled": server.is_enabled,
    }


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _missing(server_id: str) -> NotFound:
    return NotFound(f"There is no MCP server `{server_id}`.")


def _taken(label: str) -> Conflict:
    return Conflict(f"There is an MCP server `{label}` already.")


def _unreadable(server: Registered) -> Conflict:
    return Conflict(f"The credentials of `{server.label}` can't be read: give them anew.")
