"""Sums of usage."""

from datetime import datetime

from jan.caller import Caller
from jan.usage.schemas import Total
from jan.usage.tables import Usage

TOTALS = """
SELECT usage.key_id, api_key.name AS key_name, usage.model,
       count(*) AS requests, count(*) FILTER (WHERE usage.status >= 400) AS errors,
       sum(usage.prompt_tokens) AS prompt_tokens,
       sum(usage.completion_tokens) AS completion_tokens,
       sum(usage.cached_tokens) AS cached_tokens
FROM usage LEFT JOIN api_key ON api_key.id = usage.key_id
WHERE usage.created_at >= {}
GROUP BY 1, 2, 3 ORDER BY sum(usage.prompt_tokens + usage.completion_tokens) DESC, 1, 3
"""


async def totals(caller: Caller, since: datetime) -> list[Total]:  # noqa: ARG001 - what a caller may see is decided where callers have roles
    """Sum up by key and model what was used since then, the largest first."""
    rows = await Usage.raw(TOTALS, since)
    return [Total(**row) for row in rows]
