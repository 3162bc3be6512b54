"""Service accounts with their first key."""

import asyncio

import pytest

from jan.errors import Forbidden, InvalidRequest
from jan.keys import accounts
from jan.keys import service as keys
from jan.keys.accounts import ServiceAccountCreate
from jan.keys.schemas import KeyCreate
from jan.projects import accounts as service_accounts
from jan.projects.schemas import ServiceAccountUpdate
from tests.conftest import fetch
from tests.gateways import KEY_SECRET
from tests.tenants import Key, Tenants, new_key


async def statuses(tenants: Tenants, key: Key, wanted: int) -> None:
    """Wait until a key gets this status, for a second at most."""
    async with asyncio.timeout(1):
        while (await tenants.call(key, "GET", "/v1/models")).status_code != wanted:
            await asyncio.sleep(0.01)


async def test_an_account_comes_with_a_key_that_works(tenants: Tenants) -> None:
    a = tenants.a
    owner = await tenants.caller(a.project_owner)

    made = await accounts.create(
        owner, a.project_id, ServiceAccountCreate(name="ci"), hmac_secret=KEY_SECRET
    )

    assert made.api_key
    assert made.api_key.expires_at is None
    key = Key(made.api_key.id, made.api_key.value)
    assert (await tenants.call(key, "GET", "/v1/models")).status_code == 200
    caller = await tenants.caller(key)
    assert (caller.service_account_id, caller.project_id) == (made.id, a.project_id)
    await service_accounts.delete(owner, a.project_id, made.id)
    await statuses(tenants, key, 401)


async def test_an_account_without_a_key_has_no_role_until_it_is_given_one(tenants: Tenants) -> None:
    a = tenants.a
    owner = await tenants.caller(a.project_owner)

    made = await accounts.create(
        owner,
        a.project_id,
        ServiceAccountCreate(name="ci", create_service_account_only=True),
        hmac_secret=KEY_SECRET,
    )

    assert (made.role, made.api_key) == ("none", None)
    wanted = KeyCreate(
        name="ci", kind="service", project_id=a.project_id, service_account_id=made.id
    )
    key = await new_key(owner, wanted)
    await statuses(tenants, key, 403)
    await service_accounts.update(owner, a.project_id, made.id, ServiceAccountUpdate(role="member"))
    await statuses(tenants, key, 200)


async def test_the_key_expires_when_it_was_told_to(tenants: Tenants) -> None:
    made = await accounts.create(
        await tenants.caller(tenants.a.owner),
        tenants.a.project_id,
        ServiceAccountCreate(name="ci", expires_in_seconds=3600),
        hmac_secret=KEY_SECRET,
    )

    assert made.api_key
    assert made.api_key.expires_at in {
        made.api_key.created_at + 3599,
        made.api_key.created_at + 3600,
    }


@pytest.mark.parametrize(
    ("seconds", "is_only"), [(0, False), (-1, False), (10**30, False), (60, True)]
)
async def test_an_expiry_that_does_not_fit_makes_nothing(
    tenants: Tenants, seconds: int, is_only: bool
) -> None:
    wanted = ServiceAccountCreate(
        name="ci", expires_in_seconds=seconds, create_service_account_only=is_only
    )

    with pytest.raises(InvalidRequest) as refusal:
        await accounts.create(
            await tenants.caller(tenants.a.owner),
            tenants.a.project_id,
            wanted,
            hmac_secret=KEY_SECRET,
        )

    assert refusal.value.param == "expires_in_seconds"
    assert len(await fetch("SELECT FROM service_account")) == 2


async def test_without_the_right_to_make_its_key_there_is_no_account(tenants: Tenants) -> None:
    owner = await tenants.caller(tenants.a.owner)
    scopes = frozenset({"administration:use", "projects:read", "projects:admin"})
    narrow = await new_key(owner, KeyCreate(name="narrow", kind="admin", scopes=scopes))

    with pytest.raises(Forbidden, match="keys:admin"):
        await accounts.create(
            await tenants.caller(narrow),
            tenants.a.project_id,
            ServiceAccountCreate(name="ci"),
            hmac_secret=KEY_SECRET,
        )

    assert len(await fetch("SELECT FROM service_account")) == 2
    assert await fetch("SELECT FROM audit_log WHERE type LIKE 'service%'") == []
    assert await keys.get(owner, narrow.id)
