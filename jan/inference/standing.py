"""How the fleet stands, in the eyes of one process: whether anybody would answer, and who not, why.

For whoever operates Jan, on a path that needs no key: no URL is in it, and no credential.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from jan.inference.registry import USED, State
from jan.inference.watch import Instance

NOBODY = "there is no model server yet"


def described(
    instances: Iterable[Instance],
    changes: Mapping[str, Mapping[State, int]],
    *,
    begun_at: datetime,
) -> dict[str, Any]:
    """Tell whether some model would answer now, since when, and how each endpoint is.

    `changes` say how often each became what; `begun_at` is when this process did.
    """
    every = list(instances)
    used = [each for each in every if _is_used(each)]
    moments = [each.condition.since for each in used or every]
    failed = [each.condition for each in every if each.condition.last_error is not None]
    newest = max(
        failed, key=lambda condition: (condition.state not in USED, condition.since), default=None
    )
    return {
        "ok": bool(used),
        "since": _iso(min(moments) if used else max(moments, default=begun_at)),
        "last_error": NOBODY if not every else newest and newest.last_error,
        "models": sorted({name for each in used for name in each.endpoint.names}),
        "endpoints": [_one(each, changes.get(each.endpoint.id, {})) for each in every],
    }


def _one(instance: Instance, changes: Mapping[State, int]) -> dict[str, Any]:
    endpoint, condition = instance.endpoint, instance.condition
    return {
        "id": endpoint.id,
        "provider": endpoint.provider,
        "state": condition.state,
        "since": _iso(condition.since),
        "last_error": condition.last_error,
        "is_draining": endpoint.is_draining,
        "models": list(endpoint.names),
        "changes": sum(changes.values()),
        "ejections": changes.get("ejected", 0),
    }


def _is_used(instance: Instance) -> bool:
    return instance.condition.state in USED and not instance.endpoint.is_draining


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
