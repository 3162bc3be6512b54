"""Passwords: which are taken, and that comparing them tells nothing and stops nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import anyio
import pytest
from argon2 import Parameters, extract_parameters
from argon2.profiles import CHEAPEST, RFC_9106_LOW_MEMORY

from jan.auth import passwords
from jan.auth.passwords import Passwords, check
from jan.errors import InvalidRequest, RateLimited

EMAIL = "jane.doe@example.com"
GOOD = "correct horse battery staple"
SLOW = Parameters(CHEAPEST.type, 19, 16, 32, time_cost=3, memory_cost=8192, parallelism=1)
"""Some ten milliseconds: enough to be seen."""


@pytest.fixture
def cheap() -> Passwords:
    return Passwords(CHEAPEST)


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        "1Aa!aaab",
        "        x",
        "пароль-пароль",
        "🦊🐔🐕🐈🐁🐀🐇🐿",
        "x" * 127 + "y",
        "tab\tand\nline",
    ],
)
def test_a_password_may_be_anything_that_is_long_enough(password: str) -> None:
    check(password, email=EMAIL)


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("", "at least 8"),
        ("1234567", "at least 8"),
        ("🦊🐔🐕🐈🐁🐀🐇", "at least 8"),
        ("e\u0301" * 7, "at least 8"),
        ("xy" * 65, "at most 128"),
        ("\ufdfa" * 8, "at most 128"),
        ("x" * 10_000_000, "at most 128"),
        ("correct\udc80horse", "not text"),
        (EMAIL, "e-mail address"),
        (EMAIL.upper(), "e-mail address"),
        ("Jane.Doe", "e-mail address"),
        ("password", "anybody would try"),
        ("PassWord123", "anybody would try"),
        ("\uff50assword", "anybody would try"),
        ("aaaaaaaaaaaa", "anybody would try"),
        ("AaAaAaAa", "anybody would try"),
    ],
)
def test_a_bad_password_is_refused_with_its_reason(password: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as refusal:
        check(password, email=EMAIL)

    assert refusal.value.param == "password"


def test_the_terrible_ones_would_be_taken_otherwise() -> None:
    assert all(len(word) >= passwords.MIN_LENGTH for word in passwords.TERRIBLE)
    assert all(word == word.casefold() for word in passwords.TERRIBLE)


async def test_the_password_is_the_only_one_that_matches(cheap: Passwords) -> None:
    stored = await cheap.hash(GOOD)

    assert await cheap.verify(GOOD, stored)
    for other in ("", GOOD + " ", GOOD[:-1], GOOD.upper(), "x" * 10_000_000, "\udc80" * 9):
        assert not await cheap.verify(other, stored)
    assert await cheap.hash(GOOD) != stored


async def test_the_end_of_a_long_password_counts(cheap: Passwords) -> None:
    long = "x" * 127
    stored = await cheap.hash(long + "y")

    assert await cheap.verify(long + "y", stored)
    assert not await cheap.verify(long + "z", stored)


async def test_it_does_not_matter_how_a_keyboard_writes_a_letter(cheap: Passwords) -> None:
    stored = await cheap.hash("Zürich liegt am Zürichsee")

    assert await cheap.verify("Zu\u0308rich liegt am Zu\u0308richsee", stored)


async def test_nobody_has_no_password(cheap: Passwords) -> None:
    for password in ("", GOOD, "\udc80", "x" * 1000):
        assert not await cheap.verify(password, None)


async def test_looking_for_nobody_takes_as_long_as_for_somebody() -> None:
    slow = Passwords(SLOW)
    stored = await slow.hash(GOOD)

    async def fastest_s(work: Callable[[], Awaitable[object]]) -> float:
        times: list[float] = []
        for _ in range(7):
            started_s = time.perf_counter()
            await work()
            times.append(time.perf_counter() - started_s)
        return min(times)

    somebody_s = await fastest_s(lambda: slow.verify("wrong horse", stored))
    nobody_s = await fastest_s(lambda: slow.verify("wrong horse", None))
    too_long_s = await fastest_s(lambda: slow.verify("x" * 1000, stored))

    assert 1 / 5 < nobody_s / somebody_s < 5
    assert 1 / 5 < too_long_s / somebody_s < 5


async def test_hashes_are_made_as_rfc_9106_recommends() -> None:
    ours = Passwords()
    stored = await ours.hash(GOOD)

    assert extract_parameters(stored) == RFC_9106_LOW_MEMORY
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert not ours.needs_rehash(stored)


async def test_a_hash_of_other_parameters_works_and_is_to_be_made_anew(cheap: Passwords) -> None:
    stored = await cheap.hash(GOOD)
    stronger = Passwords(SLOW)

    assert await stronger.verify(GOOD, stored)
    assert stronger.needs_rehash(stored)
    assert not cheap.needs_rehash(stored)


async def test_the_event_loop_goes_on_while_a_few_are_compared() -> None:
    slow = Passwords(SLOW)
    stored = await slow.hash(GOOD)
    verifying = asyncio.gather(*(slow.verify(GOOD, stored) for _ in range(12)))
    turns, most_at_once = 0, 0

    with anyio.fail_after(10):
        while not verifying.done():
            await asyncio.sleep(0)
            turns += 1
            most_at_once = max(most_at_once, slow._limiter.borrowed_tokens)

    assert all(verifying.result())
    assert most_at_once == passwords.AT_ONCE
    assert turns > 12 * 10  # a turn of the loop takes microseconds


async def test_a_flood_is_sent_away_and_ends(cheap: Passwords) -> None:
    said = await asyncio.gather(
        *(cheap.verify(GOOD, None) for _ in range(200)), return_exceptions=True
    )

    turned_away = [each for each in said if isinstance(each, RateLimited)]
    assert len(turned_away) == 200 - passwords.AT_ONCE - passwords.MAX_WAITING
    assert all(each.retry_after_s for each in turned_away)
    assert said.count(False) + len(turned_away) == 200
    assert await cheap.verify(GOOD, await cheap.hash(GOOD))
