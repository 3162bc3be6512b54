"""Tries, counted for all processes together."""

import asyncio

import pytest

from jan.auth import attempts
from jan.auth.attempts import Limit, network
from jan.db.engine import Database
from jan.errors import RateLimited
from tests.conftest import execute, fetch

FEW = Limit("few", 3, 60)
MORE = Limit("more", 5, 600)


async def counted() -> list[int]:
    return [row["tries"] for row in await fetch("SELECT tries FROM attempt ORDER BY subject")]


async def test_so_many_and_no_more_until_the_window_ends(database: Database) -> None:
    for _ in range(FEW.most):
        await attempts.take(FEW.of("a"))
    for _ in range(3):
        with pytest.raises(RateLimited) as refusal:
            await attempts.take(FEW.of("a"))
        assert refusal.value.retry_after_s
        assert 0 < refusal.value.retry_after_s <= FEW.window_s
    await attempts.take(FEW.of("b"))

    await execute("UPDATE attempt SET ends_at = now() - interval '1 second'")
    await attempts.take(FEW.of("a"))

    assert sorted(await counted()) == [1, 1]


async def test_what_one_limit_refuses_counts_against_no_other(database: Database) -> None:
    for _ in range(FEW.most):
        await attempts.take(FEW.of("a"), MORE.of("x"))
    for _ in range(10):
        with pytest.raises(RateLimited):
            await attempts.take(MORE.of("x"), FEW.of("a"))

    assert sorted(await counted()) == [FEW.most, FEW.most]


async def test_what_is_given_back_may_be_taken_again(database: Database) -> None:
    for _ in range(20):
        await attempts.take(FEW.of("a"), MORE.of("a"))
        await attempts.give_back(FEW.of("a"), MORE.of("a"))
    await attempts.give_back(FEW.of("a"), FEW.of("never taken"))

    assert await counted() == [0, 0]


async def test_many_at_once_get_no_more_than_one_after_another(database: Database) -> None:
    async def once(*subjects: str) -> bool:
        try:
            await attempts.take(*(MORE.of(subject) for subject in subjects))
        except RateLimited:
            return False
        return True

    # In both orders: neither waits for the other for ever.
    taken = await asyncio.gather(*(once("a", "b") if i % 2 else once("b", "a") for i in range(40)))

    assert sum(taken) == MORE.most


def test_subjects_do_not_run_into_one_another() -> None:
    named = {FEW.of("ab", "c"), FEW.of("a", "bc"), FEW.of("abc"), MORE.of("abc"), FEW.of("\ud800")}

    assert len({each.subject for each in named}) == 5
    assert max(len(each.subject) for each in named) < 100


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_client_is_an_address_or_the_network_that_it_chooses_from(
    address: str, expected: str
) -> None:
    assert network(address) == expected
