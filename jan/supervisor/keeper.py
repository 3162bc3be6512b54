"""Keeps children running: starts them, watches them, starts them again when they die.

A child that keeps dying is broken. One that the others can't do without ends everything then, with
the reason; any other is tried again for ever, but slowly, and its reason is told once.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio

from jan import clock
from jan.errors import JanError, Misconfigured, Unavailable
from jan.process import Child, describe_end
from jan.supervisor import restarts
from jan.supervisor.board import Board

RETRY_S = 2.0
"""Between two attempts at what needs something that is not ours to start."""

Start = Callable[[], AbstractAsyncContextManager[Child]]
"""Opens a block in which the child is ready; raises JanError where it does not get there."""


OnFailure = Callable[[JanError, bool], None]
"""Takes why a child failed, and whether it counts as broken."""


class PartFailed(Exception):
    """What a child needs before it can start could not be had, and the board has a line for it."""

    def __init__(self, part: str, error: JanError) -> None:
        super().__init__(part, error)
        self.part = part
        self.error = error


class Keeper:
    """All children of this process, and the wish to end."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.cause: JanError | None = None
        """Why everything ends; None when somebody asked for it."""
        self._ending = anyio.Event()

    def end(self, cause: JanError | None = None) -> None:
        """Ask for the end of it all. The first cause is the one that is told."""
        self.cause = self.cause or cause
        self._ending.set()

    @property
    def is_ending(self) -> bool:
        """Whether somebody has asked for the end."""
        return self._ending.is_set()

    async def until_end(self) -> None:
        """Wait until somebody asks for the end."""
        await self._ending.wait()

    @asynccontextmanager
    async def keeping(
        self,
        part: str,
        start: Start,
        *,
        is_vital: bool,
        count: int = 1,
        on_failure: OnFailure = lambda _error, _is_broken: None,
    ) -> AsyncGenerator[None]:
        """Keep `count` children running during the block; stop them, with their grace, at its end.

        Blocks within blocks stop in the order that they close: innermost first.
        """
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(self._keep, part, start, is_vital, on_failure)
            try:
                yield
            finally:
                group.cancel_scope.cancel()

    async def achieve(self, part: str, work: Callable[[], Awaitable[None]]) -> None:
        """Try until it works; what only the operator can mend ends everything."""
        while True:
            try:
                await work()
            except Misconfigured as error:
                self.end(error)
            except JanError as error:
                self.board.failed(part, error, again_in_s=RETRY_S)
                await anyio.sleep(RETRY_S)
                continue
            return

    async def _keep(self, part: str, start: Start, is_vital: bool, on_failure: OnFailure) -> None:
        deaths = restarts.Restarts()
        while True:
            failed_part, error, lived_s = await _live(part, start)
            delay_s = deaths.died(lived_s)
            is_broken = deaths.is_broken or isinstance(error, Misconfigured)
            on_failure(error, is_broken)
            if is_vital and is_broken:
                self.board.failed(failed_part, error)
                self.end(error)
                return
            if is_broken:
                delay_s = restarts.MAX_DELAY_S
                self.board.broken(failed_part, error, again_in_s=delay_s)
            else:
                self.board.failed(failed_part, error, again_in_s=delay_s)
            await anyio.sleep(delay_s)


async def _live(part: str, start: Start) -> tuple[str, JanError, float]:
    """Let a child live once. Returns what failed, why, and how long it was ready before."""
    ready_at_s = None
    try:
        async with start() as child:
            ready_at_s = clock.monotonic_s()
            end = describe_end(await child.wait())
        error = child.failure(f"The {part} {end}.")
    except PartFailed as failure:
        part, error = failure.part, failure.error
    except JanError as refusal:
        error = refusal
    except OSError as failure:  # no memory, no more processes, no such program
        error = Unavailable(f"The {part} can't be started: {failure}")
    return part, error, 0.0 if ready_at_s is None else clock.monotonic_s() - ready_at_s
