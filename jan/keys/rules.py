"""What a key may be: names, scopes, models and expiries that fit."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from jan.caller import Caller
from jan.errors import Forbidden, InvalidRequest
from jan.keys.schemas import ORGANIZATION_KINDS, KeyChanges, KeyCreate
from jan.permissions import KEY_KINDS, KeyKind

MAX_NAME_LENGTH = 200
MAX_MODELS = 100
MAX_MODEL_LENGTH = 256
MAX_EPHEMERAL = timedelta(hours=24)
MAX_LIFE = timedelta(days=36_500)
"""A century: what is longer is a mistake, and soon past what dates can say."""

NO_MODELS = "A key of the administration asks no models."


def fits(wanted: KeyCreate) -> None:
    """Check that a key of this kind has what was named for it, and that lists name something.

    Raises:
        InvalidRequest: not so; `param` names the field.
    """
    if wanted.kind in ORGANIZATION_KINDS and wanted.project_id is not None:
        raise InvalidRequest(
            f"A key of kind `{wanted.kind}` belongs to no project.", param="project_id"
        )
    if (wanted.kind == "service") != (wanted.service_account_id is not None):
        raise InvalidRequest(
            "A service account's key, and no other, is of kind `service`.",
            param="service_account_id",
        )
    if wanted.kind == "admin" and wanted.allowed_models is not None:
        raise InvalidRequest(NO_MODELS, param="allowed_models")
    for param, listed in (("scopes", wanted.scopes), ("allowed_models", wanted.allowed_models)):
        if listed is not None and not listed:
            raise InvalidRequest(f"Name one at least in `{param}`. All: leave it out.", param=param)


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
            f"`{min(unknown)}` is no scope of a key of kind `{kind}`, which has"
            f" {', '.join(f'`{scope}`' for scope in sorted(held))}.",
            param="scopes",
        )
    if is_narrow and (beyond := set(found) - caller.scopes):
        raise Forbidden(f"You can't grant `{min(beyond)}`: this credential lacks it.")
    return found


def expiry(
    wanted: KeyCreate | KeyChanges, kind: KeyKind, *, created_at: datetime, now: datetime
) -> datetime | None:
    """When the key stops working, if that is said. An ephemeral key's day begins when it is made.

    Raises:
        InvalidRequest: in the past, later than a century, or too late for an ephemeral key.
    """
    param, expires_at = "expires_at", wanted.expires_at
    if wanted.expires_in_s is not None:
        if expires_at is not None:
            raise InvalidRequest(
                "Give `expires_at` or `expires_in_seconds`, not both.", param=param
            )
        param = "expires_in_seconds"
        # In between, numbers are too long for a timedelta.
        seconds = min(max(wanted.expires_in_s, 0), int(MAX_LIFE.total_seconds()) + 1)
        expires_at = now + timedelta(seconds=seconds)
    if expires_at is None:
        return None
    if expires_at <= now:
        raise InvalidRequest("The expiry is not in the future.", param=param)
    if expires_at > now + MAX_LIFE:
        raise InvalidRequest("The expiry is more than a century away.", param=param)
    if kind == "ephemeral" and expires_at > created_at + MAX_EPHEMERAL:
        raise InvalidRequest("An ephemeral key lives for 24 hours at most.", param=param)
    return expires_at
