"""How late an event loop is: what every request in a process waits for, whatever it asks for."""

import asyncio
from typing import Never

from prometheus_client.metrics_core import Metric as Family

from jan import clock
from jan.metrics import names
from jan.metrics.families import histogram
from jan.metrics.tallies import Tally

EVERY_S = 0.5


class LoopLag:
    """Measured while `run` runs."""

    def __init__(self) -> None:
        self._lags = Tally(names.LAG_S)

    async def run(self) -> Never:
        """Sleep again and again, and see how long that took."""
        while True:
            slept_s = clock.monotonic_s()
            await asyncio.sleep(EVERY_S)
            self._lags.add(max(0.0, clock.monotonic_s() - slept_s - EVERY_S))

    def family(self) -> Family:
        """Tell it."""
        return histogram(names.LOOP_LAG, {(): self._lags})
