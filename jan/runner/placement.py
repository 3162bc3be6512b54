"""Which instance of which model runs on which GPU, with how much of its memory; and why not.

`plan` is pure: the same hardware and wishes give the same plan. What runs stays where it is, what
the operator says is obeyed, and the rest is placed, the largest first, where the fewest others are.
Fractions are of a GPU's whole memory, as vLLM's `--gpu-memory-utilization` is, in thousandths.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import groupby

from jan.runner import needs, on_cpu, sizes
from jan.runner.hardware import Hardware
from jan.runner.needs import Needs
from jan.runner.options import Options, Parallel, parallel
from jan.runner.rooms import CONTEXT_BYTES, THOUSAND, Room
from jan.runner.wishes import Assignment, Plan, Wanted

ALONE_THOUSANDTHS = 920
"""Most that an engine gets by itself, as vLLM has it where nothing is said."""
LARGE_BYTES = 70 * 2**30

Rooms = Mapping[int, Room]
Order = Callable[[Room], tuple[int, ...]]


def plan(hardware: Hardware, wanted: Sequence[Wanted]) -> Plan:
    """Place every instance, or tell why not.

    Raises:
        ValueError: two wishes have one key.
    """
    if len({wish.key for wish in wanted}) < len(wanted):
        raise ValueError("two instances have the same key")
    made = on_cpu.plan(hardware, wanted) if hardware.variant == "cpu" else _plan(hardware, wanted)
    keys = [wish.key for wish in wanted]
    return Plan(
        {key: made.placed[key] for key in keys if key in made.placed},
        {key: made.refused[key] for key in keys if key in made.refused},
    )


@dataclass(frozen=True)
class _Request:
    """A wish that makes sense, and what it takes."""

    wish: Wanted
    options: Options
    spread: Parallel
    count: int
    """GPUs of this machine."""
    needs: Needs | None
    fraction: float | None

    @property
    def rank(self) -> tuple[object, ...]:
        """The order in which wishes are placed."""
        size = self.needs.least_bytes if self.needs else 0
        return (self.wish.gpus is None, -self.count, -size, self.wish.model, self.wish.key)

    def least(self, room: Room) -> int:
        """Bytes of this GPU without which it can't run."""
        if self.fraction is not None:
            return round(room.total_bytes * self.fraction)
        assert self.needs is not None
        if not room.total_bytes:
            return 0
        return room.of_thousandths(room.thousandths(self.needs.least_bytes))

    def fits(self, room: Room) -> bool:
        """Whether there is room for it. Of whose memory nothing is known, one may have all."""
        if room.gpu.is_divided:
            return False
        if not room.total_bytes:
            return not room.taken
        if self.fraction is not None:
            return self.least(room) <= room.left_bytes
        return self.least(room) <= room.spare_bytes

    def part(self, rooms: Sequence[Room]) -> int:
        """The least part of each of these GPUs in thousandths: vLLM takes the same of all."""
        assert self.needs is not None
        known = [room for room in rooms if room.total_bytes]
        return max((room.thousandths(self.needs.least_bytes) for room in known), default=0)

    def fits_all(self, rooms: Sequence[Room]) -> bool:
        """Whether there is room for the same part on all of them, each of which has some."""
        if self.fraction is not None:
            return True
        part = self.part(rooms)
        return all(not r.total_bytes or r.of_thousandths(part) <= r.spare_bytes for r in rooms)


def _plan(hardware: Hardware, wanted: Sequence[Wanted]) -> Plan:
    rooms = _rooms(hardware, wanted)
    placed = {wish.key: wish.running for wish in wanted if wish.running is not None}
    refused: dict[str, str] = {}
    requests: list[_Request] = []
    for wish in wanted:
        if wish.running is None:
            request = _request(hardware, rooms, wish)
            if isinstance(request, str):
                refused[wish.key] = request
            else:
                requests.append(request)
    requests.sort(key=lambda request: request.rank)
    spread, packed = (_place(rooms, requests, way) for way in (_spread, _pack))
    chosen = packed if len(packed.where) > len(spread.where) else spread
    placed |= _granted(chosen)
    return Plan(placed, refused | chosen.refused)


def _rooms(hardware: Hardware, wanted: Sequence[Wanted]) -> dict[int, Room]:
    """What is left of each GPU beside what runs. Its memory may not be full yet."""
    rooms = {gpu.index: Room(gpu) for gpu in hardware.gpus}
    for wish in wanted:
        for number in wish.running.gpus if wish.running else ():
            if room := rooms.get(number):
                assert wish.running is not None
                fraction = wish.running.memory_fraction
                size = round(room.total_bytes * fraction) if fraction else 0
                room.take(wish.key, wish.model, size or wish.running.memory_bytes)
    for room in rooms.values():
        ours = sum(room.taken.values()) + CONTEXT_BYTES * len(room.taken)
        beside = max(0, (room.gpu.used_bytes or 0) - ours)
        room.foreign_bytes = max(beside, room.gpu.others_bytes or 0)
    return rooms


def _request(hardware: Hardware, rooms: Rooms, wish: Wanted) -> _Request | str:
    """Check a wish before it is placed. A string says what is wrong with it."""
    options = Options.parse(wish.engine_args)
    spread = parallel(options, wish.tensor_parallel)
    fraction = options.fraction("gpu-memory-utilization") or wish.memory_fraction
    allowed = len(rooms) if wish.gpus is None else len(set(wish.gpus))
    # Ray finds the others on other machines.
    count = max(1, min(spread.here, allowed)) if spread.is_ray else spread.here
    if words := _nowhere(hardware, rooms, wish, count):
        return words
    if wish.facts is None:
        if fraction is None:
            return "it is not in the model store, so its size is not known"
        return _Request(wish, options, spread, count, None, fraction)
    if words := needs.refusal(wish.facts, spread):
        return words
    return _Request(wish, options, spread, count, needs.of(wish.facts, options, spread), fraction)


def _nowhere(hardware: Hardware, rooms: Rooms, wish: Wanted, count: int) -> str | None:
    """Why there are no GPUs for it, whatever is on them."""
    if not rooms:
        return f"there is no GPU: {hardware.reason}"
    if wish.gpus is None:
        return (
            f"it spreads over {count} GPUs, and there are {len(rooms)}"
            if count > len(rooms)
            else None
        )
    if unknown := sorted(set(wish.gpus) - rooms.keys()):
        numbers = ", ".join(map(str, sorted(rooms)))
        return f"there is no GPU {unknown[0]}: Jan sees {numbers}"
    if count > len(set(wish.gpus)):
        return f"it spreads over {count} GPUs, and `gpus` names {len(set(wish.gpus))}"
    return None


@dataclass
class _Attempt:
    """One way of placing the wishes."""

    rooms: dict[int, Room]
    where: list[tuple[_Request, tuple[int, ...]]]
    refused: dict[str, str]


def _place(rooms: Rooms, requests: Sequence[_Request], way: Callable[[str], Order]) -> _Attempt:
    attempt = _Attempt(deepcopy(dict(rooms)), [], {})
    for request in requests:
        wish = request.wish
        allowed = [
            room
            for number, room in sorted(attempt.rooms.items())
            if wish.gpus is None or number in wish.gpus
        ]
        chosen = _choose([room for room in allowed if request.fits(room)], request, way(wish.model))
        if chosen is None:
            attempt.refused[wish.key] = _no_room(request, allowed)
            continue
        for room in chosen:
            is_said = request.fraction is not None
            size = request.least(room) if is_said else room.of_thousandths(request.part(chosen))
            room.take(wish.key, wish.model, size)
        attempt.where.append((request, tuple(sorted(room.gpu.index for room in chosen))))
    return attempt


def _choose(fitting: list[Room], request: _Request, order: Order) -> list[Room] | None:
    """Take GPUs, all of one kind where that is possible: the slowest sets the pace."""
    fitting.sort(key=order)
    kinds: dict[tuple[str, int], list[Room]] = {}
    for room in fitting:
        kinds.setdefault((room.gpu.name, room.total_bytes), []).append(room)
    alike = [rooms[: request.count] for rooms in kinds.values() if len(rooms) >= request.count]
    if alike:
        return min(alike, key=lambda rooms: [order(room) for room in rooms])
    by_size = sorted(fitting, key=lambda room: (-room.total_bytes, order(room)))
    for first in range(len(by_size) - request.count + 1):
        mixed = by_size[first : first + request.count]
        if request.fits_all(mixed):
            return mixed
    return None


def _spread(model: str) -> Order:
    """Away from others of the same model, then from any, then where the most is left."""

    def order(room: Room) -> tuple[int, ...]:
        alike = list(room.models.values()).count(model)
        return (alike, len(room.taken), -room.left_bytes, room.gpu.index)

    return order


def _pack(_: str) -> Order:
    """Where the least is left, so that something large finds a whole GPU."""
    return lambda room: (room.left_bytes, room.gpu.index)


def _no_room(request: _Request, allowed: Sequence[Room]) -> str:
    if divided := [room for room in allowed if room.gpu.is_divided]:
        allowed = [room for room in allowed if not room.gpu.is_divided]
        if len(allowed) < request.count:
            numbers = ", ".join(str(room.gpu.index) for room in divided)
            return f"GPU {numbers} is divided (MIG), and Jan uses whole ones only"
    state = "; ".join(str(room) for room in allowed)
    if request.fraction is not None:
        what = f"{request.fraction:g} of a GPU's memory is not left"
    else:
        assert request.needs is not None
        what = f"{_amount(request.needs)} is not left"
    if request.count > 1:
        what += f" on {request.count} GPUs"
    if shared := next((r for r in allowed if request.wish.replaces in r.taken), None):
        state += f"; `replace: recreate` would free GPU {shared.gpu.index} first"
    return f"{what}: {state}"


def _amount(needed: Needs) -> str:
    words = f"{sizes.in_words(needed.least_bytes)} ({sizes.in_words(needed.weights_bytes)} weights"
    return f"{words}, the rest to compute and for a cache)"


def _granted(attempt: _Attempt) -> dict[str, Assignment]:
    """Say how much each one gets: what it asked for, or from the least up to what is useful."""
    rooms = attempt.rooms
    automatic = [
        (request, gpus)
        for request, gpus in attempt.where
        if request.fraction is None and any(rooms[number].total_bytes for number in gpus)
    ]
    parts = {
        request.wish.key: request.part([rooms[number] for number in gpus])
        for request, gpus in automatic
    }
    _share_out(automatic, rooms, parts)
    return {
        request.wish.key: _assignment(request, gpus, rooms, parts.get(request.wish.key))
        for request, gpus in attempt.where
    }


Where = Sequence[tuple[_Request, tuple[int, ...]]]


def _share_out(where: Where, rooms: Rooms, parts: dict[str, int]) -> None:
    """Divide what is left of each GPU by what its instances can make use of."""
    more: dict[str, int] = {}
    for request, gpus in where:
        assert request.needs is not None
        known = [rooms[number] for number in gpus if rooms[number].total_bytes]
        useful = min(room.thousandths(request.needs.useful_bytes) for room in known)
        if all(len(room.taken) == 1 for room in known):
            useful = ALONE_THOUSANDTHS
        more[request.wish.key] = max(0, min(ALONE_THOUSANDTHS, useful) - parts[request.wish.key])
    growth = dict(more)
    for request, gpus in where:
        key = request.wish.key
        for room in (rooms[number] for number in gpus if rooms[number].total_bytes):
            asked = sum(room.of_thousandths(more.get(k, 0)) + 1 for k in room.taken)
            given = min(asked, room.growth_bytes)
            growth[key] = min(growth[key], more[key] * given // asked)
    for request, gpus in where:
        key = request.wish.key
        parts[key] += growth[key]
        for room in (rooms[number] for number in gpus):
            room.take(key, request.wish.model, room.of_thousandths(parts[key]))


def _assignment(
    request: _Request, gpus: tuple[int, ...], rooms: Rooms, thousandths: int | None
) -> Assignment:
    fraction = request.fraction if not thousandths else thousandths / THOUSAND
    own = [rooms[number] for number in gpus]
    size = min(round(room.total_bytes * (fraction or 0)) for room in own)
    return Assignment(
        gpus=gpus,
        devices=tuple(room.gpu.uuid or str(room.gpu.index) for room in own),
        memory_fraction=fraction,
        memory_bytes=size,
        max_running=_running(request, own),
        tensor_parallel=request.spread.tensor,
        reasons=tuple(_reasons(request, own, size)),
    )


def _running(request: _Request, own: Sequence[Room]) -> int:
    """How many requests vLLM works on at a time, as it has it for such GPUs (0.32).

    Source: `EngineArgs.get_batch_defaults` in vllm/engine/arg_utils.py.
    """
    is_large = all(
        room.total_bytes >= LARGE_BYTES and "a100" not in room.gpu.name.lower() for room in own
    )
    return request.options.running(1024 if is_large else 256) * request.spread.data


def _reasons(request: _Request, own: Sequence[Room], size_bytes: int) -> list[str]:
    wish, needed = request.wish, request.needs
    is_alone = all(len(room.taken) == 1 for room in own)
    reasons = ["on the GPUs that `gpus` names"] if wish.gpus is not None else []
    if request.fraction is not None:
        reasons.append(f"{request.fraction:g} of the memory, as it is said")
    elif not size_bytes:
        reasons.append("the memory of the GPU is not told, so it has it alone")
    elif is_alone:
        reasons.append("alone there, so it gets what is free")
    else:
        reasons.append("shares it with others")
    if needed is not None and size_bytes:
        rest = size_bytes - needed.weights_bytes
        reasons.append(
            f"{sizes.in_words(needed.weights_bytes)} weights, "
            f"{sizes.in_words(max(0, rest))} to compute and for the cache"
        )
        if size_bytes < needed.least_bytes:
            reasons.append(
                f"{sizes.in_words(size_bytes)} may be too little: "
                f"it needs about {sizes.in_words(needed.least_bytes)}"
            )
        if needed.is_guess:
            reasons.append("its configuration does not tell how large a cache it needs")
    if len({key for key, _ in groupby((r.gpu.name, r.total_bytes) for r in own)}) > 1:
        reasons.append("its GPUs are not alike")
    if request.spread.is_ray:
        world = request.spread.world * request.spread.data
        reasons.append(f"Ray places its {world} parts, here and elsewhere")
    return reasons
