"""Calls of tools on their way to the database, as requests are."""

from typing import Any
from uuid import UUID

from jan.usage.recorder import Recorder, text
from jan.usage.schemas import ToolCallRow

COLUMNS = {
    "id": "uuid",
    "organization_id": "text",
    "project_id": "text",
    "user_id": "text",
    "key_id": "text",
    "tool": "text",
    "server": "text",
    "response_id": "text",
    "outcome": "text",
    "error_code": "text",
    "duration_ms": "real",
    "request_bytes": "bigint",
    "response_bytes": "bigint",
    "created_at": "timestamptz",
}


class ToolCallRecorder(Recorder[ToolCallRow]):
    """Takes rows of calls of tools."""

    def __init__(self) -> None:
        super().__init__("tool_call", COLUMNS, _values)


def _values(row_id: UUID, row: ToolCallRow) -> tuple[Any, ...]:
    return (
        row_id, row.organization_id, row.project_id, row.user_id, row.key_id,
        text(row.tool), None if row.server is None else text(row.server), row.response_id,
        row.outcome, row.error_code, row.duration_ms,
        row.request_bytes, row.response_bytes, row.created_at,
    )  # fmt: skip
