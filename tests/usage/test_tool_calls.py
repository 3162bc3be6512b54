"""Calls of tools leave rows as requests do, and are summed up for whose they are."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jan import clock, permissions
from jan.caller import Caller
from jan.db import scope
from jan.db.engine import Database
from jan.errors import Forbidden
from jan.keys import service as keys
from jan.keys.schemas import KeyCreate
from jan.usage import service
from jan.usage.schemas import ToolCallRow
from jan.usage.tool_calls import ToolCallRecorder
from tests.conftest import fetch

COUNT = "SELECT count(*) FROM tool_call"


def call(**changes: Any) -> ToolCallRow:
    values: dict[str, Any] = {
        "key_id": "key_1", "tool": "google_search", "outcome": "completed", "duration_ms": 250.0,
        "request_bytes": 10, "response_bytes": 2000, "created_at": clock.now(),
    }  # fmt: skip
    return ToolCallRow(**{**values, **changes})


async def written(*calls: ToolCallRow) -> ToolCallRecorder:
    taking = ToolCallRecorder()
    for each in calls:
        taking.record(each)
    assert await taking._flush()
    return taking


@pytest.mark.parametrize(
    "poison", [{"tool": "nul\0"}, {"server": "\ud800"}, {"tool": "t" * 10_000}]
)
async def test_a_strange_name_is_written_as_well_as_it_can_be(
    database: Database, poison: dict[str, Any]
) -> None:
    taking = await written(call(**poison))

    ((count,),) = await fetch(COUNT)
    assert (count, taking.lost_rows) == (1, 0)


async def test_a_row_that_is_refused_does_not_take_others_with_it(database: Database) -> None:
    taking = await written(*(call(outcome="lost" if n == 7 else "failed") for n in range(20)))

    ((count,),) = await fetch(COUNT)
    assert (count, taking.lost_rows) == (19, 1)


async def test_calls_are_summed_up_by_project_key_and_tool(operator: Caller) -> None:
    organization_id = operator.organization_id
    key = (await keys.create(operator, KeyCreate(name="ci"), hmac_secret="s" * 32)).key
    ours = {"organization_id": organization_id, "project_id": "proj_1", "key_id": key.id}
    await written(
        call(**ours),
        call(**ours),
        call(**ours, outcome="timed_out", error_code="tool_timeout"),
        call(**ours, tool="look", server="docs"),
        call(**ours, created_at=clock.now() - timedelta(days=2)),
        call(organization_id="org_other"),
    )

    totals = await service.tool_totals(operator, clock.now() - timedelta(hours=1))

    shown = [(t.key_name, t.server, t.tool, t.calls, t.errors, t.duration_s) for t in totals]
    assert shown == [
        ("ci", None, "google_search", 3, 1, 0.75),
        ("ci", "docs", "look", 1, 0, 0.25),
    ]
    assert (totals[0].request_bytes, totals[0].response_bytes) == (30, 6000)


async def test_who_may_not_see_usage_sees_no_calls(operator: Caller) -> None:
    member = replace(operator, kind="user", scopes=permissions.ORGANIZATION_ROLES["member"])

    with pytest.raises(Forbidden):
        await service.tool_totals(member, clock.now())


async def test_row_security_shows_an_organizations_own_calls_and_a_persons_own(
    operator: Caller,
) -> None:
    organization_id = operator.organization_id
    await written(
        call(organization_id=organization_id),
        call(organization_id="org_other"),
        call(organization_id=None, user_id="user_1"),
        call(organization_id=None, user_id="user_2"),
    )

    async with scope.of(replace(operator, user_id="user_1")) as connection:
        assert await connection.fetchval(COUNT) == 2
    async with scope.of(replace(operator, organization_id=None)) as connection:
        assert await connection.fetchval(COUNT) == 0
