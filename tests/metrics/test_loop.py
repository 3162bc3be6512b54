"""How late the event loop is."""

import asyncio
import time

import pytest

from jan.metrics import loop
from jan.metrics.loop import LoopLag


async def test_who_blocks_the_loop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "EVERY_S", 0.01)
    lag = LoopLag()
    running = asyncio.create_task(lag.run())
    await asyncio.sleep(0)

    time.sleep(0.3)  # noqa: ASYNC251 - that is what is to be seen
    await asyncio.sleep(0.05)
    running.cancel()

    counts = {sample.labels.get("le"): sample.value for sample in lag.family().samples}
    assert counts["+Inf"] - counts["0.25"] == 1
