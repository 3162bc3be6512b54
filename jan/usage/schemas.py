"""Usage as the rest of the program writes and reads it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

Outcome = Literal["completed", "failed", "timed_out", "refused", "cancelled"]
"""How a call of a tool ended. `refused`: it was never made, for its arguments or a limit."""


class UsageRow(msgspec.Struct, kw_only=True, gc=False):
    """One request of the data plane. `id` is its request id."""

    id: str
    organization_id: str | None = None
    """None: a person's own project."""
    project_id: str | None = None
    user_id: str | None = None
    key_id: str | None = None
    """None: a signed-in person."""
    model: str
    path: str
    status: int
    prompt_tokens: int = 0
    """Cached ones included."""
    completion_tokens: int = 0
    cached_tokens: int = 0
    time_to_first_token_ms: float | None = None
    duration_ms: float
    request_bytes: int
    response_bytes: int
    is_stream: bool
    error_code: str | None = None
    created_at: datetime
    endpoint_id: str | None = None
    """Where it was sent last."""
    queue_ms: float | None = None
    """For how long it waited for its turn."""
    cost_picodollars: int | None = None
    """None: the model has no price."""


class ToolCallRow(msgspec.Struct, kw_only=True, gc=False):
    """One call of a tool. Neither arguments nor results are in it."""

    organization_id: str | None = None
    """None: a person's own project."""
    project_id: str | None = None
    user_id: str | None = None
    key_id: str | None = None
    """None: a signed-in person."""
    tool: str
    server: str | None = None
    """None: the tool is Jan's own."""
    response_id: str | None = None
    outcome: Outcome
    error_code: str | None = None
    duration_ms: float
    request_bytes: int
    response_bytes: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Total:
    """What one key used of one model."""

    project_id: str | None
    key_id: str | None
    """None: signed-in people."""
    key_name: str | None
    """None where the key is gone."""
    model: str
    requests: int
    errors: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost_dollars: Decimal | None
    """None: the model had no price."""


@dataclass(frozen=True, slots=True)
class ToolTotal:
    """How one key used one tool."""

    project_id: str | None
    key_id: str | None
    """None: signed-in people."""
    key_name: str | None
    """None where the key is gone."""
    server: str | None
    """None: the tool is Jan's own."""
    tool: str
    calls: int
    errors: int
    """Of those, the ones that were not completed."""
    duration_s: float
    """Of all together."""
    request_bytes: int
    response_bytes: int
