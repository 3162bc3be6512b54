"""Turns at a busy model: fair between projects, few enough, and lost by nobody who leaves."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jan.errors import JanError, QueueFull, QueueTimedOut, TooManyWaiting
from jan.inference.waiting import Waiting


class Slots:
    """A number of things to be had."""

    def __init__(self, free: int, *, size: int = 100, timeout_s: float = 5) -> None:
        self.free = free
        self.line: Waiting[int] = Waiting(size, timeout_s, lambda _: self.give_back())
        self.order: list[str] = []

    def take(self) -> int | None:
        """Take one, if there is one."""
        if not self.free:
            return None
        self.free -= 1
        return 1

    def give_back(self) -> None:
        """Put one back."""
        self.free += 1
        self.line.wake()

    async def use(self, project: str, weight: int = 1) -> None:
        """Have a turn."""
        await self.line.turn(project, weight, self.take)
        self.order.append(project)
        await asyncio.sleep(0)
        self.give_back()


async def _enter(slots: Slots, *projects: str, weight: int = 1) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(slots.use(project, weight)) for project in projects]
    await asyncio.sleep(0)
    return tasks


async def test_what_is_free_is_had_at_once() -> None:
    slots = Slots(1)

    await slots.use("a")

    assert (slots.order, slots.free, slots.line.count) == (["a"], 1, 0)


async def test_a_burst_of_one_project_does_not_keep_another_waiting() -> None:
    slots = Slots(0)
    tasks = await _enter(slots, *["loud"] * 64, *["quiet"] * 4)

    slots.give_back()
    await asyncio.gather(*tasks)

    assert Counter(slots.order[:8]) == {"loud": 4, "quiet": 4}
    assert Counter(slots.order) == {"loud": 64, "quiet": 4}


@given(st.integers(1, 5), st.integers(1, 5))
def test_turns_are_in_proportion_to_weights(one: int, two: int) -> None:
    async def take_turns() -> Counter[str]:
        slots = Slots(0)
        tasks = [
            *await _enter(slots, *["one"] * 40, weight=one),
            *await _enter(slots, *["two"] * 40, weight=two),
        ]
        slots.give_back()
        await asyncio.gather(*tasks)
        return Counter(slots.order[: 4 * (one + two)])

    turns = asyncio.run(take_turns())

    assert abs(turns["one"] - 4 * one) <= 1
    assert abs(turns["two"] - 4 * two) <= 1


async def test_one_project_s_requests_keep_their_order() -> None:
    slots, order = Slots(0), list[int]()

    async def use(number: int) -> None:
        await slots.line.turn("a", 1, slots.take)
        order.append(number)
        slots.give_back()

    tasks = [asyncio.create_task(use(number)) for number in range(20)]
    await asyncio.sleep(0)
    slots.give_back()
    await asyncio.gather(*tasks)

    assert order == sorted(order)


async def test_who_comes_late_does_not_catch_up_for_what_they_did_not_ask_for() -> None:
    slots = Slots(0)
    tasks = await _enter(slots, *["a"] * 20)
    slots.give_back()
    while len(slots.order) < 10:
        await asyncio.sleep(0)
    tasks += await _enter(slots, *["b"] * 10)
    await asyncio.gather(*tasks)

    assert Counter(slots.order[12:20])["b"] in {3, 4, 5}


@pytest.mark.parametrize("when", ["before", "with", "after"])
async def test_who_leaves_takes_no_turn_along(when: str) -> None:
    slots = Slots(0)
    first, second = await _enter(slots, "a", "a")

    if when == "before":
        first.cancel()
        await asyncio.sleep(0)
    slots.give_back()
    if when == "with":  # the turn is given, and nobody has taken it
        first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)

    assert slots.order == (["a"] if when != "after" else ["a", "a"])
    assert (slots.free, slots.line.count) == (1, 0)


async def test_a_cancelled_one_that_has_not_left_yet_is_passed_over() -> None:
    slots = Slots(0)
    first, second = await _enter(slots, "a", "a")

    first.cancel()
    slots.give_back()
    await asyncio.gather(first, second, return_exceptions=True)

    assert (slots.order, slots.free, slots.line.count) == (["a"], 1, 0)


async def test_waking_up_for_nothing_gives_nothing() -> None:
    slots = Slots(0)
    [task] = await _enter(slots, "a")

    slots.line.wake()
    await asyncio.sleep(0)

    assert not task.done()
    slots.give_back()
    await task


async def test_what_is_of_no_use_to_one_may_be_to_another() -> None:
    slots = Slots(0)

    async def never() -> None:
        await slots.line.turn("a", 1, lambda: None)

    stuck = asyncio.create_task(never())
    await asyncio.sleep(0)
    tasks = await _enter(slots, "b")
    slots.give_back()
    await asyncio.gather(*tasks)

    assert slots.order == ["b"]
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)
    assert slots.line.count == 0


async def test_waiting_too_long_ends() -> None:
    slots = Slots(0, timeout_s=0.01)

    with pytest.raises(QueueTimedOut) as caught:
        await slots.use("a")

    assert caught.value.retry_after_s
    assert slots.line.count == 0


async def _refusal(act: Callable[[], asyncio.Future[None] | asyncio.Task[None]]) -> JanError:
    with pytest.raises(JanError) as caught:
        await act()
    return caught.value


async def test_places_are_bounded_and_shared() -> None:
    slots = Slots(0, size=4)
    tasks = await _enter(slots, *["a"] * 4)

    assert isinstance(await _refusal(lambda: asyncio.create_task(slots.use("a"))), QueueFull)
    tasks += await _enter(slots, "b", "b")  # each takes the place of the newest of a's
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [False, False, True, True, False, False]
    error = await _refusal(lambda: asyncio.create_task(slots.use("a")))
    assert isinstance(error, TooManyWaiting)
    assert error.status == 429
    slots.give_back()
    ended = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(end) for end in ended[2:4]] == [TooManyWaiting] * 2
    assert Counter(slots.order) == {"a": 2, "b": 2}


async def test_without_places_nobody_waits() -> None:
    slots = Slots(1, size=0)
    await slots.use("a")
    slots.free = 0

    assert isinstance(await _refusal(lambda: asyncio.create_task(slots.use("a"))), QueueFull)


async def test_room_is_made_of_one_who_is_about_to_leave() -> None:
    slots = Slots(0, size=2)
    tasks = await _enter(slots, "loud", "loud")
    tasks[1].cancel()  # its task goes on after this one
    asyncio.get_running_loop().call_later(0.02, slots.give_back)
    await slots.use("quiet")
    await asyncio.gather(*tasks, return_exceptions=True)

    assert slots.order == ["loud", "quiet"]
    assert slots.line.count == 0
