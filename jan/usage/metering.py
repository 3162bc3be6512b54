"""From what became of a request to its row of usage."""

from collections.abc import Callable

from jan.telemetry import Exchange
from jan.usage.recorder import UsageRecorder
from jan.usage.schemas import UsageRow


def into(recorder: UsageRecorder) -> Callable[[Exchange], None]:
    """Make what takes a finished request into the usage table. It never blocks or raises."""
    return lambda exchange: recorder.record(row(exchange))


def row(exchange: Exchange) -> UsageRow:
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
    )
