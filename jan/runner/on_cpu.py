"""A plan for the engine on the processor: memory of the machine and processors, divided.

Measured with two engines of SmolLM2-135M on 2 processors: each with all of them gave 8 to 14 tokens
a second together, for their threads spin while they wait for each other; each with one gave 97. An
engine alone gave 69 with both, 60 with one.
"""

from collections.abc import Iterable, Sequence

from jan.runner import needs, sizes
from jan.runner.hardware import Hardware
from jan.runner.needs import Needs
from jan.runner.options import Options, Parallel, parallel
from jan.runner.wishes import Assignment, Plan, Wanted

BATCH = 128
"""Tokens of a step and requests at a time, see `jan.runner.launch`."""
KV_CACHE_SHARE = 4
"""One part in so many of the free memory becomes cache."""
KV_CACHE_MAX_BYTES = 8 * 2**30
KV_CACHE_MIN_BYTES = 2**28
UNKNOWN_WEIGHTS_BYTES = 2**30
"""Of a model of which nothing is known."""


def plan(hardware: Hardware, wanted: Sequence[Wanted]) -> Plan:
    """Divide memory and processors among all that is wanted. What runs keeps what it has."""
    placed = {wish.key: wish.running for wish in wanted if wish.running is not None}
    refused: dict[str, str] = {}
    left = _left(hardware, placed.values())
    new = sorted(
        (wish for wish in wanted if wish.running is None),
        key=lambda wish: (-_needs(wish).least_bytes, wish.model, wish.key),
    )
    fitting: list[tuple[Wanted, int, int | None]] = []
    for wish in new:
        fixed, cache = _fixed(hardware, wish)
        least = fixed + (KV_CACHE_MIN_BYTES if cache is None else cache)
        if wish.gpus is not None:
            refused[wish.key] = (
                f"`gpus` names GPUs, and the engine is that for the cpu: {hardware.reason}"
            )
        elif left is not None and least > left:
            words = f"about {sizes.in_words(least)} of memory is not left: {sizes.in_words(left)}"
            refused[wish.key] = f"{words} of {sizes.in_words(hardware.memory_bytes or left)} is"
        else:
            fitting.append((wish, fixed, cache))
            left = None if left is None else left - least
    if left is not None:
        left += sum(KV_CACHE_MIN_BYTES for _, _, cache in fitting if cache is None)
    share = _share(left, sum(cache is None for _, _, cache in fitting))
    # Where there are several parts vLLM binds each to a memory node of its own.
    whole = [wish for wish, _, _ in fitting if _world(wish) == 1]
    processors = _processors(hardware, wanted, whole)
    for wish, fixed, cache in fitting:
        placed[wish.key] = _assignment(wish, fixed, cache, share, processors.get(wish.key, ()))
    return Plan(placed, refused)


def share_bytes(free_bytes: int | None, weights_bytes: int) -> int:
    """The cache of an engine that is alone."""
    return _share(None if free_bytes is None else free_bytes - weights_bytes, 1)


def _left(hardware: Hardware, running: Iterable[Assignment]) -> int | None:
    """Memory for new ones. What runs has not touched all of its cache yet, but it may."""
    free = hardware.free_memory_bytes
    if free is None:
        return None
    taken = sum(assignment.memory_bytes for assignment in running)
    return max(0, min(free, (hardware.memory_bytes or free) - taken))


def _needs(wish: Wanted) -> Needs:
    facts = wish.facts or needs.Facts(weights_bytes=UNKNOWN_WEIGHTS_BYTES)
    return needs.of(facts, Options.parse(wish.engine_args), Parallel(), on_cpu=True)


def _world(wish: Wanted) -> int:
    return parallel(Options.parse(wish.engine_args), wish.tensor_parallel).here


def _fixed(hardware: Hardware, wish: Wanted) -> tuple[int, int | None]:
    """Bytes beside the cache, and those of the cache if somebody said how many."""
    needed = _needs(wish)
    fixed = needed.least_bytes - needed.least_cache_bytes
    options = Options.parse(wish.engine_args)
    if said := options.number("kv-cache-memory-bytes"):
        return fixed, said
    fraction = options.fraction("gpu-memory-utilization") or wish.memory_fraction
    if fraction is not None and hardware.memory_bytes:
        return fixed, max(KV_CACHE_MIN_BYTES, int(hardware.memory_bytes * fraction) - fixed)
    return fixed, None


def _share(left: int | None, count: int) -> int:
    if left is None or not count:
        return KV_CACHE_MIN_BYTES
    return max(KV_CACHE_MIN_BYTES, min(KV_CACHE_MAX_BYTES, left // KV_CACHE_SHARE // count))


def _processors(
    hardware: Hardware, wanted: Sequence[Wanted], new: Sequence[Wanted]
) -> dict[str, tuple[int, ...]]:
    """Processors of each new one, those that the fewest have. None is named to one that is alone.

    One that takes another's place takes its processors, if they are still its share.
    """
    ending = {wish.replaces for wish in new}
    before = {wish.key: wish.running.cpus for wish in wanted if wish.running is not None}
    users = [
        number
        for key, cpus in before.items()
        if key not in ending
        for number in cpus or hardware.cpus
    ]
    count = sum(key not in ending for key in before) + sum(wish.key not in ending for wish in new)
    each = max(1, len(hardware.cpus) // max(1, count))
    chosen: dict[str, tuple[int, ...]] = {}
    for wish in new:
        inherited = before.get(wish.replaces or "", ())
        if count <= 1:
            chosen[wish.key] = ()
        elif len(inherited) == each:
            chosen[wish.key] = inherited
        else:
            order = sorted(hardware.cpus, key=lambda number: (users.count(number), number))
            chosen[wish.key] = tuple(sorted(order[:each]))
        users += chosen[wish.key]
    return chosen


def _assignment(
    wish: Wanted, fixed: int, cache: int | None, share: int, cpus: tuple[int, ...]
) -> Assignment:
    options = Options.parse(wish.engine_args)
    is_theirs = "kv-cache-memory-bytes" in options or "gpu-memory-utilization" in options
    size = share if cache is None else cache
    reasons = [f"on the processor, {sizes.in_words(size)} of memory for the cache"]
    if cache is not None:
        reasons.append("as it is said")
    if cpus:
        reasons.append(f"on {len(cpus)} of the processors")
    return Assignment(
        kv_cache_bytes=None if is_theirs else size,
        memory_bytes=fixed + size,
        cpus=cpus,
        max_running=options.running(BATCH),
        tensor_parallel=wish.tensor_parallel,
        reasons=tuple(reasons),
    )
