"""Rules of API keys: made once, shown once, revoked for good."""

from typing import Any

from jan import clock
from jan.caller import Caller
from jan.errors import InvalidRequest, NotFound
from jan.keys import text
from jan.keys.schemas import Key, KeyCreate, NewKey
from jan.keys.tables import ApiKey, new_key_id

MAX_NAME_LENGTH = 200
COLUMNS = [
    ApiKey.id,
    ApiKey.name,
    ApiKey.hint,
    ApiKey.created_at,
    ApiKey.expires_at,
    ApiKey.revoked_at,
    ApiKey.last_used_at,
]


async def create(caller: Caller, wanted: KeyCreate, *, hmac_secret: str) -> NewKey:  # noqa: ARG001 - who may create keys is decided where callers have roles
    """Make a key. Names need not differ: people tell keys apart by their ids and hints.

    Raises:
        InvalidRequest: the name is empty, too long or not text; the expiry is in the past.
    """
    name = wanted.name.strip()
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidRequest(
            f"A key's name has 1 to {MAX_NAME_LENGTH} printable characters.", param="name"
        )
    if wanted.expires_at is not None and wanted.expires_at <= clock.now():
        raise InvalidRequest("The expiry is in the past.", param="expires_at")
    secret = text.new()
    key = Key(new_key_id(), name, text.hint(secret), clock.now(), wanted.expires_at, None, None)
    row = ApiKey(
        id=key.id,
        name=key.name,
        digest=text.digest(secret, hmac_secret),
        hint=key.hint,
        created_at=key.created_at,
        expires_at=key.expires_at,
    )
    await ApiKey.insert(row)
    return NewKey(key, secret)


async def get(caller: Caller, key_id: str) -> Key:  # noqa: ARG001 - as in create
    """Look a key up.

    Raises:
        NotFound: there is none of this id.
    """
    row: dict[str, Any] | None = None
    if key_id.isprintable():  # PostgreSQL takes no NUL, and a key of such an id there can't be
        row = await ApiKey.select(*COLUMNS).where(ApiKey.id == key_id).first()
    if row is None:
        raise NotFound(f"There is no key `{key_id}`.")
    return Key(**row)


async def page(caller: Caller) -> list[Key]:  # noqa: ARG001 - as in create
    """List all keys, oldest first, those that no longer work included."""
    rows = await ApiKey.select(*COLUMNS).order_by(ApiKey.created_at, ApiKey.id)
    return [Key(**row) for row in rows]


async def revoke(caller: Caller, key_id: str) -> Key:
    """Stop a key from working, everywhere and for good. Revoking twice is not an error.

    Raises:
        NotFound: there is none of this id.
    """
    key = await get(caller, key_id)
    working = (ApiKey.id == key.id) & ApiKey.revoked_at.is_null()
    await ApiKey.update({ApiKey.revoked_at: clock.now()}).where(working)
    return await get(caller, key.id)
