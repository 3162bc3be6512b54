"""The audit log: every administrative act and sign-in, in the transaction that does it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from jan import ids
from jan.audit.schemas import Actor, Details
from jan.caller import Caller
from jan.db import scope

INSERT = """
INSERT INTO audit_log (id, organization_id, type, project_id, actor, details)
VALUES ($1, $2, $3, $4, $5, $6)
"""


async def record(  # noqa: PLR0913 - as many as an act has sides
    caller: Caller,
    act: str,
    subject_id: str,
    *,
    project_id: str | None = None,
    organization_id: str | None = None,
    data: Mapping[str, Any] | None = None,
    before: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Write an act down, as part of the transaction that it happens in: both, or neither.

    `act` is OpenAI's word for it. `organization_id` is the caller's where none is named. Call it
    last: other acts in the same organization wait until the transaction is over.
    """
    actor = Actor(
        kind=caller.kind,
        user_id=caller.user_id,
        email=caller.email,
        key_id=caller.key_id,
        service_account_id=caller.service_account_id,
        session_id=caller.session_id,
        address=caller.address,
        user_agent=caller.user_agent,
    )
    details = Details(
        id=subject_id,
        data=dict(data or {}),
        before=dict(before or {}),
        changes_requested=dict(changes or {}),
    )
    async with scope.joined(caller) as connection:
        await connection.execute(
            INSERT,
            ids.new("audit"),
            organization_id or caller.organization_id,
            act,
            project_id,
            msgspec.json.encode(actor).decode(),
            msgspec.json.encode(details).decode(),
        )
