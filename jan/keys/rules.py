"""What a key may be: names, scopes, models and expiries that fit."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from jan import clock
from jan.caller import Caller
from jan.errors import Forbidden, InvalidRequest
from jan.keys.schemas import KeyCreate
from jan.permissions import KEY_KINDS, KeyKind

MAX_NAME_LENGTH = 200
MAX_MODELS = 100
MAX_MODEL_LENGTH = 256
MAX_EPHEMERAL = timedelta(hours=24)
MAX_LIFE = timedelta(days=36_500)
"""A century: what is longer is a mistake, and soon past what dates can say."""


def name(wanted: str) -> str:
    """Trim a name.

    Raises:
        InvalidRequest: it is empty, too long or not text.
    """
    trimmed = wanted.strip()
    if not trimmed or len(trimmed) > MAX_NAME_LENGTH or not trimmed.isprintable():
        raise InvalidRequest(
            f"A key's name has 1 to {MAX_NAME_LENGTH} printable characters.", param="name"
        )
    return trimmed


def models(wanted: Iterable[str] | None) -> list[str] | None:
    """Sort the names of the models that a key is for. None: all.

    Raises:
        InvalidRequest: too many, or one is no name.
    """
    if wanted is None:
        return None
    found = sorted(set(wanted))
    if len(found) > MAX_MODELS:
        raise InvalidRequest(f"A key names {MAX_MODELS} models at most.", param="allowed_models")
    for model in found:
        if not 0 < len(model) <= MAX_MODEL_LENGTH or not model.isprintable():
            raise InvalidRequest("A model's name is printable text.", param="allowed_models")
    return found


def scopes(caller: Caller, kind: KeyKind, wanted: Iterable[str] | None) -> list[str] | None:
    """Sort the scopes that a key is narrowed to. None: all of its kind.

    Raises:
        InvalidRequest: one is none of this kind.
        Forbidden: the caller does not hold one of them.
    """
    held = KEY_KINDS[kind]
    is_narrow = caller.kind == "key" and kind == "admin"
    if wanted is None:
        # The key of a narrowed key is as narrow, though nobody says so.
        return sorted(held & caller.scopes) if is_narrow else None
    found = sorted(set(wanted))
    if unknown := set(found) - held:
        raise InvalidRequest(
            f"`{min(unknown)}` is no scope of a key of kind `{kind}`.", param="scopes"
        )
    if is_narrow and (beyond := set(found) - caller.scopes):
        raise Forbidden(f"You can't grant `{min(beyond)}`: this credential lacks it.")
    return found


def expiry(wanted: KeyCreate) -> datetime | None:
    """When the key stops working.

    Raises:
        InvalidRequest: in the past, later than a century, or too late for an ephemeral key.
    """
    now, expires_at = clock.now(), wanted.expires_at
    if expires_at is None:
        return now + MAX_EPHEMERAL if wanted.kind == "ephemeral" else None
    if expires_at <= now:
        raise InvalidRequest("The expiry is in the past.", param="expires_at")
    if expires_at > now + MAX_LIFE:
        raise InvalidRequest("The expiry is more than a century away.", param="expires_at")
    if wanted.kind == "ephemeral" and expires_at > now + MAX_EPHEMERAL:
        raise InvalidRequest("An ephemeral key lives for 24 hours at most.", param="expires_at")
    return expires_at
