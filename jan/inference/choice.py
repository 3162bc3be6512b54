"""Which instance gets a request: the one with the least to do, or one that has seen its prompt."""

import random
from collections.abc import Sequence
from typing import Protocol, TypeVar

OVERLOAD = 1.25
"""Times the mean of all, by weight: from there on, a cached prefix is not worth the wait."""
OVERLOAD_REQUESTS = 2
"""More than that. Among few requests chance makes such differences."""


class Choosable(Protocol):
    """What is chosen from."""

    running: int

    @property
    def id(self) -> str:
        """The endpoint's."""
        ...

    @property
    def weight(self) -> int:
        """How many times the work of one with 1 it gets."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether it takes another request."""
        ...

    @property
    def is_well(self) -> bool:
        """Whether it is healthy; else it is a second choice."""
        ...


I = TypeVar("I", bound=Choosable)  # noqa: E741 - instance


def choose(instances: Sequence[I], preferred: Sequence[str] = ()) -> I | None:
    """Choose one that has room, a healthy one if there is any. None: nobody has."""
    free = [each for each in instances if each.has_room]
    well = [each for each in free if each.is_well]
    if len(among := well or free) < 2:  # noqa: PLR2004
        return among[0] if among else None
    if preferred:
        known = [each for each in among if each.id in preferred and not _is_overloaded(each, among)]
        if known:
            return min(known, key=_load)
    least = min(map(_load, among))
    return random.choice([each for each in among if _load(each) == least])  # noqa: S311


def _load(instance: Choosable) -> float:
    return instance.running / instance.weight


def _is_overloaded(instance: Choosable, among: Sequence[Choosable]) -> bool:
    mean = sum(each.running for each in among) / sum(each.weight for each in among)
    return instance.running > (OVERLOAD * mean * instance.weight) + OVERLOAD_REQUESTS
