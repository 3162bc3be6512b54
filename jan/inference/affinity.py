"""Which instance has seen the beginning of a prompt before, and so may have it in its prefix cache.

A prompt is known by chained hashes of the blocks of its text, as the engine's own cache is. What
is hashed are the bytes of the request: clients write the same messages the same way, and nothing
has to be decoded. Hashes begin with the project: no tenant is sent where another one was.
"""

from collections import OrderedDict
from collections.abc import Sequence

BLOCK_BYTES = 1024
MAX_BLOCKS = 32
"""Prompts that are alike for so long are told apart no better: 32 kB are 8,000 tokens."""
STARTS = (b'"messages"', b'"prompt"', b'"input"', b'"system"')
"""Where prompts begin. What stands before them (model, options) says nothing of them."""
SEARCHED_BYTES = 64 * 1024
MAX_KNOWN = 100_000
"""Blocks. About 20 MB."""
MAX_INSTANCES = 4
"""That are remembered for one block: of a prompt that everybody begins with, several have it."""


def keys_of(body: bytes, project_id: str, session: str | None = None) -> Sequence[int]:
    """Name a prompt's beginnings, the shortest first, and before them the session it is part of.

    A prompt shorter than a block has none: nothing would be gained.
    """
    keys = [hash((project_id, session))] if session else []
    starts = [at for name in STARTS if (at := body.find(name, 0, SEARCHED_BYTES)) >= 0]
    if not starts:
        return keys
    key = hash(project_id)
    start = min(starts)
    end = min(len(body), start + MAX_BLOCKS * BLOCK_BYTES)
    for at in range(start, end - BLOCK_BYTES + 1, BLOCK_BYTES):
        key = hash((key, body[at : at + BLOCK_BYTES]))
        keys.append(key)
    return keys


class Affinity:
    """Remembers where prompts went. What is longest ago is forgotten first."""

    def __init__(self, max_known: int = MAX_KNOWN) -> None:
        self._max_known = max_known
        self._known: OrderedDict[int, tuple[str, ...]] = OrderedDict()

    def find(self, keys: Sequence[int]) -> Sequence[str]:
        """Name the endpoints that have seen most of a prompt, the latest first."""
        for key in reversed(keys):
            if found := self._known.get(key):
                return found
        return ()

    def remember(self, keys: Sequence[int], endpoint_id: str) -> None:
        """Note where a prompt went."""
        known = self._known
        for key in keys:
            before = known.get(key, ())
            if not before or before[0] != endpoint_id:
                others = (each for each in before if each != endpoint_id)
                known[key] = (endpoint_id, *others)[:MAX_INSTANCES]
            known.move_to_end(key)
        while len(known) > self._max_known:
            known.popitem(last=False)
