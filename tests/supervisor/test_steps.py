"""What follows for the engines of a model, and what is told of them."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest

from jan.deployments import Deployment
from jan.fleet.running import Order
from jan.supervisor import steps

ORDER = Order("depl_1", Deployment(name="tiny"), managed_by="operator")
TWO = replace(ORDER, said=Deployment(name="tiny", instances=2))


@dataclass
class Fake:
    """An engine as it stands."""

    number: int = 1
    is_current: bool = True
    is_ready: bool = True
    has_been_ready: bool = True
    is_retiring: bool = False
    failure: str | None = None
    is_broken: bool = False
    detail: str = ""
    share: float | None = None


def starting(number: int = 1, **more: Any) -> Fake:
    """One that is on the way."""
    return Fake(number, is_ready=False, has_been_ready=False, **more)


def old(number: int = 1, **more: Any) -> Fake:
    """One of an earlier generation."""
    return Fake(number, is_current=False, **more)


def taken(
    count: int, engines: list[Fake], how: Literal["surge", "recreate"] = "surge"
) -> tuple[int, list[int]]:
    """How many are started, and which are ended."""
    step = steps.following(count, how, engines)
    return step.start, sorted(engine.number for engine in step.retire)


def test_what_is_missing_is_started_and_what_is_spare_is_ended() -> None:
    assert taken(2, []) == (2, [])
    assert taken(2, [Fake(1)]) == (1, [])
    assert taken(2, [Fake(1), starting(2)]) == (0, [])
    assert taken(1, [Fake(1), Fake(2), Fake(3)]) == (0, [2, 3])
    assert taken(1, [starting(1), Fake(2)]) == (0, [1])
    assert taken(0, [Fake(1), starting(2), Fake(3, is_retiring=True)]) == (0, [1, 2])


def test_a_surge_starts_one_more_and_ends_an_old_one_for_each_that_is_ready() -> None:
    assert taken(1, [old(1)]) == (1, [])
    assert taken(1, [old(1), starting(2)]) == (0, [])
    assert taken(1, [old(1), Fake(2)]) == (0, [1])
    assert taken(1, [old(1, is_retiring=True), Fake(2)]) == (0, [])
    assert taken(2, [old(1), old(2)]) == (1, [])
    assert taken(2, [old(1), old(2), Fake(3)]) == (0, [1])
    assert taken(2, [old(1, is_retiring=True), old(2), Fake(3)]) == (0, [])
    assert taken(2, [old(2), Fake(3)]) == (1, [])


def test_to_recreate_is_to_end_one_before_the_next_starts() -> None:
    assert taken(1, [old(1)], "recreate") == (0, [1])
    assert taken(1, [old(1, is_retiring=True)], "recreate") == (0, [])
    assert taken(1, [], "recreate") == (1, [])
    assert taken(2, [old(1), old(2)], "recreate") == (0, [1])
    assert taken(2, [old(1, is_retiring=True), old(2)], "recreate") == (0, [])
    assert taken(2, [old(2)], "recreate") == (1, [])
    assert taken(2, [old(2), starting(1)], "recreate") == (0, [])
    assert taken(2, [old(2), Fake(1)], "recreate") == (0, [2])


def test_an_old_one_that_answers_nobody_is_not_waited_for() -> None:
    assert taken(1, [old(1, is_ready=False)]) == (1, [1])
    assert taken(1, [old(1, is_ready=False)], "recreate") == (0, [1])
    assert taken(2, [old(1, is_ready=False), old(2)]) == (1, [1])


def test_the_old_ones_stay_while_the_new_ones_fail() -> None:
    assert taken(1, [old(1), starting(2, failure="It is broken.", is_broken=True)]) == (0, [])


def test_it_is_told_how_far_a_model_is() -> None:
    loading = starting(detail="Loading weights", share=0.5)

    assert steps.standing(ORDER, []) == ("loading", "", None)
    assert steps.standing(ORDER, [loading]) == ("loading", "Loading weights", 0.5)
    assert steps.standing(ORDER, [Fake()]) == ("loaded", "", None)
    assert steps.standing(TWO, [Fake()]) == ("loading", "", None)
    assert steps.standing(ORDER, [old(), replace(loading, number=2)]) == (
        *("replacing", "Loading weights", 0.5),
    )
    assert steps.standing(ORDER, [old(is_retiring=True), Fake(2)]) == (
        *("replacing", steps.ENDING, None),
    )


@pytest.mark.parametrize(
    ("wanted", "manager", "told"),
    [
        ("unloaded", "operator", ("unloaded", "", None)),
        ("unloaded", "settings", ("unloaded", steps.UNTIL_NEXT_START, None)),
        ("idle", "operator", ("idle", "", None)),
    ],
)
def test_it_is_told_that_a_model_is_not_to_run(wanted: Any, manager: str, told: Any) -> None:
    order = replace(ORDER, wanted=wanted, managed_by=manager)

    assert steps.standing(order, [Fake(is_retiring=True)])[0] == told[0].replace("ed", "ing")
    assert steps.standing(order, []) == told


def test_the_reason_of_a_failure_is_told() -> None:
    died = Fake(is_ready=False, failure="It was killed.")

    assert steps.standing(ORDER, [starting(failure="No room.")]) == ("failed", "No room.", None)
    assert steps.standing(ORDER, [died]) == ("loading", "It was killed.", None)
    assert steps.standing(ORDER, [replace(died, is_broken=True)])[0] == "failed"
    assert steps.standing(TWO, [Fake(), replace(died, number=2)]) == (
        *("loading", "It was killed. 1 of 2 engines run.", None),
    )
    assert steps.standing(ORDER, [old(), starting(2, failure="No room.")]) == (
        *("failed", "No room. The old engine goes on.", None),
    )
    assert steps.standing(ORDER, [], "No GPU has room.") == ("failed", "No GPU has room.", None)
