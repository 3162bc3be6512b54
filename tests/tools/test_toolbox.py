"""The one way to call tools: bounded, counted, and written down however it ends."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest

from jan import permissions
from jan.caller import Caller
from jan.db.engine import Database, connect
from jan.errors import (
    Forbidden,
    InvalidRequest,
    JanError,
    RateLimited,
    ToolNotConfigured,
    ToolNotFound,
    Unavailable,
)
from jan.limits.buckets import Buckets
from jan.tools.toolbox import Result, Tool, Toolbox
from jan.usage.schemas import ToolCallRow

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def tool(call: Callable[[int], Any] | None = None, **changes: Any) -> Tool:
    """One that takes a number, and does as `call` does with it."""

    async def run(_: Caller, said: dict[str, Any]) -> Result:
        return await call(said["n"]) if call else Result(text=f"got {said['n']}")

    values: dict[str, Any] = {
        "name": "count", "description": "Counts.", "input_schema": SCHEMA, "call": run
    }  # fmt: skip
    return Tool(**{**values, **changes})


@dataclass
class Bench:
    """A toolbox, and what it wrote down."""

    database: Database
    rows: list[ToolCallRow] = field(default_factory=list[ToolCallRow])

    def box(self, *tools: Tool, **changes: Any) -> Toolbox:
        """Make one."""
        limits: dict[str, Any] = {"calls_per_minute": 100, "timeout_s": 5.0, **changes}
        return Toolbox(tools, buckets=Buckets(self.database), record=self.rows.append, **limits)


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


async def test_a_call_leaves_a_row_that_tells_who_what_and_how_much(
    bench: Bench, caller: Caller
) -> None:
    result = await bench.box(tool()).call(caller, "count", {"n": 7}, response_id="resp_1")

    assert result == Result(text="got 7")
    (row,) = bench.rows
    assert (row.organization_id, row.project_id, row.key_id) == ("org_1", "proj_1", "key_1")
    assert (row.tool, row.server, row.response_id) == ("count", None, "resp_1")
    assert (row.outcome, row.error_code) == ("completed", None)
    assert (row.request_bytes, row.response_bytes) == (7, 5)
    assert 0 <= row.duration_ms < 5000


async def test_a_tool_of_another_server_is_called_and_written_down_alike(
    bench: Bench, caller: Caller
) -> None:
    remote = tool(server="docs")

    result = await bench.box().run(caller, remote, '{"n": 1}')

    assert result.text == "got 1"
    assert (bench.rows[0].tool, bench.rows[0].server) == ("count", "docs")


async def test_a_person_s_own_project_is_no_organizations(bench: Bench, caller: Caller) -> None:
    person = replace(caller, is_at_home=True, user_id="user_1", key_id=None)

    await bench.box(tool()).call(person, "count", {"n": 1})

    (row,) = bench.rows
    assert (row.organization_id, row.user_id, row.key_id) == (None, "user_1", None)


@pytest.mark.parametrize("said", [{}, {"n": "x"}, "no JSON", "[]"])
async def test_arguments_that_do_not_fit_are_told_to_the_model_and_the_tool_is_left_alone(
    bench: Bench, caller: Caller, said: Any
) -> None:
    called: list[int] = []

    result = await bench.box(tool(called.append)).call(caller, "count", said)

    assert result.is_error
    assert result.text.startswith("Error: The argument")
    assert called == []
    assert (bench.rows[0].outcome, bench.rows[0].error_code) == ("refused", "invalid_request")


async def test_a_tool_that_told_a_nonsense_schema_is_refused(bench: Bench, caller: Caller) -> None:
    result = await bench.box().run(caller, tool(input_schema={"type": "nonsense"}), {})

    assert result.is_error
    assert bench.rows[0].outcome == "refused"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Unavailable("It is down.", retry_after_s=9), "Error: It is down. Try again in 9 seconds."),
        (InvalidRequest("`n` is odd."), "Error: `n` is odd."),
    ],
)
async def test_a_tool_that_fails_is_a_result_that_the_model_reads(
    bench: Bench, caller: Caller, error: JanError, text: str
) -> None:
    async def fail(_: int) -> Result:
        raise error

    result = await bench.box(tool(fail)).call(caller, "count", {"n": 1})

    assert result == Result(text=text, is_error=True, error=error)
    assert (bench.rows[0].outcome, bench.rows[0].error_code) == ("failed", error.code)


async def test_a_tool_that_says_that_it_failed_has_failed(bench: Bench, caller: Caller) -> None:
    async def fail(_: int) -> Result:
        return Result(text="no such file", is_error=True)

    await bench.box(tool(fail)).call(caller, "count", {"n": 1})

    assert (bench.rows[0].outcome, bench.rows[0].error_code) == ("failed", None)


async def test_a_mistake_of_ours_flies_and_is_written_down(bench: Bench, caller: Caller) -> None:
    async def fail(_: int) -> Result:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await bench.box(tool(fail)).call(caller, "count", {"n": 1})

    assert (bench.rows[0].outcome, bench.rows[0].error_code) == ("failed", "internal_error")


@pytest.mark.parametrize("changes", [{}, {"timeout_s": 0.05}])
async def test_a_tool_that_hangs_is_given_up_in_time(
    bench: Bench, caller: Caller, changes: dict[str, Any]
) -> None:
    async def hang(_: int) -> Result:
        await anyio.sleep_forever()
        raise AssertionError

    box = bench.box(tool(hang, **changes), timeout_s=5 if changes else 0.05)
    with anyio.fail_after(3):
        result = await box.call(caller, "count", {"n": 1})

    assert result.text == "Error: `count` did not answer within 0.05 seconds."
    assert (bench.rows[0].outcome, bench.rows[0].error_code) == ("timed_out", "tool_timed_out")


async def test_a_call_that_is_cancelled_ends_at_once_and_is_written_down(
    bench: Bench, caller: Caller
) -> None:
    has_begun = anyio.Event()

    async def hang(_: int) -> Result:
        has_begun.set()
        await anyio.sleep_forever()
        raise AssertionError

    with anyio.fail_after(3):
        async with anyio.create_task_group() as group:
            group.start_soon(bench.box(tool(hang)).call, caller, "count", {"n": 1})
            await has_begun.wait()
            group.cancel_scope.cancel()

    assert (bench.rows[0].outcome, bench.rows[0].error_code) == ("cancelled", None)


async def test_a_project_has_so_many_calls_a_minute_and_takes_none_of_anothers(
    bench: Bench, caller: Caller
) -> None:
    box = bench.box(tool(), calls_per_minute=3)

    results = [await box.call(caller, "count", {"n": 1}) for _ in range(5)]
    other = await box.call(replace(caller, project_id="proj_2"), "count", {"n": 1})

    assert [result.is_error for result in results] == [False] * 3 + [True] * 2
    assert not other.is_error
    refused = results[-1].error
    assert isinstance(refused, RateLimited)
    assert refused.retry_after_s in range(15, 21)
    assert "3 calls of tools a minute. Try again in" in results[-1].text
    outcomes = [(row.outcome, row.error_code) for row in bench.rows[3:5]]
    assert outcomes == [("refused", "rate_limit_exceeded")] * 2


async def test_a_call_with_arguments_that_do_not_fit_counts_too(
    bench: Bench, caller: Caller
) -> None:
    box = bench.box(tool(), calls_per_minute=1)
    await box.call(caller, "count", {})

    assert (await box.call(caller, "count", {"n": 1})).is_error


async def test_without_a_database_a_tool_is_called_uncounted(caller: Caller) -> None:
    async with connect("postgresql://x@127.0.0.1:1/x", pool_size=1, application_name="t") as gone:
        result = await Bench(gone).box(tool()).call(caller, "count", {"n": 1})

    assert result.text == "got 1"


async def test_a_tool_that_is_not_there_is_not_found(bench: Bench, caller: Caller) -> None:
    box = bench.box(tool(), missing={"find": "Set JAN_X."})

    with pytest.raises(ToolNotFound, match="no tool `look`"):
        box.find(caller, "look")
    with pytest.raises(
        ToolNotConfigured, match=r"`find` is not configured on this Jan\. Set JAN_X\."
    ):
        await box.call(caller, "find", {})
    assert [each.name for each in box.tools()] == ["count"]
    assert bench.rows == []


async def test_who_may_use_no_tools_can_call_none(bench: Bench, caller: Caller) -> None:
    narrow = replace(caller, scopes=permissions.DATA_PLANE - {permissions.Scope.TOOLS_USE})

    with pytest.raises(Forbidden, match="tools:use"):
        await bench.box(tool()).call(narrow, "count", {"n": 1})


async def test_many_calls_at_once_are_made_at_once(bench: Bench, caller: Caller) -> None:
    running, most = 0, 0
    all_there = anyio.Event()

    async def meet(n: int) -> Result:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 100:
            all_there.set()
        await all_there.wait()
        running -= 1
        return Result(text=str(n))

    box = bench.box(tool(meet), calls_per_minute=100, timeout_s=20)
    results: list[str] = []

    async def call(n: int) -> None:
        results.append((await box.call(caller, "count", {"n": n})).text)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for n in range(100):
                group.start_soon(call, n)

    assert most == 100
    assert sorted(map(int, results)) == list(range(100))
    assert [row.outcome for row in bench.rows] == ["completed"] * 100
