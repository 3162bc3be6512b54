"""Usage as the rest of the program writes and reads it."""

from dataclasses import dataclass
from datetime import datetime

import msgspec


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
