"""What the database says of a credential: who it stands for, where, and what they may do there.

One query a credential, before there is a caller. What it reads is what the triggers on `jan_access`
notify of: whatever changes the answer makes every process ask again.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from jan import permissions
from jan.caller import Caller
from jan.db import scope

INCORRECT = "The API key is incorrect."
REVOKED = "The API key was revoked."
EXPIRED = "The API key has expired."
DISABLED = "The account is disabled."
ARCHIVED = "The API key's project is archived."
NO_PLACE = "The API key's owner is no longer in its project."
NO_OWNER = "The API key's owner no longer owns its organization."
GONE = "The account is gone."
SIGNED_OUT = "The session has ended. Sign in again."
NO_ORGANIZATION = "There is no organization `{}`, or you are not in it."
NO_PROJECT = "There is no project `{}`, or you are not in it."

# $2: the project that a key of the whole organization is to act in; its oldest where none is named.
_KEY = """
SELECT k.id, k.kind, k.organization_id, k.user_id, k.service_account_id, k.scopes,
       k.allowed_models, k.expires_at, k.revoked_at, u.email, u.is_enabled, u.is_guest,
       o.is_default, m.role AS organization_role, p.id AS project_id, p.archived_at,
       p.owner_user_id, pm.role AS project_role, s.role AS account_role,
       o.allowed_models AS organization_models, p.allowed_models AS project_models,
       p.denied_models, p.queue_weight
FROM api_key AS k
LEFT JOIN users AS u ON u.id = k.user_id
LEFT JOIN organization AS o ON o.id = k.organization_id
LEFT JOIN organization_member AS m
       ON m.organization_id = k.organization_id AND m.user_id = k.user_id
LEFT JOIN LATERAL (
    SELECT id, archived_at, owner_user_id, allowed_models, denied_models, queue_weight
    FROM project
    WHERE CASE
        WHEN k.project_id IS NOT NULL THEN id = k.project_id
        WHEN k.kind <> 'organization' THEN false
        WHEN $2 <> '' THEN id = $2 AND organization_id = k.organization_id
        ELSE organization_id = k.organization_id AND archived_at IS NULL
    END
    ORDER BY created_at, id LIMIT 1
) AS p ON true
LEFT JOIN project_member AS pm ON pm.project_id = p.id AND pm.user_id = k.user_id
LEFT JOIN service_account AS s ON s.id = k.service_account_id
WHERE
"""
KEY = f"{_KEY} k.digest = $1"
KEY_BY_ID = f"{_KEY} k.id = $1"

_PERSON = """
u.id AS user_id, u.email, u.is_enabled, u.is_guest,
m.organization_id, m.role AS organization_role, m.is_default,
p.id AS project_id, p.archived_at, p.owner_user_id, pm.role AS project_role,
m.organization_models, p.allowed_models AS project_models, p.denied_models, p.queue_weight
"""
# $2, $3: the organization and the project that the request names. Where it names none: the default
# organization, or the first that they joined; and their own project.
_PLACE = """
LEFT JOIN LATERAL (
    SELECT om.organization_id, om.role, o.is_default, o.allowed_models AS organization_models
    FROM organization_member AS om JOIN organization AS o ON o.id = om.organization_id
    WHERE om.user_id = u.id AND CASE
        WHEN $2 <> '' THEN om.organization_id = $2
        WHEN $3 <> '' THEN om.organization_id = (SELECT organization_id FROM project WHERE id = $3)
        ELSE true
    END
    ORDER BY o.is_default DESC, om.created_at, om.organization_id LIMIT 1
) AS m ON true
LEFT JOIN project AS p ON CASE
    WHEN $3 <> '' THEN p.id = $3
        AND (p.owner_user_id = u.id OR p.organization_id = m.organization_id)
    ELSE p.owner_user_id = u.id
END
LEFT JOIN project_member AS pm ON pm.project_id = p.id AND pm.user_id = u.id
"""
SESSION = f"""
SELECT s.id, s.expires_at, s.ended_at, {_PERSON}
FROM session AS s JOIN users AS u ON u.id = s.user_id {_PLACE} WHERE s.id = $1
"""  # noqa: S608 - our own words
PERSON = f"SELECT {_PERSON} FROM users AS u {_PLACE} WHERE u.id = $1"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Found:
    """What a credential stands for, or why it does not work."""

    caller: Caller | None
    refusal: str = ""
    is_missing: bool = False
    """Whether it works, but what the request names beside it is not there for it."""
    expires_at: datetime | None = None
    subjects: frozenset[str] = frozenset()
    """`<kind>:<id>` of everything that, if it changes, makes this untrue."""


async def key(digest: bytes, organization_id: str, project_id: str) -> Found:
    """Look an API key up. What the request names must be what the key is for."""
    async with scope.system() as connection:
        row = await connection.fetchrow(KEY, digest.hex(), project_id)
    return _of_key(row, organization_id, project_id)


async def again(caller: Caller) -> Found:
    """Look up anew who was let in before, for what is done in their name later than they asked.

    Whether they have signed out, or their key has run out, since then makes no difference.
    """
    organization_id = caller.owning_organization_id or ""
    place = organization_id, caller.project_id or ""
    async with scope.system() as connection:
        if caller.key_id is not None:
            row = await connection.fetchrow(KEY_BY_ID, caller.key_id, place[1])
            return _of_key(row, *place)
        row = await connection.fetchrow(PERSON, caller.user_id, *place)
    if row is None:
        return Found(None, GONE)
    return _of_person(row, frozenset(), *place)


def _of_key(row: Any, organization_id: str, project_id: str) -> Found:
    if row is None:
        return Found(None, INCORRECT)
    subjects = _subjects(
        key=row["id"],
        user=row["user_id"],
        project=row["project_id"],
        organization=row["organization_id"],
    )
    if refusal := _refusal_of_key(row):
        return Found(None, refusal, subjects=subjects)
    if organization_id not in {"", row["organization_id"]}:
        return Found(None, NO_ORGANIZATION.format(organization_id), True, subjects=subjects)
    is_archived = row["archived_at"] is not None  # that of a key of one project is refused above
    if project_id and (project_id != row["project_id"] or is_archived):
        return Found(None, NO_PROJECT.format(project_id), True, subjects=subjects)
    scopes = permissions.of_key(
        row["kind"],
        row["organization_role"],
        is_platform=bool(row["is_default"]),
        narrowed_to=None if row["scopes"] is None else frozenset(row["scopes"]),
    )
    if row["account_role"] == "none":
        scopes = frozenset()
    caller = Caller(
        kind="key",
        scopes=scopes,
        organization_id=row["organization_id"],
        project_id=row["project_id"],
        is_at_home=row["owner_user_id"] is not None,
        user_id=row["user_id"],
        key_id=row["id"],
        service_account_id=row["service_account_id"],
        email=row["email"],
        **_models(row, row["allowed_models"]),
    )
    return Found(caller, EXPIRED, expires_at=row["expires_at"], subjects=subjects)


async def session(session_id: str, organization_id: str, project_id: str) -> Found:
    """Look a signed-in person up, in the organization and the project that the request names."""
    async with scope.system() as connection:
        row = await connection.fetchrow(SESSION, session_id, organization_id, project_id)
    if row is None or row["ended_at"] is not None:
        return Found(None, SIGNED_OUT)
    subjects = _subjects(
        session=row["id"],
        user=row["user_id"],
        project=row["project_id"],
        organization=row["organization_id"],
    )
    found = _of_person(row, subjects, organization_id, project_id)
    if found.caller is None:
        return found
    caller = replace(found.caller, session_id=row["id"])
    return replace(found, caller=caller, refusal=SIGNED_OUT, expires_at=row["expires_at"])


def _of_person(row: Any, subjects: frozenset[str], organization_id: str, project_id: str) -> Found:
    if not row["is_enabled"]:
        return Found(None, DISABLED, subjects=subjects)
    if organization_id not in {"", row["organization_id"]}:
        return Found(None, NO_ORGANIZATION.format(organization_id), True, subjects=subjects)
    is_own = row["owner_user_id"] is not None
    role = _role_in_project(row)
    is_there = row["project_id"] is not None and role is not None and row["archived_at"] is None
    if project_id and not is_there:
        return Found(None, NO_PROJECT.format(project_id), True, subjects=subjects)
    caller = Caller(
        kind="user",
        scopes=permissions.of_user(
            row["organization_role"],
            role if is_there else None,
            is_guest=row["is_guest"],
            is_platform=bool(row["is_default"]),
        ),
        organization_id=row["organization_id"],
        project_id=row["project_id"] if is_there else None,
        is_at_home=is_own,
        user_id=row["user_id"],
        email=row["email"],
        **(_models(row) if is_there else {}),
    )
    return Found(caller, subjects=subjects)


def _refusal_of_key(row: Any) -> str | None:
    if row["revoked_at"] is not None:
        return REVOKED
    if row["user_id"] is not None and not row["is_enabled"]:
        return DISABLED
    if row["kind"] not in {"admin", "organization"} and row["archived_at"] is not None:
        return ARCHIVED
    return None if row["user_id"] is None else _refusal_of_owner(row)


def _refusal_of_owner(row: Any) -> str | None:
    if row["kind"] == "admin":  # it does what its owner's role may, however little
        return None
    if row["kind"] == "organization":
        # Its owner could use all projects when they made it. Now they may have none.
        return None if row["organization_role"] == "owner" else NO_OWNER
    return NO_PLACE if _role_in_project(row) is None else None


def _role_in_project(row: Any) -> permissions.ProjectRole | None:
    """A person's role in a project. Who owns the organization owns what is in it."""
    if row["owner_user_id"] is not None or row["organization_role"] == "owner":
        return "owner"
    return row["project_role"]


def _subjects(**ids: str | None) -> frozenset[str]:
    return frozenset(f"{kind}:{its_id}" for kind, its_id in ids.items() if its_id is not None)


def _models(row: Any, of_key: list[str] | None = None) -> dict[str, Any]:
    """Tell which models may be used: what key, project and organization say of it.

    A person's own project is in no organization, whose list says nothing there.
    """
    is_own = row["owner_user_id"] is not None
    lists = (row["project_models"], None if is_own else row["organization_models"])
    return {
        "allowed_models": None if of_key is None else frozenset(of_key),
        "allow_lists": tuple(frozenset(names) for names in lists if names is not None),
        "denied_models": frozenset(row["denied_models"] or ()),
        "queue_weight": row["queue_weight"] or 1,
    }
