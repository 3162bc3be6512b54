"""Since when models have had nothing to do, by what their engines count."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Never

import anyio

from jan import clock
from jan.runner import load

LOOK_EVERY_S = 1.0


class Resting:
    """Looks at engines again and again."""

    def __init__(self) -> None:
        self.since_s: dict[str, float] = {}
        """By model, on the monotonic clock, of those whose engines all run."""
        self._done: dict[str, float] = {}
        """What their engines had counted then."""

    def forget(self, model: str) -> None:
        """Begin anew with a model: its engines are others now."""
        self.since_s.pop(model, None)
        self._done.pop(model, None)

    async def watch(self, sockets: Callable[[], Mapping[str, Sequence[Path]]]) -> Never:
        """Note, for ever, when each had something to do last. `sockets` tells whose engines."""
        while True:
            asked = sockets()
            for model in {*self.since_s} - {*asked}:
                self.forget(model)
            async with anyio.create_task_group() as group:  # one that hangs holds up no other
                for model, places in asked.items():
                    group.start_soon(self._look, model, places)
            await anyio.sleep(LOOK_EVERY_S)

    async def _look(self, model: str, places: Sequence[Path]) -> None:
        seen = [await load.read(place) for place in places]
        known = [each for each in seen if each is not None]
        done = sum(each.done for each in known)
        is_busy = len(known) < len(seen) or any(each.requests for each in known)
        if is_busy or done != self._done.get(model):
            self.since_s[model] = clock.monotonic_s()
            self._done[model] = done
