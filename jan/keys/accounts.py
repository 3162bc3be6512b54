"""How a service account comes to be: with its first key, both or neither.

The accounts themselves are `jan.projects.accounts`. Keys stand above projects, so that what needs
both is here.
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from jan import clock
from jan.caller import Caller
from jan.db import scope
from jan.errors import InvalidRequest
from jan.keys import rules
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate, NewKey
from jan.projects import accounts
from jan.projects.schemas import ServiceAccount
from jan.wire import optional_seconds, seconds

KEY_NAME = "Secret Key"
"""OpenAI's name of the first key."""


class ServiceAccountCreate(msgspec.Struct, kw_only=True):
    """What a new service account is to be."""

    name: str
    create_service_account_only: bool | None = None
    """True: with no key, and with the role `none`."""
    expires_in_seconds: int | None = None
    """When the key ends. Null: never."""


class FirstKey(msgspec.Struct, kw_only=True):
    """The key that a service account is made with."""

    id: str
    object: Literal["organization.project.service_account.api_key"] = (
        "organization.project.service_account.api_key"
    )
    name: str
    value: str
    """The key itself. It is in this answer only."""
    created_at: int
    expires_at: int | None


class ServiceAccountCreated(ServiceAccount, kw_only=True):
    """A service account, and the one chance to see its key."""

    api_key: FirstKey | None


async def create(
    caller: Caller, project_id: str, wanted: ServiceAccountCreate, *, hmac_secret: str
) -> ServiceAccountCreated:
    """Make a service account and its key: both, or neither.

    Raises:
        InvalidRequest: a field does not fit; `param` names it.
        NotFound, Forbidden, Conflict: as `accounts.create` and `keys.create`.
    """
    if wanted.create_service_account_only and wanted.expires_in_seconds is not None:
        raise InvalidRequest("Without a key nothing expires.", param="expires_in_seconds")
    async with scope.of(caller):
        role = "none" if wanted.create_service_account_only else "member"
        account = await accounts.create(caller, project_id, wanted.name, role)
        key = None
        if not wanted.create_service_account_only:
            new = await keys.create(
                caller,
                KeyCreate(
                    name=KEY_NAME,
                    kind="service",
                    project_id=project_id,
                    service_account_id=account.id,
                    expires_at=_expiry(wanted.expires_in_seconds),
                ),
                hmac_secret=hmac_secret,
            )
            key = _first_key(new)
    return ServiceAccountCreated(**msgspec.structs.asdict(account), api_key=key)


def _expiry(expires_in_s: int | None) -> datetime | None:
    if expires_in_s is None:
        return None
    if not 0 < expires_in_s < rules.MAX_LIFE.total_seconds():
        raise InvalidRequest(
            "The key ends in a second at the earliest, and in a century at the latest.",
            param="expires_in_seconds",
        )
    return clock.now() + timedelta(seconds=expires_in_s)


def _first_key(new: NewKey) -> FirstKey:
    return FirstKey(
        id=new.key.id,
        name=new.key.name,
        value=new.secret,
        created_at=seconds(new.key.created_at),
        expires_at=optional_seconds(new.key.expires_at),
    )
