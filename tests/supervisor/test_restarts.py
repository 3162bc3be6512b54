"""Deaths are mended quickly at first, then slowly, then no more."""

from jan.supervisor.restarts import HEALTHY_S, MAX_DELAY_S, MAX_FAILURES, Restarts


def test_delays_grow_up_to_a_cap() -> None:
    restarts = Restarts()

    delays = [restarts.died(lived_s=1) for _ in range(20)]

    assert delays[0] < 0.5
    assert delays == sorted(delays)
    assert delays[-1] == MAX_DELAY_S


def test_short_lives_in_a_row_make_a_child_broken() -> None:
    restarts = Restarts()

    for _ in range(MAX_FAILURES):
        assert not restarts.is_broken
        restarts.died(lived_s=1)

    assert restarts.is_broken


def test_a_broken_child_is_tried_again_at_the_slow_pace_only() -> None:
    restarts = Restarts()

    delays = [restarts.died(lived_s=1) for _ in range(MAX_FAILURES)]

    assert max(delays[:-1]) < MAX_DELAY_S / 2
    assert delays[-1] == MAX_DELAY_S


def test_a_long_life_makes_up_for_earlier_deaths() -> None:
    restarts = Restarts()
    first = restarts.died(lived_s=1)
    for _ in range(MAX_FAILURES):
        restarts.died(lived_s=1)

    assert restarts.died(lived_s=HEALTHY_S) == first
    assert not restarts.is_broken
