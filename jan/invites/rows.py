"""Invites as they are read from the database."""

from datetime import datetime
from typing import Any

import msgspec

from jan.invites.schemas import Invite, InviteProject, Status
from jan.wire import optional_seconds, seconds

# $1: the organization. $2: now; an invite that is overdue is expired before the job has come by.
SELECT = """
SELECT i.id, i.email, i.role, i.created_at, i.expires_at, i.accepted_at,
       CASE WHEN i.status = 'pending' AND i.expires_at <= $2 THEN 'expired' ELSE i.status END
           AS status,
       (SELECT coalesce(json_agg(json_build_object('id', p.project_id, 'role', p.role)
                                 ORDER BY p.project_id), '[]')::text
        FROM invite_project AS p WHERE p.invite_id = i.id) AS projects
FROM invite AS i WHERE i.organization_id = $1
"""
ONE = SELECT + " AND i.id = $3"


def columns(row: Any) -> dict[str, Any]:
    """Read what `SELECT` found, as the fields of `Invite`."""
    projects = msgspec.json.decode(row["projects"], type=list[InviteProject])
    created_at: datetime = row["created_at"]
    status: Status = row["status"]
    return {
        "id": row["id"],
        "email": row["email"],
        "role": row["role"],
        "status": status,
        "created_at": seconds(created_at),
        "expires_at": seconds(row["expires_at"]),
        "accepted_at": optional_seconds(row["accepted_at"]),
        "projects": projects,
        "jan_projects": projects,
        "invited_at": created_at,
    }


def invite(row: Any) -> Invite:
    """Make an invite of its row."""
    return Invite(**columns(row))
