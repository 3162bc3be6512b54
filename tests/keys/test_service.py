"""Keys: shown once, never stored, revoked for good."""

from datetime import timedelta

import pytest

from jan import clock
from jan.caller import Caller
from jan.errors import InvalidRequest, NotFound
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from jan.pages import Wanted
from tests.conftest import fetch

SECRET = "s" * 32


async def test_the_key_itself_is_nowhere_in_the_database(operator: Caller) -> None:
    new = await keys.create(operator, KeyCreate(name="ci"), hmac_secret=SECRET)

    rows = await fetch("SELECT api_key::text AS row FROM api_key")
    assert len(rows) == 1
    assert new.secret not in rows[0]["row"]
    assert new.secret[7:39] not in rows[0]["row"]
    assert new.key.hint == new.secret[-4:]


async def test_keys_are_listed_in_the_order_in_which_they_were_made(operator: Caller) -> None:
    made = [
        await keys.create(operator, KeyCreate(name="same name"), hmac_secret=SECRET)
        for _ in range(3)
    ]

    assert (await keys.page(operator, Wanted())).data == [new.key for new in made]
    assert await keys.get(operator, made[1].key.id) == made[1].key


async def test_a_key_is_revoked_once_and_for_good(operator: Caller) -> None:
    new = await keys.create(operator, KeyCreate(name="ci"), hmac_secret=SECRET)

    first = await keys.revoke(operator, new.key.id)
    second = await keys.revoke(operator, new.key.id)

    assert first.revoked_at
    assert first == second
    assert first.status(clock.now()) == "revoked"


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\0b", "two\nlines", "\ud800"])
async def test_a_bad_name_is_refused(operator: Caller, name: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await keys.create(operator, KeyCreate(name=name), hmac_secret=SECRET)

    assert refusal.value.param == "name"
    assert (await keys.page(operator, Wanted())).data == []


async def test_an_expiry_in_the_past_is_refused(operator: Caller) -> None:
    with pytest.raises(InvalidRequest):
        await keys.create(
            operator,
            KeyCreate(name="ci", expires_at=clock.now() - timedelta(seconds=1)),
            hmac_secret=SECRET,
        )


@pytest.mark.parametrize("key_id", ["key_missing", "", "'; DROP TABLE api_key; --", "x" * 10_000])
async def test_an_unknown_key_is_not_found(operator: Caller, key_id: str) -> None:
    with pytest.raises(NotFound):
        await keys.get(operator, key_id)
    with pytest.raises(NotFound):
        await keys.revoke(operator, key_id)


@pytest.mark.parametrize("key_id", ["a\0b", "\ud800"])
async def test_what_no_id_can_be_is_refused(operator: Caller, key_id: str) -> None:
    with pytest.raises(InvalidRequest):
        await keys.get(operator, key_id)
