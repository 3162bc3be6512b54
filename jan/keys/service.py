"""Rules of API keys: made once, shown once, never wider than who made them, revoked for good."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from jan import clock, pages
from jan.audit import service as audit
from jan.caller import Caller
from jan.db import paging, scope
from jan.errors import Forbidden, NotFound
from jan.keys import rules, text
from jan.keys.schemas import Key, KeyChanges, KeyCreate, NewKey, Owner
from jan.keys.tables import new_key_id
from jan.pages import Page, Wanted
from jan.permissions import KeyKind, Scope
from jan.projects import access

ORGANIZATION_KINDS: tuple[KeyKind, ...] = ("admin", "organization")
"""Keys that belong to no one project."""
PROJECT_KINDS: tuple[KeyKind, ...] = ("project", "service", "ephemeral")

# $1, $2: the caller's organization and person. What owns a key, person or account, looks alike.
SELECT = """
SELECT k.id, k.name, k.kind, k.organization_id, k.project_id, k.user_id, k.service_account_id,
       k.scopes, k.allowed_models, k.hint, k.created_at, k.expires_at, k.revoked_at, k.last_used_at,
       COALESCE(u.id, s.id) AS owner_id, COALESCE(u.name, s.name) AS owner_name,
       u.email AS owner_email, COALESCE(u.created_at, s.created_at) AS owner_created_at,
       CASE WHEN k.user_id = p.owner_user_id THEN 'owner'
            ELSE COALESCE(s.role, m.role, o.role) END AS owner_role,
       CASE WHEN p.owner_user_id = $2 THEN 'owner' ELSE mine.role END AS role_of_caller
FROM api_key AS k
LEFT JOIN project AS p ON p.id = k.project_id
LEFT JOIN users AS u ON u.id = k.user_id
LEFT JOIN service_account AS s ON s.id = k.service_account_id
LEFT JOIN project_member AS m ON m.project_id = k.project_id AND m.user_id = k.user_id
LEFT JOIN organization_member AS o
       ON o.organization_id = k.organization_id AND o.user_id = k.user_id
LEFT JOIN project_member AS mine ON mine.project_id = k.project_id AND mine.user_id = $2
WHERE (k.organization_id = $1 OR (k.organization_id IS NULL AND k.user_id = $2))
  AND k.kind = ANY($3) AND ($4::text IS NULL OR k.project_id = $4)
"""
VISIBLE = " AND ($5 OR k.user_id = $2 OR mine.role = 'owner' OR p.owner_user_id = $2)"
INSERT = """
INSERT INTO api_key (id, name, kind, organization_id, project_id, user_id, service_account_id,
                     scopes, allowed_models, digest, hint, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
UPDATE = "UPDATE api_key SET name = $2, scopes = $3, allowed_models = $4 WHERE id = $1"
REVOKE = "UPDATE api_key SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL"
ROTATE = "UPDATE api_key SET digest = $2, hint = $3, last_used_at = NULL WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which keys are meant, in a list or by an id."""

    kinds: Sequence[KeyKind] = (*PROJECT_KINDS, *ORGANIZATION_KINDS)
    project_id: str | None = None
    """None: of any project, and of none."""
    has_revoked: bool = True


async def create(caller: Caller, wanted: KeyCreate, *, hmac_secret: str) -> NewKey:
    """Make a key. Names need not differ: people tell keys apart by their ids and hints.

    Raises:
        InvalidRequest: a field does not fit; `param` names it.
        Forbidden: the caller may not make such a key, or not with so much power.
        NotFound: no such project or service account, or none that the caller may see.
        Conflict: the project is archived.
    """
    secret, now = text.new(), clock.now()
    expires_at, name = rules.expiry(wanted), rules.name(wanted.name)
    models = rules.models(wanted.allowed_models)
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(scope.of(caller))
        project_id, organization_id = None, caller.organization_id
        if wanted.kind in ORGANIZATION_KINDS:
            caller.require(Scope.KEYS_ADMIN)
        else:
            needed = Scope.KEYS_ADMIN if wanted.kind == "service" else Scope.KEYS_WRITE
            place = await stack.enter_async_context(
                access.within(
                    caller,
                    wanted.project_id or await access.default(caller),
                    needed,
                    is_changed=True,
                )
            )
            project_id, organization_id = place.id, place.organization_id
        scopes = rules.scopes(caller, wanted.kind, wanted.scopes)
        account_id = wanted.service_account_id if wanted.kind == "service" else None
        if wanted.kind == "service":
            await _require_account(connection, account_id, project_id)
        key_id = new_key_id()
        await connection.execute(
            INSERT,
            *(key_id, name, wanted.kind, organization_id, project_id),
            None if account_id else caller.user_id,
            *(account_id, scopes, models, text.digest(secret, hmac_secret), text.hint(secret)),
            *(now, expires_at),
        )
        key = await get(caller, key_id)
        await audit.record(
            caller,
            "api_key.created",
            key_id,
            organization_id=organization_id,
            project_id=project_id,
            data={"name": name, "kind": wanted.kind, "scopes": scopes, "allowed_models": models},
        )
    return NewKey(key, secret)


async def get(caller: Caller, key_id: str, which: Filter = Filter()) -> Key:
    """Find a key.

    Raises:
        NotFound: there is none of this id, or none that the caller may see.
    """
    async with scope.of(caller) as connection:
        key, _ = await _find(caller, connection, key_id, which)
    return key


async def page(caller: Caller, wanted: Wanted, which: Filter = Filter()) -> Page[Key]:
    """List the keys that the caller may see: their own, and others' where they administer.

    Raises:
        NotFound: no such project, or none that the caller may see.
    """
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(scope.of(caller))
        if which.project_id is not None:
            await stack.enter_async_context(
                access.within(caller, which.project_id, Scope.PROJECTS_READ)
            )
        select = SELECT + VISIBLE + ("" if which.has_revoked else " AND k.revoked_at IS NULL")
        sees_all = Scope.KEYS_READ in caller.scopes
        values = (*_values(caller, which), sees_all)
        rows = await paging.fetch(connection, select, values, wanted, alias="k")
    return pages.page([_key(row) for row in rows], wanted)


async def update(caller: Caller, key_id: str, changes: KeyChanges, which: Filter = Filter()) -> Key:
    """Change a key's name, or narrow or widen it within its kind.

    Raises:
        InvalidRequest: a field does not fit.
        NotFound, Forbidden: as `revoke`; or the caller lacks what the key would gain.
    """
    async with scope.of(caller) as connection:
        key = await _find_to_change(caller, connection, key_id, which)
        name = key.name if changes.name is None else rules.name(changes.name)
        scopes, models = key.scopes, key.allowed_models
        if changes.scopes is not None:
            scopes = rules.scopes(caller, key.kind, changes.scopes)
        if changes.allowed_models is not None:
            models = rules.models(changes.allowed_models)
        await connection.execute(UPDATE, key.id, name, scopes, models)
        await audit.record(
            caller,
            "api_key.updated",
            key.id,
            organization_id=key.organization_id,
            project_id=key.project_id,
            before={"name": key.name, "scopes": key.scopes, "allowed_models": key.allowed_models},
            changes={"name": name, "scopes": scopes, "allowed_models": models},
        )
        return await get(caller, key.id)


async def revoke(caller: Caller, key_id: str, which: Filter = Filter()) -> Key:
    """Stop a key from working, everywhere and for good. Revoking twice is not an error.

    Raises:
        NotFound: there is none of this id, or none that the caller may see.
        Forbidden: it is another's, and the caller does not administer them.
    """
    async with scope.of(caller) as connection:
        key = await _find_to_change(caller, connection, key_id, which)
        if key.revoked_at is not None:
            return key
        await connection.execute(REVOKE, key.id, clock.now())
        await audit.record(
            caller,
            "api_key.deleted",
            key.id,
            organization_id=key.organization_id,
            project_id=key.project_id,
            before={"name": key.name, "kind": key.kind},
        )
        return await get(caller, key.id)


async def rotate(
    caller: Caller, key_id: str, *, hmac_secret: str, which: Filter = Filter()
) -> NewKey:
    """Give a key another secret. The old one stops working at once.

    Raises:
        NotFound: as `revoke`; or the key no longer works.
        Forbidden: as `revoke`.
    """
    secret = text.new()
    async with scope.of(caller) as connection:
        key = await _find_to_change(caller, connection, key_id, which)
        if key.status(clock.now()) != "active":
            raise NotFound(f"The key `{key_id}` no longer works.")
        await connection.execute(
            ROTATE, key.id, text.digest(secret, hmac_secret), text.hint(secret)
        )
        await audit.record(
            caller,
            "api_key.updated",
            key.id,
            organization_id=key.organization_id,
            project_id=key.project_id,
            changes={"secret": "rotated"},
        )
        return NewKey(await get(caller, key.id), secret)


def _values(caller: Caller, which: Filter) -> tuple[object, ...]:
    return (caller.organization_id, caller.user_id, list(which.kinds), which.project_id)


async def _find(
    caller: Caller, connection: Any, key_id: str, which: Filter
) -> tuple[Key, frozenset[Scope]]:
    row = await connection.fetchrow(SELECT + " AND k.id = $5", *_values(caller, which), key_id)
    if row is not None:
        key = _key(row)
        held = access.granted(
            caller, organization_id=key.organization_id, role=row["role_of_caller"]
        )
        is_own = caller.user_id is not None and key.user_id == caller.user_id
        is_shown = which.has_revoked or key.revoked_at is None
        if is_shown and (is_own or Scope.KEYS_READ in held):
            return key, held
    raise NotFound(f"There is no key `{key_id}`.")


async def _find_to_change(caller: Caller, connection: Any, key_id: str, which: Filter) -> Key:
    key, held = await _find(caller, connection, key_id, which)
    is_own = caller.user_id is not None and key.user_id == caller.user_id
    needed = Scope.KEYS_ADMIN
    if is_own and key.project_id is not None:
        needed = Scope.KEYS_WRITE
    if needed not in held:
        raise Forbidden(f"For this key you lack the scope `{needed}`.")
    return key


async def _require_account(connection: Any, account_id: str | None, project_id: str | None) -> None:
    found = await connection.fetchval(
        "SELECT 1 FROM service_account WHERE id = $1 AND project_id = $2", account_id, project_id
    )
    if found is None:
        raise NotFound(f"There is no service account `{account_id}` in this project.")


def _key(row: Any) -> Key:
    values = dict(row)
    values.pop("role_of_caller")
    owner = {name: values.pop(f"owner_{name}") for name in ("id", "name", "email", "created_at")}
    role = values.pop("owner_role")
    return Key(**values, owner=Owner(**owner, role=role) if owner["id"] else None)
