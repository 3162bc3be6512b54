"""Keeps children running: starts them, watches them, starts them again when they die.

A child that the others can't do without and that keeps dying ends everything, with the reason; any
other is tried again for ever, ever more slowly.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio

from jan import clock
from jan.errors import JanError, Misconfigured, Unavailable
from jan.process import Child, describe_end
from jan.supervisor.board import Board
from jan.supervisor.restarts import Restarts

RETRY_S = 2.0
"""Between two attempts at what needs something that is not ours to start."""

Start = Callable[[], AbstractAsyncContextManager[Child]]
"""Opens a block in which the child is ready; raises JanError where it does not get there."""


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
        self, part: str, start: Start, *, is_vital: bool, count: int = 1
    ) -> AsyncGenerator[None]:
        """Keep `count` children running during the block; stop them, with their grace, at its end.

        Blocks within blocks stop in the order that they close: innermost first.
        """
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(self._keep, part, start, is_vital)
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

    async def _keep(self, part: str, start: Start, is_vital: bool) -> None:
        restarts = Restarts()
        while True:
            error, lived_s = await _live(part, start)
            delay_s = restarts.died(lived_s)
            if is_vital and (restarts.is_broken or isinstance(error, Misconfigured)):
                self.board.failed(part, error)
                self.end(error)
                return
            self.board.failed(part, error, again_in_s=delay_s)
            await anyio.sleep(delay_s)


async def _live(part: str, start: Start) -> tuple[JanError, float]:
    """Let a child live once. Returns why it ended and how long it was ready."""
    ready_at_s = None
    try:
        async with start() as child:
            ready_at_s = clock.monotonic_s()
            end = describe_end(await child.wait())
        error = Unavailable(f"The {part} {end}.", hint="\n".join(child.last_lines) or None)
    except JanError as refusal:
        error = refusal
    except OSError as failure:  # no memory, no more processes, no such program
        error = Unavailable(f"The {part} can't be started: {failure}")
    return error, 0.0 if ready_at_s is None else clock.monotonic_s() - ready_at_s
