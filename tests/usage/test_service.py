"""Sums of usage hold whatever servers elsewhere say that they counted."""

import anyio
import anyio.lowlevel

from jan.caller import Caller
from jan.clock import now
from jan.db.engine import Database
from jan.usage import service
from jan.usage.recorder import UsageRecorder
from jan.usage.schemas import UsageRow


async def test_absurd_counts_are_summed_up_too(database: Database, operator: Caller) -> None:
    recorder = UsageRecorder()
    for _ in range(2):
        recorder.record(
            UsageRow(
                id="req-1",
                organization_id=operator.organization_id,
                model="m",
                path="/v1/chat/completions",
                status=200,
                prompt_tokens=2**40,
                completion_tokens=2**40,
                cost_picodollars=2**63 - 1,
                duration_ms=1,
                request_bytes=1,
                response_bytes=1,
                is_stream=False,
                created_at=now(),
            )
        )
    async with anyio.create_task_group() as group:
        group.start_soon(recorder.run)
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()

    (total,) = await service.totals(operator, now().replace(year=2000))

    assert recorder.lost_rows == 0
    assert total.prompt_tokens == 2 * (2**31 - 1)
