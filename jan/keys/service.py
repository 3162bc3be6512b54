"""Rules of API keys: made once, shown once, never wider than who made them, revoked for good.

Whoever has a key's secret acts in its owner's name. So others than its owner may revoke it, but
never get a secret of it: rotation is for the owner alone.
"""

from contextlib import AsyncExitStack
from typing import Any

from jan import clock, pages
from jan.audit import service as audit
from jan.audit.schemas import OUTSIDE
from jan.caller import Caller
from jan.db import scope
from jan.errors import Conflict, Forbidden, InvalidRequest, NotFound
from jan.keys import rows, rules, text
from jan.keys.rows import Row
from jan.keys.schemas import ALL, ORGANIZATION_KINDS, Filter, Key, KeyChanges, KeyCreate, NewKey
from jan.keys.tables import new_key_id
from jan.pages import Page, Wanted
from jan.permissions import Scope
from jan.projects import access

INSERT = """
INSERT INTO api_key (id, name, kind, organization_id, project_id, user_id, service_account_id,
                     scopes, allowed_models, digest, hint, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
UPDATE = """
UPDATE api_key SET name = $2, scopes = $3, allowed_models = $4, expires_at = $5 WHERE id = $1
"""
REVOKE = "UPDATE api_key SET revoked_at = $2 WHERE id = $1"
ROTATE = "UPDATE api_key SET digest = $2, hint = $3, last_used_at = NULL WHERE id = $1"
ACCOUNT = "SELECT 1 FROM service_account WHERE id = $1 AND project_id = $2"


async def create(caller: Caller, wanted: KeyCreate, *, hmac_secret: str) -> NewKey:
    """Make a key. Names need not differ: people tell keys apart by their ids and hints.

    Raises:
        InvalidRequest: a field does not fit; `param` names it.
        Forbidden: the caller may not make such a key, or not with so much power.
        NotFound: no such project or service account, or none that the caller may see.
        Conflict: the project is archived.
    """
    rules.fits(wanted)
    secret, now, key_id = text.new(), clock.now(), new_key_id()
    name, models = rules.name(wanted.name), rules.models(wanted.allowed_models)
    expires_at = rules.expiry(wanted, wanted.kind, created_at=now, now=now)
    if expires_at is None and wanted.kind == "ephemeral":
        expires_at = now + rules.MAX_EPHEMERAL
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(scope.of(caller))
        project_id, organization_id = None, caller.organization_id
        if wanted.kind in ORGANIZATION_KINDS:
            caller.require(Scope.KEYS_ADMIN)
            if organization_id is None:
                raise NotFound("There is no organization that the key would be for.")
        else:
            needed = Scope.KEYS_ADMIN if wanted.kind == "service" else Scope.KEYS_WRITE
            named = wanted.project_id or caller.project_id or await access.default(caller)
            place = await stack.enter_async_context(
                access.within(caller, named, needed, is_changed=True)
            )
            project_id, organization_id = place.id, place.organization_id
        scopes = rules.scopes(caller, wanted.kind, wanted.scopes)
        account_id = wanted.service_account_id
        if account_id and not await connection.fetchval(ACCOUNT, account_id, project_id):
            raise NotFound(f"There is no service account `{account_id}` in this project.")
        await connection.execute(
            INSERT,
            *(key_id, name, wanted.kind, organization_id, project_id),
            None if account_id else caller.user_id,
            *(account_id, scopes, models, text.digest(secret, hmac_secret), text.hint(secret)),
            *(now, expires_at),
        )
        key = await _reread(caller, connection, key_id)
        data = {"name": name, "kind": wanted.kind, "scopes": scopes, "allowed_models": models}
        await _record(caller, "api_key.created", key, data={**data, "expires_at": expires_at})
    return NewKey(key, secret)


async def get(caller: Caller, key_id: str, which: Filter = ALL) -> Key:
    """Find a key.

    Raises:
        NotFound: there is none of this id, or none that the caller may see.
    """
    async with scope.of(caller) as connection:
        return (await _find(caller, connection, key_id, which)).key


async def page(caller: Caller, wanted: Wanted, which: Filter = ALL) -> Page[Key]:
    """List the keys that the caller may see: their own, and others' where they administer.

    Raises:
        Forbidden: the caller is a key that may not read keys.
        NotFound: no such project, or none that the caller may see.
        InvalidRequest: the cursor is none of the list's ids.
    """
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(scope.reading(caller))
        held = caller.scopes
        if which.project_id is not None:
            place = await stack.enter_async_context(
                access.within(caller, which.project_id, Scope.PROJECTS_READ)
            )
            held = place.held
        if caller.kind != "user":
            caller.require(Scope.KEYS_READ)
        sees_all = Scope.KEYS_READ in held
        found = await rows.page(connection, caller, wanted, which, sees_all=sees_all)
    return pages.page(found, wanted)


async def update(caller: Caller, key_id: str, changes: KeyChanges, which: Filter = ALL) -> Key:
    """Change a key's name or its end, or narrow or widen it within its kind.

    Raises:
        InvalidRequest: a field does not fit, or nothing is to change.
        NotFound, Forbidden: as `revoke`; or the caller lacks what the key would gain.
        Conflict: the key was revoked or has expired, or its project is archived.
    """
    if changes == KeyChanges():
        raise InvalidRequest("Name something that is to change.", param="name")
    async with scope.of(caller) as connection:
        row = await _find_to_change(caller, connection, key_id, which)
        key, now = row.key, clock.now()
        _require_working(row)
        after: dict[str, Any] = {}
        if changes.name is not None:
            after["name"] = rules.name(changes.name)
        if changes.scopes is not None:
            after["scopes"] = rules.scopes(caller, key.kind, changes.scopes or None)
        if changes.allowed_models is not None:
            if key.kind == "admin":
                raise InvalidRequest(rules.NO_MODELS, param="allowed_models")
            after["allowed_models"] = rules.models(changes.allowed_models or None)
        if expires_at := rules.expiry(changes, key.kind, created_at=key.created_at, now=now):
            after["expires_at"] = expires_at
        before = {
            "name": key.name,
            "scopes": key.scopes,
            "allowed_models": key.allowed_models,
            "expires_at": key.expires_at,
        }
        await connection.execute(UPDATE, key.id, *(before | after).values())
        await _record(
            caller,
            "api_key.updated",
            key,
            before={field: before[field] for field in after},
            changes=after,
        )
        return await _reread(caller, connection, key.id)


async def revoke(caller: Caller, key_id: str, which: Filter = ALL) -> Key:
    """Stop a key from working, everywhere and for good. Revoking twice is not an error.

    People may revoke their own, whatever else they may no longer do.

    Raises:
        NotFound: there is none of this id, or none that the caller may see.
        Forbidden: it is another's, and the caller does not administer them.
    """
    async with scope.of(caller) as connection:
        row = await _find(caller, connection, key_id, which, is_locked=True)
        if not row.is_own:
            _require(row, caller)
        if row.key.revoked_at is not None:
            return row.key
        await connection.execute(REVOKE, row.key.id, clock.now())
        before = {"name": row.key.name, "kind": row.key.kind}
        await _record(caller, "api_key.deleted", row.key, before=before)
        return await _reread(caller, connection, row.key.id)


async def rotate(caller: Caller, key_id: str, *, hmac_secret: str, which: Filter = ALL) -> NewKey:
    """Give a key another secret. The old one stops working at once.

    Raises:
        NotFound: as `revoke`.
        Forbidden: it is another person's, or may do more than the caller.
        Conflict: as `update`.
    """
    secret = text.new()
    async with scope.of(caller) as connection:
        row = await _find_to_change(caller, connection, key_id, which)
        key = row.key
        if caller.kind != "operator":
            if key.user_id not in {None, caller.user_id}:
                raise Forbidden(
                    "Who has this key acts in its owner's name: only they can rotate it."
                    " Revoke it, and make another."
                )
            if key.kind == "admin" and not row.reach <= caller.scopes:
                raise Forbidden("This key may do more than this credential.")
        _require_working(row)
        digest, hint = text.digest(secret, hmac_secret), text.hint(secret)
        await connection.execute(ROTATE, key.id, digest, hint)
        await _record(caller, "api_key.updated", key, changes={"secret": "rotated"})
        return NewKey(await _reread(caller, connection, key.id), secret)


async def _find(
    caller: Caller, connection: Any, key_id: str, which: Filter, *, is_locked: bool = False
) -> Row:
    row = await rows.find(connection, caller, key_id, is_locked=is_locked)
    if (
        row is None
        or not row.is_visible
        or row.key.kind not in which.kinds
        or which.project_id not in {None, row.key.project_id}
        or not (which.has_revoked or row.key.revoked_at is None)
    ):
        raise NotFound(f"There is no key `{key_id}`.")
    return row


async def _find_to_change(caller: Caller, connection: Any, key_id: str, which: Filter) -> Row:
    row = await _find(caller, connection, key_id, which, is_locked=True)
    _require(row, caller)
    return row


def _require(row: Row, caller: Caller) -> None:
    # The key of a person acts for them: for it, too, theirs are its own.
    is_own = caller.user_id is not None and row.key.user_id == caller.user_id
    is_of_project = row.key.project_id is not None
    needed = Scope.KEYS_WRITE if is_own and is_of_project else Scope.KEYS_ADMIN
    if needed not in row.held:
        raise Forbidden(f"For this key you lack the scope `{needed}`.")


def _require_working(row: Row) -> None:
    status = row.key.status(clock.now())
    if status != "active":
        verb = "was revoked" if status == "revoked" else "has expired"
        raise Conflict(f"The key `{row.key.id}` {verb}.")
    if row.is_archived:
        raise Conflict(f"The project `{row.key.project_id}` is archived.")


async def _reread(caller: Caller, connection: Any, key_id: str) -> Key:
    row = await rows.find(connection, caller, key_id)
    assert row is not None
    return row.key


async def _record(caller: Caller, act: str, key: Key, **sides: Any) -> None:
    await audit.record(
        caller,
        act,
        key.id,
        organization_id=key.organization_id or OUTSIDE,
        project_id=key.project_id,
        **sides,
    )
