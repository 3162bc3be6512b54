"""Requests that wait for their turn at a busy model: few enough, and in turns between projects.

Turns are given by weighted fair queueing: each project has a virtual time that advances by one part
in its weight with each turn, and the project that is least advanced is next. So one request of a
project waits for one turn of each other project, however many requests those have waiting.

Source: https://en.wikipedia.org/wiki/Weighted_fair_queueing
"""

import asyncio
import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

from jan import clock
from jan.errors import QueueFull, QueueTimedOut, TooManyWaiting

MIN_RETRY_AFTER_S = 1
MAX_RETRY_AFTER_S = 60
SMOOTHING = 0.1
"""Of the time between two turns: how much the newest one counts."""

T = TypeVar("T")


class _Ticket(Generic[T]):
    __slots__ = ("project", "take", "turn")

    def __init__(
        self, project: "_Project[T]", take: Callable[[], T | None], turn: "asyncio.Future[T]"
    ) -> None:
        self.project = project
        self.take = take
        self.turn = turn


class _Project(Generic[T]):
    __slots__ = ("id", "is_listed", "tickets", "time", "weight")

    def __init__(self, id_: str, time: float) -> None:
        self.id = id_
        self.time = time
        """Virtual."""
        self.weight = 1
        self.tickets: dict[_Ticket[T], None] = {}
        """In the order in which they came."""
        self.is_listed = False


class Waiting(Generic[T]):
    """Those who wait for one thing of which there are several, such as the instances of a model."""

    def __init__(self, size: int, timeout_s: float, give_back: Callable[[T], None]) -> None:
        """Take at most `size`. `give_back` takes what was given to someone who has left."""
        self._size = size
        self._timeout_s = timeout_s
        self._give_back = give_back
        self._projects: dict[str, _Project[T]] = {}
        self._next: list[tuple[float, int, _Project[T]]] = []
        """A heap of those that have tickets."""
        self._time = 0.0
        self._numbers = 0
        self._turn_s = 0.0
        """Between two turns, smoothed."""
        self._last_turn_s: float | None = None
        self.count = 0
        """How many wait."""

    async def turn(self, project_id: str, weight: int, take: Callable[[], T | None]) -> T:
        """Wait until `take` gives something. It is called now, if nobody waits, or in turn.

        Raises:
            TooManyWaiting: there is no place, and this project has its share of them.
            QueueFull: there is no place, and only this project waits.
            QueueTimedOut: it took too long.
        """
        if not self.count and (taken := take()) is not None:
            return taken
        ticket = self._enter(project_id, weight, take)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await ticket.turn
        except BaseException as error:
            self._leave(ticket)
            turn = ticket.turn
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give_back(turn.result())
            if isinstance(error, TimeoutError):
                raise QueueTimedOut(
                    f"No turn came within {self._timeout_s:g} s: the model is busy.",
                    retry_after_s=self._retry_after_s(),
                ) from None
            raise

    def wake(self) -> None:
        """Give turns, for something may be free now."""
        passed: list[tuple[float, int, _Project[T]]] = []
        while self._next:
            entry = heapq.heappop(self._next)
            project = entry[2]
            if not project.tickets:
                project.is_listed = False
                continue
            ticket = next(iter(project.tickets))
            if ticket.turn.done():  # cancelled, and about to leave
                self._leave(ticket)
                heapq.heappush(self._next, entry)
                continue
            taken = ticket.take()
            if taken is None:  # what is free may be of no use to this one, and to the next one
                passed.append(entry)
                continue
            self._leave(ticket)
            ticket.turn.set_result(taken)
            self._time = max(self._time, project.time)
            project.time += 1 / project.weight
            project.is_listed = False
            self._list(project)
            self._note_turn()
        for entry in passed:
            heapq.heappush(self._next, entry)
        if not self.count:
            self._projects.clear()  # and with them the memory of who had how much
            self._next.clear()
            self._last_turn_s = None

    def _enter(self, project_id: str, weight: int, take: Callable[[], T | None]) -> _Ticket[T]:
        project = self._projects.get(project_id)
        if project is None:
            project = self._projects[project_id] = _Project(project_id, self._time)
        project.weight = weight
        if self.count >= self._size:
            self._make_room(project)
        if not project.tickets:
            project.time = max(project.time, self._time)
        turn: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        ticket = _Ticket(project, take, turn)
        project.tickets[ticket] = None
        self.count += 1
        self._list(project)
        return ticket

    def _make_room(self, project: _Project[T]) -> None:
        """Send the newest away of whoever has most beyond their share, if that is another one."""
        waiting = [each for each in self._projects.values() if each.tickets]
        most = max(waiting, key=lambda each: len(each.tickets) / each.weight, default=None)
        has = (len(project.tickets) + 1) / project.weight
        if most is None or most is project or len(most.tickets) / most.weight <= has:
            kind = QueueFull if waiting in ([], [project]) else TooManyWaiting
            raise self._refusal(kind)
        ticket = next(reversed(most.tickets))
        self._leave(ticket)
        if not ticket.turn.done():  # else cancelled, and about to leave
            ticket.turn.set_exception(self._refusal(TooManyWaiting))

    def _refusal(self, kind: type[QueueFull | TooManyWaiting]) -> QueueFull | TooManyWaiting:
        whose = "of this project " if kind is TooManyWaiting else ""
        return kind(
            f"The model is busy, and too many requests {whose}wait for it.",
            retry_after_s=self._retry_after_s(),
        )

    def _list(self, project: _Project[T]) -> None:
        if project.tickets and not project.is_listed:
            project.is_listed = True
            self._numbers += 1
            heapq.heappush(self._next, (project.time, self._numbers, project))

    def _leave(self, ticket: _Ticket[T]) -> None:
        if ticket in ticket.project.tickets:
            del ticket.project.tickets[ticket]
            self.count -= 1

    def _note_turn(self) -> None:
        now_s = clock.monotonic_s()
        if self._last_turn_s is not None:
            self._turn_s += SMOOTHING * (now_s - self._last_turn_s - self._turn_s)
        self._last_turn_s = now_s

    def _retry_after_s(self) -> int:
        """When those who wait now will have had their turns, as things go."""
        return round(min(max(self._turn_s * self.count, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S))
