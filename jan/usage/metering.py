"""From what became of a request to its row of usage."""

from collections.abc import Callable

from jan.inference.registry import Described
from jan.telemetry import Exchange
from jan.usage.recorder import UsageRecorder
from jan.usage.schemas import UsageRow

MAX_COST = 2**63 - 1
"""The most that its column holds: nine million dollars."""

Said = Callable[[str], Described | None]
"""Tells what the operator says of a model."""


def into(recorder: UsageRecorder, said: Said) -> Callable[[Exchange], None]:
    """Make what takes a finished request into the usage table. It never blocks or raises."""
    return lambda exchange: recorder.record(row(exchange, said))


def row(exchange: Exchange, said: Said) -> UsageRow:
    """Write the row."""
    caller = exchange.caller
    return UsageRow(
        id=exchange.request_id,
        organization_id=caller and caller.owning_organization_id,
        project_id=caller and caller.project_id,
        user_id=caller and caller.user_id,
        key_id=caller and caller.key_id,
        model=exchange.model or "",
        path=exchange.path,
        status=exchange.status,
        prompt_tokens=exchange.prompt_tokens,
        completion_tokens=exchange.completion_tokens,
        cached_tokens=exchange.cached_tokens,
        time_to_first_token_ms=exchange.time_to_first_token_ms,
        duration_ms=exchange.duration_ms,
        request_bytes=exchange.request_bytes,
        response_bytes=exchange.response_bytes,
        is_stream=exchange.is_stream,
        error_code=exchange.error_code,
        created_at=exchange.created_at,
        endpoint_id=exchange.endpoint_id,
        queue_ms=exchange.queue_ms,
        cost_picodollars=_cost(exchange, said(exchange.model or "")),
    )


def _cost(exchange: Exchange, said: Described | None) -> int | None:
    """Tell what the tokens cost, exactly. None: the model has no price.

    Prices are micro-dollars for a million tokens, so one token's is as many pico-dollars.
    """
    if said is None or (said.prompt_price is None and said.completion_price is None):
        return None
    prompt_price, completion_price = said.prompt_price or 0, said.completion_price or 0
    cached_price = prompt_price if said.cached_price is None else said.cached_price
    cached_tokens = min(exchange.cached_tokens, exchange.prompt_tokens)
    cost = (
        (exchange.prompt_tokens - cached_tokens) * prompt_price
        + cached_tokens * cached_price
        + exchange.completion_tokens * completion_price
    )
    return min(cost, MAX_COST)
