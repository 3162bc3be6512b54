"""The state of an instance: what failures, successes and the leader's word make of it."""

from datetime import UTC, datetime, timedelta

import pytest

from jan import clock
from jan.inference.condition import (
    BACKOFF_S,
    FAILURES,
    FORGIVEN_S,
    MAX_BACKOFF_S,
    STEADY_S,
    TRIAL_S,
    Condition,
)

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Hands:
    """Of a clock that stands still until it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(clock, "monotonic_s", lambda: self.now_s)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    return Hands(monkeypatch)


@pytest.fixture
def condition(hands: Hands) -> Condition:
    return Condition(spread=lambda: 0.5)


def wait_until_tried(condition: Condition, hands: Hands) -> float:
    """Let time pass until a request may go there, and tell how long that was."""
    start_s = hands.now_s
    while not condition.admits():
        hands.now_s += 0.125
    return hands.now_s - start_s


def fall(condition: Condition) -> None:
    for _ in range(FAILURES):
        condition.bad("no answer")


def test_nobody_has_looked_and_so_a_request_may_try(condition: Condition) -> None:
    assert condition.state == "unknown"
    assert condition.admits()


def test_the_first_success_makes_it_healthy(condition: Condition) -> None:
    assert condition.good()
    assert not condition.good(), "that is no news"

    assert condition.state == "healthy"
    assert condition.last_error is None


def test_it_is_ejected_at_the_third_failure_in_a_row(condition: Condition) -> None:
    condition.good()

    news = [condition.bad("no answer") for _ in range(FAILURES + 1)]

    assert news == [True, False, True, False]
    assert (condition.state, condition.last_error) == ("ejected", "no answer")
    assert not condition.admits()


def test_a_success_between_failures_begins_the_count_anew(condition: Condition) -> None:
    condition.good()
    condition.bad("slow")
    condition.bad("slow")
    condition.good()
    condition.bad("slow")

    assert condition.state == "degraded"
    assert condition.admits()


def test_where_nobody_listens_it_is_ejected_at_once(condition: Condition) -> None:
    condition.good()

    assert condition.bad("connection refused", is_gone=True)

    assert condition.state == "ejected"


def test_who_was_never_well_is_ejected_at_once(condition: Condition) -> None:
    assert condition.bad("status 500", is_look=True)

    assert condition.state == "ejected"


def test_after_the_back_off_one_request_at_a_time_tries_it(
    condition: Condition, hands: Hands
) -> None:
    fall(condition)
    assert wait_until_tried(condition, hands) == pytest.approx(BACKOFF_S, abs=0.125)
    assert condition.state == "half_open"

    condition.begin()
    assert not condition.admits()
    condition.settle()  # its client hung up
    assert condition.admits()

    condition.begin()
    assert condition.good()
    assert condition.state == "healthy"
    condition.begin()
    assert condition.admits()


def test_each_failed_trial_doubles_the_back_off_up_to_a_bound(
    condition: Condition, hands: Hands
) -> None:
    fall(condition)
    waits_s: list[float] = []
    for _ in range(10):
        waits_s.append(wait_until_tried(condition, hands))
        condition.begin()
        assert condition.bad("no answer")

    assert waits_s[:4] == pytest.approx([0.5, 1, 2, 4], abs=0.125)
    assert waits_s[-1] == pytest.approx(MAX_BACKOFF_S, abs=0.125)


def test_back_offs_vary(hands: Hands) -> None:
    waits_s: set[float] = set()
    for spread in (0.0, 0.5, 1.0):
        condition = Condition(spread=lambda spread=spread: spread)
        fall(condition)
        waits_s.add(wait_until_tried(condition, hands))

    assert min(waits_s) >= BACKOFF_S * 0.75
    assert max(waits_s) <= BACKOFF_S * 1.25 + 0.125
    assert len(waits_s) > 1


def test_an_engine_that_answers_again_is_used_at_once_however_often_it_was_tried(
    condition: Condition, hands: Hands
) -> None:
    condition.good()
    condition.bad("connection refused", is_gone=True)
    for _ in range(10):
        wait_until_tried(condition, hands)
        condition.begin()
        condition.bad("connection refused", is_gone=True)
        condition.bad("connection refused", is_gone=True, is_look=True)

    assert condition.good(is_look=True)

    assert condition.admits()


def test_who_flaps_rests_longer_each_time(condition: Condition, hands: Hands) -> None:
    rests_s: list[float] = []
    for _ in range(10):
        start_s = hands.now_s
        while not condition.good(is_look=True) and condition.state != "healthy":
            hands.now_s += 0.125
        rests_s.append(hands.now_s - start_s)
        hands.now_s += 1
        condition.bad("connection refused", is_gone=True, is_look=True)

    assert rests_s[:2] == [0, 0], "the first fall costs nothing"
    assert rests_s[2:5] == pytest.approx([0.5, 1, 2], abs=0.125)
    assert rests_s == sorted(rests_s)
    assert rests_s[-1] == pytest.approx(MAX_BACKOFF_S, abs=0.125)


def test_who_was_steady_for_long_is_forgiven_its_falls(condition: Condition, hands: Hands) -> None:
    for _ in range(5):
        while condition.state != "healthy":
            condition.good(is_look=True)
            hands.now_s += 0.125
        condition.bad("connection refused", is_gone=True)
    while condition.state != "healthy":
        condition.good(is_look=True)
        hands.now_s += 0.125

    hands.now_s += STEADY_S
    condition.bad("connection refused", is_gone=True)

    assert condition.good(is_look=True)


def test_a_good_look_does_not_forgive_failed_requests(condition: Condition, hands: Hands) -> None:
    """It lists its models, and answers no chat: looks must not keep it in."""
    condition.good()
    for _ in range(FAILURES):
        condition.bad("no answer")
        condition.good(is_look=True)

    assert condition.state == "ejected"
    assert not condition.good(is_look=True)

    hands.now_s += BACKOFF_S
    assert condition.good(is_look=True), "and yet it gets another chance"
    assert condition.bad("no answer"), "of one request"
    assert condition.state == "ejected"


def test_a_good_look_forgives_after_a_while(condition: Condition, hands: Hands) -> None:
    condition.good()
    condition.bad("no answer")

    assert not condition.good(is_look=True)
    hands.now_s += FORGIVEN_S
    assert condition.good(is_look=True)


def test_a_trial_decides_where_looks_say_little(condition: Condition, hands: Hands) -> None:
    fall(condition)
    wait_until_tried(condition, hands)
    condition.begin()

    assert not condition.good(is_look=True)
    assert not condition.admits()
    assert condition.good()


def test_a_trial_that_shows_nothing_is_not_waited_for(condition: Condition, hands: Hands) -> None:
    fall(condition)
    wait_until_tried(condition, hands)
    condition.begin()

    hands.now_s += TRIAL_S

    assert condition.admits()
    assert condition.good(is_look=True)


def test_an_answer_from_before_the_fall_brings_nobody_back(condition: Condition) -> None:
    condition.good()
    condition.bad("connection refused", is_gone=True)

    assert not condition.good()

    assert condition.state == "ejected"


def test_what_the_leader_says_counts_once(condition: Condition) -> None:
    condition.good()

    assert condition.adopt("ejected", NOON, "connection refused")
    assert (condition.state, condition.since) == ("ejected", NOON)
    assert condition.last_error == "connection refused"

    condition.good(is_look=True)  # found out here, afterwards
    assert not condition.adopt("ejected", NOON, "connection refused")
    assert condition.state == "healthy"

    assert condition.adopt("ejected", NOON + timedelta(seconds=1), "again")


def test_the_leader_brings_back_whom_it_sees_well(condition: Condition, hands: Hands) -> None:
    condition.adopt("ejected", NOON, "connection refused")
    for _ in range(10):
        wait_until_tried(condition, hands)
        condition.begin()
        condition.bad("connection refused", is_gone=True)

    assert condition.adopt("healthy", NOON + timedelta(seconds=1), None)

    assert condition.admits()


@pytest.mark.parametrize("state", ["unknown", "half_open"])
def test_a_leader_that_does_not_know_is_not_followed(condition: Condition, state: str) -> None:
    condition.good()

    assert not condition.adopt(state, NOON, None)  # pyright: ignore[reportArgumentType]

    assert condition.state == "healthy"


def test_degraded_by_the_leader_is_not_worse_than_ejected_here(condition: Condition) -> None:
    condition.bad("connection refused", is_gone=True)

    assert not condition.adopt("degraded", NOON, "slow")

    assert condition.state == "ejected"


@pytest.mark.parametrize("jump", [timedelta(days=-3650), timedelta(days=3650)])
def test_a_jump_of_the_wall_clock_changes_nothing(
    condition: Condition, hands: Hands, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    condition.good()
    fall(condition)
    monkeypatch.setattr(clock, "now", lambda: NOON + jump)

    assert not condition.admits()
    hands.now_s += BACKOFF_S / 2
    assert not condition.admits()
    hands.now_s += BACKOFF_S / 2
    assert condition.admits()
    condition.begin()
    assert condition.good()
