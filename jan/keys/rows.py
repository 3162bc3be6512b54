"""Keys as they are read: those that a caller may see, with their owners.

People see their own keys, wherever they act; those of projects that they own; and all of the
organization's if its role says so. A key sees what its scopes say, not what its owner would.
"""

from dataclasses import dataclass
from typing import Any

from jan.caller import Caller
from jan.db import paging
from jan.keys.schemas import ORGANIZATION_KINDS, Filter, Key, Owner
from jan.pages import Wanted
from jan.permissions import Scope, of_key
from jan.projects import access

# `l.role` is what the owner may do where the key acts.
ACCESS = """
p.archived_at IS NULL AND CASE
    WHEN k.user_id IS NULL THEN COALESCE(s.role, '') <> 'none'
    WHEN k.kind = 'organization' THEN u.is_enabled AND COALESCE(l.role, '') = 'owner'
    ELSE u.is_enabled AND l.role IS NOT NULL END
"""
# $1: the person who asks, if it is one. What owns a key, person or account, looks alike.
SELECT = f"""
SELECT k.id, k.name, k.kind, k.organization_id, k.project_id, k.user_id, k.service_account_id,
       k.scopes, k.allowed_models, k.hint, k.created_at, k.expires_at, k.revoked_at, k.last_used_at,
       COALESCE(u.id, s.id) AS owner_id, COALESCE(u.name, s.name) AS owner_name,
       u.email AS owner_email, COALESCE(u.created_at, s.created_at) AS owner_created_at,
       l.role AS owner_role, ({ACCESS}) AS has_access, o.role AS role_in_organization,
       org.is_default, p.archived_at,
       CASE WHEN p.owner_user_id = $1 THEN 'owner' ELSE mine.role END AS my_role
FROM api_key AS k
LEFT JOIN project AS p ON p.id = k.project_id
LEFT JOIN organization AS org ON org.id = k.organization_id
LEFT JOIN users AS u ON u.id = k.user_id
LEFT JOIN service_account AS s ON s.id = k.service_account_id
LEFT JOIN project_member AS m ON m.project_id = k.project_id AND m.user_id = k.user_id
LEFT JOIN organization_member AS o
       ON o.organization_id = k.organization_id AND o.user_id = k.user_id
LEFT JOIN project_member AS mine ON mine.project_id = k.project_id AND mine.user_id = $1
CROSS JOIN LATERAL (SELECT CASE
    WHEN s.id IS NOT NULL THEN s.role
    WHEN k.project_id IS NULL OR o.role = 'owner' THEN o.role
    WHEN p.owner_user_id = k.user_id THEN 'owner'
    ELSE m.role END AS role) AS l
WHERE true
"""  # noqa: S608 - our own words
OWNED_PROJECTS = """
ARRAY(SELECT project_id FROM project_member WHERE user_id = $1 AND role = 'owner'
      UNION ALL SELECT id FROM project WHERE owner_user_id = $1)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A key, and what the caller may do to it."""

    key: Key
    held: frozenset[Scope]
    """The caller's scopes where the key belongs."""
    is_own: bool
    """Whether the caller is the person whose key it is."""
    is_archived: bool
    """Whether its project is."""
    reach: frozenset[Scope]
    """All that the key may do now."""

    @property
    def is_visible(self) -> bool:
        """Whether the caller may know of it."""
        return self.is_own or Scope.KEYS_READ in self.held


async def find(
    connection: Any, caller: Caller, key_id: str, *, is_locked: bool = False
) -> Row | None:
    """Find a key of the caller's organization, or of the person's own project, by its id.

    `is_locked`: nobody else changes it until the end of the transaction.
    """
    row = await connection.fetchrow(
        f"{SELECT} AND k.id = $2 AND (k.organization_id = $3"
        " OR (k.organization_id IS NULL AND k.user_id = $1))"
        f"{' FOR NO KEY UPDATE OF k' if is_locked else ''}",
        *(_person(caller), key_id, caller.organization_id),
    )
    return None if row is None else _row(caller, row)


async def page(
    connection: Any, caller: Caller, wanted: Wanted, which: Filter, *, sees_all: bool
) -> list[Key]:
    """Read a page of keys, and one more.

    `sees_all`: others' too, of the named project, which the caller sees, or of the organization.
    """
    values: list[object] = [_person(caller)]

    def bound(value: object) -> str:
        values.append(value)
        return f"${len(values)}"

    kinds = list(which.kinds)
    # One kind is said so: then the index has its keys in the order of the list.
    is_kind = f"= {bound(kinds[0])}" if len(kinds) == 1 else f"= ANY({bound(kinds)})"
    conditions = [f"k.kind {is_kind}"]
    if which.project_id is not None:
        conditions.append(f"k.project_id = {bound(which.project_id)}")
        if not sees_all:
            conditions.append("k.user_id = $1")
    else:
        here = f"k.organization_id = {bound(caller.organization_id)}"
        has_own = caller.kind == "user" and not ORGANIZATION_KINDS.issuperset(kinds)
        at_home = "(k.organization_id IS NULL AND k.user_id = $1)"
        conditions.append(f"({here} OR {at_home})" if has_own else here)
        if not sees_all:
            conditions.append(f"(k.user_id = $1 OR k.project_id = ANY({OWNED_PROJECTS}))")
    if not which.has_revoked:
        conditions.append("k.revoked_at IS NULL")
    if which.has_access is not None:
        conditions.append(f"({ACCESS}) = {bound(which.has_access)}")
    select = " AND ".join((SELECT, *conditions))
    rows = await paging.fetch(connection, select, values, wanted, alias="k")
    return [_row(caller, row).key for row in rows]


def _person(caller: Caller) -> str | None:
    return caller.user_id if caller.kind == "user" else None


def _row(caller: Caller, row: Any) -> Row:
    values = dict(row)
    owner = {
        name: values.pop(f"owner_{name}") for name in ("id", "name", "email", "role", "created_at")
    }
    role, my_role = values.pop("role_in_organization"), values.pop("my_role")
    is_platform, archived_at = bool(values.pop("is_default")), values.pop("archived_at")
    key = Key(**values, owner=Owner(**owner) if owner["id"] else None)
    return Row(
        key=key,
        held=access.granted(caller, organization_id=key.organization_id, role=my_role),
        is_own=key.user_id is not None and key.user_id == _person(caller),
        is_archived=archived_at is not None,
        reach=of_key(
            key.kind,
            role,
            is_platform=is_platform,
            narrowed_to=None if key.scopes is None else frozenset(key.scopes),
        ),
    )
