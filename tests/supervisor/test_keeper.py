"""Children come back, in vain ones end it, and the end has an order."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from jan import process
from jan.errors import DatabaseUnavailable, JanError, Misconfigured, Unavailable
from jan.process import Child
from jan.supervisor import keeper, restarts
from jan.supervisor.board import Board
from jan.supervisor.keeper import Keeper, PartFailed
from jan.supervisor.restarts import MAX_FAILURES

DEADLINE_S = 15.0


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(restarts, "MAX_DELAY_S", 0.1)
    monkeypatch.setattr(keeper, "RETRY_S", 0.001)


class Program:
    """Starts a program again and again, and counts."""

    def __init__(self, *argv: str) -> None:
        self.argv = argv
        self.starts = 0
        self.ended = anyio.Event()

    @asynccontextmanager
    async def start(self) -> AsyncGenerator[Child]:
        """Run it once."""
        self.starts += 1
        try:
            async with process.spawn(self.argv, env=os.environ) as child:
                yield child
        finally:
            self.ended.set()


async def test_a_child_that_dies_is_started_again() -> None:
    program, watch = Program("false"), Keeper(Board("json"))

    with anyio.fail_after(DEADLINE_S):
        async with watch.keeping("model", program.start, is_vital=False):
            while program.starts <= MAX_FAILURES:
                await anyio.sleep(0.01)

    assert watch.cause is None


class Notes(Board):
    """A board that remembers what it was told of failures."""

    def __init__(self) -> None:
        super().__init__("json")
        self.told: list[tuple[str, str, str]] = []

    def failed(self, part: str, error: JanError, *, again_in_s: float | None = None) -> None:
        """Remember it."""
        del again_in_s
        self.told.append(("failed", part, error.message))

    def broken(self, part: str, error: JanError, *, again_in_s: float) -> None:
        """Remember it."""
        del again_in_s
        self.told.append(("broken", part, error.message))


async def test_a_child_that_keeps_dying_counts_as_broken_and_is_still_tried() -> None:
    program, notes = Program("sh", "-c", "exit 3"), Notes()
    watch, seen = Keeper(notes), list[tuple[str, bool]]()

    def on_failure(error: JanError, is_broken: bool) -> None:
        seen.append((error.message, is_broken))

    with anyio.fail_after(DEADLINE_S):
        async with watch.keeping("model", program.start, is_vital=False, on_failure=on_failure):
            while program.starts < MAX_FAILURES + 2:
                await anyio.sleep(0.01)

    words = "The model ended with exit code 3."
    assert notes.told[:MAX_FAILURES] == [
        *[("failed", "model", words)] * (MAX_FAILURES - 1),
        ("broken", "model", words),
    ]
    assert {kind for kind, *_ in notes.told[MAX_FAILURES:]} == {"broken"}
    assert seen[:MAX_FAILURES] == [(words, False)] * (MAX_FAILURES - 1) + [(words, True)]
    assert not watch.is_ending


async def test_what_only_the_operator_can_mend_is_tried_slowly_from_the_start() -> None:
    notes, told = Notes(), anyio.Event()

    @asynccontextmanager
    async def refuse() -> AsyncGenerator[Child]:
        raise Misconfigured("The disk is full.")
        yield

    with anyio.fail_after(DEADLINE_S):
        async with Keeper(notes).keeping(
            "model", refuse, is_vital=False, on_failure=lambda *_: told.set()
        ):
            await told.wait()
            await anyio.lowlevel.checkpoint()

    assert notes.told == [("broken", "model", "The disk is full.")]


async def test_a_failure_on_the_way_is_told_of_the_part_that_was_at_work() -> None:
    notes, told = Notes(), anyio.Event()

    @asynccontextmanager
    async def fail() -> AsyncGenerator[Child]:
        raise PartFailed("engine", Unavailable("No network."))
        yield

    with anyio.fail_after(DEADLINE_S):
        async with Keeper(notes).keeping(
            "model", fail, is_vital=False, on_failure=lambda *_: told.set()
        ):
            await told.wait()
            await anyio.lowlevel.checkpoint()

    assert notes.told[0] == ("failed", "engine", "No network.")


async def test_a_child_of_ours_that_refuses_is_quoted() -> None:
    said = "echo warming up; echo error: The port is taken.; echo hint: Use another.; exit 1"
    program, watch = Program("sh", "-c", said), Keeper(Board("json"))

    with anyio.fail_after(DEADLINE_S):
        async with watch.keeping("gateway", program.start, is_vital=True):
            await watch.until_end()

    assert watch.cause
    assert (watch.cause.message, watch.cause.hint) == ("The port is taken.", "Use another.")


async def test_a_vital_child_that_keeps_dying_ends_everything_with_its_last_words() -> None:
    program, watch = Program("sh", "-c", "echo no luck; exit 3"), Keeper(Board("json"))

    with anyio.fail_after(DEADLINE_S):
        async with watch.keeping("database", program.start, is_vital=True):
            await watch.until_end()

    assert program.starts == MAX_FAILURES
    assert watch.cause
    assert watch.cause.message == "The database ended with exit code 3."
    assert watch.cause.hint == "no luck"


async def test_what_only_the_operator_can_mend_is_not_tried_twice() -> None:
    watch, starts = Keeper(Board("json")), 0

    @asynccontextmanager
    async def refuse() -> AsyncGenerator[Child]:
        nonlocal starts
        starts += 1
        raise Misconfigured("The data is another version's.")
        yield

    with anyio.fail_after(DEADLINE_S):
        async with watch.keeping("database", refuse, is_vital=True):
            await watch.until_end()

    assert starts == 1
    assert isinstance(watch.cause, Misconfigured)


async def test_a_program_that_is_missing_is_a_death_like_any_other() -> None:
    program, watch = Program("/nowhere/program"), Keeper(Board("json"))

    with anyio.fail_after(DEADLINE_S):
        async with watch.keeping("gateway", program.start, is_vital=True):
            await watch.until_end()

    assert isinstance(watch.cause, Unavailable)
    assert "/nowhere/program" in watch.cause.message


async def test_what_was_started_last_has_stopped_before_the_first_is_asked_to() -> None:
    outer, inner, watch = Program("sleep", "600"), Program("sleep", "600"), Keeper(Board("json"))

    async with watch.keeping("database", outer.start, is_vital=True):
        async with watch.keeping("gateway", inner.start, is_vital=True, count=2):
            while outer.starts + inner.starts < 3:
                await anyio.sleep(0.01)
        assert inner.ended.is_set()
        assert not outer.ended.is_set()

    assert outer.ended.is_set()


async def test_work_that_can_succeed_later_is_tried_until_it_does() -> None:
    watch, attempts = Keeper(Board("json")), 0

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise DatabaseUnavailable("The database does not answer.")

    await watch.achieve("schema", work)

    assert attempts == 3
    assert not watch.is_ending


async def test_work_that_never_will_ends_everything() -> None:
    watch = Keeper(Board("json"))

    async def work() -> None:
        raise Misconfigured("The database is not Jan's.")

    await watch.achieve("schema", work)

    assert watch.is_ending
    assert isinstance(watch.cause, Misconfigured)
