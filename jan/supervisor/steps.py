"""What is next for the engines of one model, and how far they are. Decides, and does nothing.

`surge`: one new engine starts beside the old ones; for each that is ready an old one ends.
`recreate`: an old one ends, then a new one starts; the next only when that is ready.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from jan.fleet.deployed import Status
from jan.fleet.running import Order

UNTIL_NEXT_START = "Unloaded until the next start of `jan serve`: its settings name it."
ENDING = "Waiting for the end of what the old engine does"


class Standing(Protocol):
    """An engine, as far as it matters here."""

    number: int
    is_current: bool
    """Whether it is of the generation that is wanted."""
    is_ready: bool
    has_been_ready: bool
    is_retiring: bool
    """It ends what it does, or is being stopped."""
    failure: str | None
    """Why it does not run. None: it does, or is on the way."""
    is_broken: bool
    detail: str
    share: float | None


T = TypeVar("T", bound=Standing)


@dataclass(frozen=True)
class Next(Generic[T]):
    """What to do now."""

    start: int
    retire: Sequence[T]


def following(count: int, replace: Literal["surge", "recreate"], engines: Sequence[T]) -> Next[T]:
    """Decide what to do to have `count` engines that are current, and no others."""
    living = [engine for engine in engines if not engine.is_retiring]
    if count == 0:
        return Next(0, living)
    current = [engine for engine in living if engine.is_current]
    old = [engine for engine in living if not engine.is_current]
    # The last to answer goes first, and of those that answer the last that came.
    spare = sorted(current, key=lambda engine: (engine.is_ready, -engine.number))
    retire = spare[: max(0, len(current) - count)]
    retire += [engine for engine in old if not engine.is_ready]
    answering = [engine for engine in old if engine.is_ready]
    if replace == "surge":
        ready = sum(engine.is_ready for engine in current)
        retire += answering[: max(0, len(answering) - max(0, count - ready))]
        most = count + 1
    else:
        is_quiet = len(living) == len(engines) and all(engine.is_ready for engine in current)
        is_whole = len(current) + len(answering) >= count
        retire += answering[: 1 if is_quiet and is_whole else 0]
        most = count
    start = max(0, min(count - len(current), most - len(engines)))
    return Next(start, retire)


def standing(
    order: Order, engines: Sequence[Standing], unplaced: str | None = None
) -> tuple[Status, str, float | None]:
    """Tell how far a deployment is, in words, and the share of the step that these name.

    `unplaced` is why there is no place for an engine more.
    """
    if order.count == 0:
        return _without(order, engines)
    living = [engine for engine in engines if not engine.is_retiring]
    current = [engine for engine in living if engine.is_current]
    ready = [engine for engine in current if engine.is_ready]
    if len(ready) == len(current) == len(engines) == order.count:
        return "loaded", "", None
    is_replacing = any(not engine.is_current for engine in engines)
    missing = [engine for engine in current if not engine.is_ready]
    failed = [each for each in missing if each.failure is not None]
    # One that has been well is started again in a moment; of a new one the reason is news.
    hopeless = [each for each in failed if each.is_broken or not each.has_been_ready]
    if hopeless or (unplaced is not None and len(current) < order.count and not missing):
        reason = hopeless[0].failure if hopeless else unplaced
        return "failed", _counted(reason or "", order, ready, is_replacing=is_replacing), None
    status: Status = "replacing" if is_replacing else "loading"
    if failed:
        return status, _counted(failed[0].failure or "", order, ready, is_replacing=False), None
    if missing:
        first = missing[0]
        return status, first.detail, first.share
    return status, ENDING if is_replacing else "", None


def _without(order: Order, engines: Sequence[Standing]) -> tuple[Status, str, float | None]:
    """Tell of one of which no engine is to run."""
    if order.wanted == "idle":  # at once: requests that come now have it loaded again
        return "idle", "", None
    if engines:
        return "unloading", ENDING if any(each.is_ready for each in engines) else "", None
    return "unloaded", UNTIL_NEXT_START if order.managed_by == "settings" else "", None


def _counted(reason: str, order: Order, ready: Sequence[Standing], *, is_replacing: bool) -> str:
    if is_replacing:
        return f"{reason} The old engine goes on."
    if order.count > 1:
        return f"{reason} {len(ready)} of {order.count} engines run."
    return reason
