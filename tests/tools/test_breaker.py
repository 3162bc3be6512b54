"""A circuit breaker: what is down is left alone, and tried by one at a time."""

from contextlib import suppress

import pytest

from jan import clock
from jan.tools.breaker import MAX_FAILURES, REST_S, Breaker, Resting, Unwell


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(clock, "monotonic_s", lambda: self.now_s)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with suppress(Unwell), breaker.attempt():
            raise Unwell("down")


def succeed(breaker: Breaker) -> None:
    with breaker.attempt():
        pass


def test_what_fails_in_a_row_is_left_alone(hands: Clock) -> None:
    breaker = Breaker()
    fail(breaker, MAX_FAILURES)

    with pytest.raises(Resting) as resting:
        succeed(breaker)

    assert (resting.value.wait_s, resting.value.is_asked) == (REST_S, False)


def test_a_success_in_between_begins_the_count_anew(hands: Clock) -> None:
    breaker = Breaker()
    fail(breaker, MAX_FAILURES - 1)
    succeed(breaker)
    fail(breaker, MAX_FAILURES - 1)

    succeed(breaker)


def test_after_its_rest_one_tries_while_others_wait(hands: Clock) -> None:
    breaker = Breaker()
    fail(breaker, MAX_FAILURES)
    hands.now_s += REST_S + 1

    with breaker.attempt(), pytest.raises(Resting):
        succeed(breaker)
    succeed(breaker)


def test_a_try_that_fails_makes_it_rest_again(hands: Clock) -> None:
    breaker = Breaker()
    fail(breaker, MAX_FAILURES)
    hands.now_s += REST_S + 1
    fail(breaker)

    with pytest.raises(Resting):
        succeed(breaker)


def test_a_try_that_was_cancelled_lets_the_next_one_try(hands: Clock) -> None:
    breaker = Breaker()
    fail(breaker, MAX_FAILURES)
    hands.now_s += REST_S + 1
    with suppress(KeyboardInterrupt), breaker.attempt():
        raise KeyboardInterrupt

    succeed(breaker)


def test_who_asks_to_be_left_alone_is_so_for_that_long_and_then_welcome_to_all(
    hands: Clock,
) -> None:
    breaker = Breaker()
    breaker.rest(30)

    with pytest.raises(Resting) as resting:
        succeed(breaker)
    hands.now_s += 31
    with breaker.attempt():
        succeed(breaker)

    assert (resting.value.wait_s, resting.value.is_asked) == (30, True)
