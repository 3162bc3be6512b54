"""Invites: a place in an organization, offered to whoever reads mail at an address.

Nobody offers what they lack. An invite is good for as long as who sent it is an owner.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg

from jan import clock, pages
from jan.audit import service as audit
from jan.caller import Caller
from jan.db import paging, scope
from jan.errors import Conflict, Forbidden, InvalidRequest, NotFound
from jan.invites import rows
from jan.invites.means import Means
from jan.invites.schemas import Invite, InviteCreate, InviteProject
from jan.invites.tables import new_invite_id
from jan.pages import Page, Wanted
from jan.permissions import ORGANIZATION_ROLES, OrganizationRole, Scope
from jan.users import emails
from jan.wire import Deleted

LIFETIME = timedelta(days=7)
MAX_PROJECTS = 100
TEMPLATE = "mail/invite"

IS_MEMBER = """
SELECT 1 FROM organization_member AS m JOIN users AS u ON u.id = m.user_id
WHERE m.organization_id = $1 AND u.email = $2
"""
FIND_PROJECTS = "SELECT id, archived_at FROM project WHERE organization_id = $1 AND id = ANY($2)"
# So that it does not stand in the way of a new one until the job has come by.
EXPIRE = """
UPDATE invite SET status = 'expired'
WHERE organization_id = $1 AND email = $2 AND status = 'pending' AND expires_at <= $3
"""
INSERT = """
INSERT INTO invite (id, organization_id, email, role, digest, status, invited_by, was_mailed,
                    created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, 'pending', $6, $7, $8, $9)
ON CONFLICT (organization_id, email) WHERE status = 'pending' DO NOTHING RETURNING id
"""
INSERT_PROJECTS = """
INSERT INTO invite_project (invite_id, organization_id, project_id, role)
SELECT $1, $2, project_id, role FROM unnest($3::text[], $4::text[]) AS wanted (project_id, role)
"""
LOCK = "SELECT id FROM invite WHERE organization_id = $1 AND id = $2 FOR UPDATE"
RENEW = """
UPDATE invite SET digest = $2, status = 'pending', invited_by = $3, was_mailed = $4, expires_at = $5
WHERE id = $1
"""
DELETE = "DELETE FROM invite WHERE id = $1"
ORGANIZATION = "SELECT name FROM organization WHERE id = $1"


async def create(caller: Caller, wanted: InviteCreate, *, means: Means) -> Invite:
    """Invite somebody, whether or not they have an account. The mail goes out after it.

    Raises:
        InvalidRequest: the address is none, or a project is named twice; `param` names it.
        Forbidden: the caller may not invite, or lacks what the invite would grant.
        NotFound: no such project in the organization.
        Conflict: they are in it, or invited already; or a project is archived.
    """
    caller.require(Scope.INVITES_ADMIN)
    email, projects = emails.normal(wanted.email), wanted.projects or []
    _require_power(caller, wanted.role, projects)
    invite_id, code, now = new_invite_id(), means.codes.new(), clock.now()
    async with scope.of(caller) as connection:
        await _check_projects(caller, connection, projects)
        await _require_stranger(caller, connection, email)
        await connection.execute(EXPIRE, caller.organization_id, email, now)
        inserted = await connection.fetchval(
            INSERT,
            *(invite_id, caller.organization_id, email, wanted.role, means.codes.digest(code)),
            *(caller.user_id, means.outbox.is_configured, now, now + LIFETIME),
        )
        if inserted is None:
            raise _invited(email)
        await connection.execute(
            INSERT_PROJECTS,
            *(invite_id, caller.organization_id),
            *([project.id for project in projects], [project.role for project in projects]),
        )
        return await _send(caller, connection, invite_id, code, means)


async def get(caller: Caller, invite_id: str) -> Invite:
    """Find an invite of the caller's organization.

    Raises:
        Forbidden: the caller may not see who is invited.
        NotFound: there is none of this id.
    """
    caller.require(Scope.ORGANIZATION_READ)
    async with scope.of(caller) as connection:
        return await _find(caller, connection, invite_id)


async def page(caller: Caller, wanted: Wanted) -> Page[Invite]:
    """List the organization's invites, accepted and expired ones included.

    Raises:
        Forbidden: as `get`.
        InvalidRequest: the cursor is none of the list's ids.
    """
    caller.require(Scope.ORGANIZATION_READ)
    values = [caller.organization_id, clock.now()]
    async with scope.reading(caller) as connection:
        found = await paging.fetch(connection, rows.SELECT, values, wanted, alias="i")
    return pages.page([rows.invite(row) for row in found], wanted)


async def resend(caller: Caller, invite_id: str, *, means: Means) -> Invite:
    """Send an invite again, with a new code and another seven days. The old code is void.

    Raises:
        NotFound: there is none of this id.
        Forbidden: the caller may not invite, or lacks what the invite would grant.
        Conflict: they have accepted it, are in the organization, or are invited anew.
    """
    caller.require(Scope.INVITES_ADMIN)
    code, now = means.codes.new(), clock.now()
    async with scope.of(caller) as connection:
        invite = await _lock(caller, connection, invite_id)
        _require_power(caller, invite.role, invite.projects)
        await _require_stranger(caller, connection, invite.email)
        try:
            await connection.execute(
                RENEW,
                *(invite_id, means.codes.digest(code), caller.user_id),
                *(means.outbox.is_configured, now + LIFETIME),
            )
        except asyncpg.UniqueViolationError:
            raise _invited(invite.email) from None
        return await _send(caller, connection, invite_id, code, means, is_again=True)


async def delete(caller: Caller, invite_id: str) -> Deleted:
    """Take an invite back. Its link is void.

    Raises:
        Forbidden: the caller may not invite.
        NotFound: there is none of this id.
        Conflict: it was accepted; who came in by it is removed as a member.
    """
    caller.require(Scope.INVITES_ADMIN)
    async with scope.of(caller) as connection:
        invite = await _lock(caller, connection, invite_id)
        await connection.execute(DELETE, invite.id)
        before = {"email": invite.email, "role": invite.role}
        await audit.record(caller, "invite.deleted", invite.id, before=before)
    return Deleted(object="organization.invite.deleted", id=invite.id)


def _require_power(
    caller: Caller, role: OrganizationRole, projects: Sequence[InviteProject]
) -> None:
    """Refuse to grant by an invite what the caller could not grant by other means."""
    granted = ORGANIZATION_ROLES[role] - ORGANIZATION_ROLES["member"]
    if Scope.MEMBERS_ADMIN not in caller.scopes and (beyond := granted - caller.scopes):
        raise Forbidden(
            f"You can't invite with the role `{role}`: this credential lacks `{min(beyond)}`.",
            param="role",
        )
    if projects:
        caller.require(Scope.PROJECTS_ADMIN)


async def _check_projects(
    caller: Caller, connection: Any, projects: Sequence[InviteProject]
) -> None:
    if len(projects) > MAX_PROJECTS:
        raise InvalidRequest(f"An invite names {MAX_PROJECTS} projects at most.", param="projects")
    found = await connection.fetch(
        FIND_PROJECTS, caller.organization_id, [project.id for project in projects]
    )
    archived = {row["id"]: row["archived_at"] is not None for row in found}
    seen = set[str]()
    for number, project in enumerate(projects):
        param = f"projects[{number}].id"
        if project.id not in archived:
            raise NotFound(f"There is no project `{project.id}`.", param=param)
        if archived[project.id]:
            raise Conflict(f"The project `{project.id}` is archived.", param=param)
        if project.id in seen:
            raise InvalidRequest("A project is named once.", param=param)
        seen.add(project.id)


async def _require_stranger(caller: Caller, connection: Any, email: str) -> None:
    if await connection.fetchval(IS_MEMBER, caller.organization_id, email):
        raise Conflict(f"{email} is in the organization already.", param="email")


async def _lock(caller: Caller, connection: Any, invite_id: str) -> Invite:
    """Find an invite that is not accepted, and keep it so until the transaction is over."""
    await connection.execute(LOCK, caller.organization_id, invite_id)
    invite = await _find(caller, connection, invite_id)
    if invite.status == "accepted":
        raise Conflict(f"{invite.email} has accepted the invite.")
    return invite


async def _find(caller: Caller, connection: Any, invite_id: str) -> Invite:
    row = await connection.fetchrow(rows.ONE, caller.organization_id, clock.now(), invite_id)
    if row is None:
        raise NotFound(f"There is no invite `{invite_id}`.")
    return rows.invite(row)


async def _send(  # noqa: PLR0913 - as many as a letter has sides
    caller: Caller,
    connection: Any,
    invite_id: str,
    code: str,
    means: Means,
    *,
    is_again: bool = False,
) -> Invite:
    """Promise the mail, or put the link into the answer where there is none to send it by."""
    invite, link = await _find(caller, connection, invite_id), means.link(code)
    if means.outbox.is_configured:
        organization = await connection.fetchval(ORGANIZATION, caller.organization_id)
        context = {
            "organization": organization,
            "inviter": caller.email or organization,
            "link": link,
            "days": LIFETIME.days,
        }
        await means.outbox.post(connection, TEMPLATE, invite.email, context)
    else:
        invite.link = link
    await audit.record(
        caller,
        "invite.sent",
        invite.id,
        data={
            "email": invite.email,
            "role": invite.role,
            "projects": {project.id: project.role for project in invite.projects},
            "is_again": is_again,
        },
    )
    return invite


def _invited(email: str) -> Conflict:
    return Conflict(f"{email} is invited already: send that invite again.", param="email")
