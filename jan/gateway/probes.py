"""Is it alive, is it ready, what is it: the paths that need no key."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version as version_of
from typing import Any

from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler

from jan import clock
from jan.errors import JanError
from jan.gateway.health import Health
from jan.gateway.parts import Check

CHECK_TIMEOUT_S = 2.0
"""What takes longer to answer so little is not to be relied on."""


def handlers(
    standing: Callable[[], Mapping[str, Any]],
    checks: Mapping[str, Check],
    optional_checks: Mapping[str, Check],
    is_draining: Callable[[], bool],
) -> Sequence[HTTPRouteHandler]:
    """Make the routes."""
    started_at = clock.now()
    looks = {**checks, **optional_checks}
    dependencies = {name: Health() for name in looks}

    @get("/healthcheck", operation_id="check_health")
    async def check_health() -> Response[bytes]:
        """Say "ok", whatever the state of what Jan depends on."""
        return Response(b'"ok"', media_type=MediaType.JSON)

    @get("/livez", operation_id="check_liveness")
    async def check_liveness() -> dict[str, str]:
        """Say that this process runs and answers. If not, restart it."""
        return {"status": "ok"}

    @get("/readyz", operation_id="check_readiness")
    async def check_readiness() -> Response[dict[str, Any]]:
        """Say whether a chat would be answered, and what each dependency's state is. 503 if not."""
        await asyncio.gather(*(_look_at(dependencies[name], looks[name]) for name in looks))
        needed = (health for name, health in dependencies.items() if name not in optional_checks)
        inference = standing()
        is_ready = inference["ok"] and all(health.ok for health in needed) and not is_draining()
        states = {"inference": inference}
        states |= {name: _describe(health) for name, health in dependencies.items()}
        status = "shutting down" if is_draining() else "ready" if is_ready else "not ready"
        return Response(
            {"status": status, "dependencies": states}, status_code=200 if is_ready else 503
        )

    @get("/v1/version", operation_id="get_version")
    async def get_version() -> dict[str, str]:
        """Tell Jan's version, and when this process last read its settings."""
        return {"version": version_of("jan"), "env_reloaded_at": _iso(started_at)}

    return [check_health, check_liveness, check_readiness, get_version]


async def _look_at(health: Health, check: Check) -> None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            health.told = await check() or {}
    except TimeoutError:
        health.bad(f"no answer within {CHECK_TIMEOUT_S:g} s")
    except JanError as error:
        health.bad(error.message)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the probe reports
        health.bad(type(error).__name__)
    else:
        health.good()


def _describe(health: Health) -> dict[str, Any]:
    known = {"ok": health.ok, "since": _iso(health.since), "last_error": health.last_error}
    return {**known, **health.told} if health.ok else known


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
