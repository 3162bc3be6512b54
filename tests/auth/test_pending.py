"""The cookie of a sign-in that is under way: nobody reads it, nobody changes it."""

import base64
from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st

from jan import clock, keyring
from jan.auth import pending
from jan.auth.pending import Pending, Sealer
from jan.errors import SignInFailed

SECRET = "j" * 32
SEALER = Sealer(SECRET)


def under_way(**changes: object) -> Pending:
    fields: dict[str, object] = {
        "provider": "google",
        "state": "s" * 43,
        "nonce": "n" * 43,
        "verifier": "v" * 43,
        "redirect": "/chat",
        "expires_at": int(clock.now().timestamp()) + pending.LIFETIME_S,
    }
    return Pending(**{**fields, **changes})  # pyright: ignore[reportArgumentType] - a test's words


COOKIE = SEALER.seal(under_way(expires_at=2**40))


def refusal(cookie: str | None, sealer: Sealer = SEALER) -> str:
    with pytest.raises(SignInFailed) as refused:
        sealer.open(cookie)
    return refused.value.message


def test_what_was_sealed_is_opened() -> None:
    assert SEALER.open(SEALER.seal(under_way())) == under_way()


def test_the_longest_fits_into_a_cookie_and_needs_no_quoting() -> None:
    cookie = SEALER.seal(under_way(provider="p" * 32, redirect="/" + "ä" * 1023))

    assert len(cookie) < pending.MAX_LENGTH
    assert set(cookie) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=")


def test_nothing_of_it_can_be_read() -> None:
    sealed = base64.urlsafe_b64decode(COOKIE)

    assert b"google" not in sealed
    assert b"vvvv" not in sealed


def test_it_is_good_for_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    cookie, now = SEALER.seal(under_way()), clock.now()

    monkeypatch.setattr(clock, "now", lambda: now + timedelta(seconds=598))
    assert SEALER.open(cookie).provider == "google"
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(seconds=601))
    assert refusal(cookie) == pending.EXPIRED


def test_a_change_of_secrets_ends_no_sign_in() -> None:
    changed = Sealer("new" * 16, [SECRET])

    assert changed.open(COOKIE).provider == "google"
    assert refusal(changed.seal(under_way())) == pending.INCORRECT


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "x",
        lambda _: "ä" * 40,
        lambda _: "\udc80",
        lambda cookie: cookie[:-1],
        lambda cookie: cookie[:50],
        lambda cookie: cookie * 20,
        lambda cookie: f'"{cookie}"',
    ],
)
def test_junk_is_refused(damage: Callable[[str], str]) -> None:
    assert refusal(damage(COOKIE)) == pending.INCORRECT


def test_what_is_sealed_for_another_purpose_is_refused() -> None:
    key = base64.urlsafe_b64encode(keyring.derive(SECRET, "something-else"))
    cookie = Fernet(key).encrypt(msgspec.json.encode(under_way())).decode()

    assert refusal(cookie) == pending.INCORRECT
    assert refusal(COOKIE, Sealer("o" * 32)) == pending.INCORRECT


@settings(deadline=None)  # other tests run beside it
@given(place=st.integers(0, len(COOKIE) - 1), other=st.characters())
def test_a_character_that_is_changed_anywhere_is_noticed(place: int, other: str) -> None:
    changed = COOKIE[:place] + other + COOKIE[place + 1 :]

    if changed != COOKIE:
        assert refusal(changed) == pending.INCORRECT


@settings(deadline=None)  # other tests run beside it
@given(place=st.integers(0, len(COOKIE)), more=st.text(min_size=1, max_size=8))
def test_text_that_is_put_in_anywhere_is_noticed(place: int, more: str) -> None:
    assert refusal(COOKIE[:place] + more + COOKIE[place:]) == pending.INCORRECT


@settings(deadline=None)  # other tests run beside it
@given(st.integers(0, 8 * len(base64.urlsafe_b64decode(COOKIE)) - 1))
def test_a_bit_that_is_changed_anywhere_is_noticed(place: int) -> None:
    sealed = bytearray(base64.urlsafe_b64decode(COOKIE))
    sealed[place // 8] ^= 1 << place % 8

    assert refusal(base64.urlsafe_b64encode(sealed).decode()) == pending.INCORRECT
