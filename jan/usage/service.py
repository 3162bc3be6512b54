"""Sums of usage."""

from datetime import datetime

from jan.caller import Caller
from jan.db import scope
from jan.permissions import Scope
from jan.usage.schemas import ToolTotal, Total

TOTALS = """
SELECT usage.project_id, usage.key_id, api_key.name AS key_name, usage.model,
       count(*) AS requests, count(*) FILTER (WHERE usage.status >= 400) AS errors,
       sum(usage.prompt_tokens) AS prompt_tokens,
       sum(usage.completion_tokens) AS completion_tokens,
       sum(usage.cached_tokens) AS cached_tokens,
       trim_scale(sum(usage.cost_picodollars) / 1e12) AS cost_dollars
FROM usage LEFT JOIN api_key ON api_key.id = usage.key_id
WHERE usage.created_at >= $1 AND usage.organization_id = $2
GROUP BY 1, 2, 3, 4
ORDER BY sum(usage.prompt_tokens::bigint + usage.completion_tokens) DESC, 1, 2, 4
"""
TOOL_TOTALS = """
SELECT call.project_id, call.key_id, api_key.name AS key_name, call.server, call.tool,
       count(*) AS calls, count(*) FILTER (WHERE call.outcome <> 'completed') AS errors,
       round(sum(call.duration_ms)::numeric / 1000, 3)::float8 AS duration_s,
       sum(call.request_bytes)::bigint AS request_bytes,
       sum(call.response_bytes)::bigint AS response_bytes
FROM tool_call AS call LEFT JOIN api_key ON api_key.id = call.key_id
WHERE call.created_at >= $1 AND call.organization_id = $2
GROUP BY 1, 2, 3, 4, 5 ORDER BY count(*) DESC, 1, 2, 4, 5
"""


async def totals(caller: Caller, since: datetime) -> list[Total]:
    """Sum up by project, key and model what the organization used since then, the largest first.

    Raises:
        Forbidden: the caller may not see what others used.
    """
    caller.require(Scope.USAGE_READ)
    async with scope.reading(caller, may_lag=True) as connection:
        rows = await connection.fetch(TOTALS, since, caller.organization_id)
    return [Total(**row) for row in rows]


async def tool_totals(caller: Caller, since: datetime) -> list[ToolTotal]:
    """Sum up by project, key and tool what the organization called since then, the most first.

    Raises:
        Forbidden: the caller may not see what others used.
    """
    caller.require(Scope.USAGE_READ)
    async with scope.reading(caller, may_lag=True) as connection:
        rows = await connection.fetch(TOOL_TOTALS, since, caller.organization_id)
    return [ToolTotal(**row) for row in rows]
