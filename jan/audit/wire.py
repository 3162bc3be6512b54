"""Acts as OpenAI's API shows them, and the filters that it has for them.

Beyond OpenAI's fields: `sequence` and `hash`, an act's place in the chain; `before`, what a change
replaced; and the actor `operator`, who is at the machine itself.
Source: https://platform.openai.com/docs/api-reference/audit-logs
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from jan.audit.schemas import Act, Actor, Filter
from jan.errors import InvalidRequest

FLAT = frozenset({"login.failed", "logout.failed"})
"""Acts whose data OpenAI has beside the id, not under `data`."""
MAX_VALUES = 100
"""In one filter."""
MAX_VALUE_LENGTH = 256
LAST_SECOND = 253_402_214_400
"""In the year 9999, a day before its end."""


Query = Mapping[str, Sequence[str]]
"""The parameters of a request, of which one name may stand there several times."""

_SECOND = re.compile(r"[0-9]{1,18}")


def shown(act: Act) -> dict[str, Any]:
    """Write an act as OpenAI does."""
    entry: dict[str, Any] = {
        "id": act.id,
        "type": act.type,
        "effective_at": int(act.effective_at.timestamp()),
        "actor": _actor(act.actor),
        act.type: _details(act),
        "sequence": act.sequence,
        "hash": act.hash,
    }
    if act.project_id is not None:
        entry["project"] = {"id": act.project_id, "name": act.project_name}
    return entry


def read_filter(query: Query) -> Filter:
    """Read OpenAI's filters. Lists are written `name[]=a&name[]=b`, or without the brackets.

    Raises:
        InvalidRequest: one does not fit; `param` names it.
    """
    # What is shown are whole seconds: an act at 10.5 is shown at 10, and is not later than 10.
    since = [_moment(query, "gt", 1), _moment(query, "gte", 0)]
    until = [_moment(query, "lt", 0), _moment(query, "lte", 1)]
    return Filter(
        since=max((moment for moment in since if moment), default=None),
        until=min((moment for moment in until if moment), default=None),
        types=_list(query, "event_types"),
        project_ids=_list(query, "project_ids"),
        actor_ids=_list(query, "actor_ids"),
        actor_emails=_list(query, "actor_emails"),
        subject_ids=_list(query, "resource_ids"),
    )


def _actor(actor: Actor) -> dict[str, Any]:
    place = {"ip_address": actor.address or None, "user_agent": actor.user_agent or None}
    user = {"id": actor.user_id, "email": actor.email}
    if actor.kind == "operator":
        return {"type": "operator", "operator": place}
    if actor.kind == "user":
        return {"type": "session", "session": {"id": actor.session_id, "user": user, **place}}
    key: dict[str, Any] = {"id": actor.key_id, "type": "operator", **place}
    if actor.service_account_id is not None:
        key |= {"type": "service_account", "service_account": {"id": actor.service_account_id}}
    elif actor.user_id is not None:
        key |= {"type": "user", "user": user}
    return {"type": "api_key", "api_key": key}


def _details(act: Act) -> Mapping[str, Any]:
    details = act.details
    if act.type in FLAT:
        return {"id": details.id, **details.data}
    parts = {
        "data": details.data,
        "changes_requested": details.changes_requested,
        "before": details.before,
    }
    return {"id": details.id, **{name: part for name, part in parts.items() if part}}


def _moment(query: Query, side: str, add_s: int) -> datetime | None:
    name = f"effective_at[{side}]"
    values = query.get(name)
    if not values:
        return None
    if not _SECOND.fullmatch(values[-1]):
        raise InvalidRequest(f"`{name}` is in Unix seconds.", param=name)
    second = min(int(values[-1]), LAST_SECOND)
    return datetime.fromtimestamp(second, UTC) + timedelta(seconds=add_s)


def _list(query: Query, name: str) -> list[str] | None:
    values = [*query.get(f"{name}[]", ()), *query.get(name, ())]
    if len(values) > MAX_VALUES:
        raise InvalidRequest(f"`{name}` names {MAX_VALUES} at most.", param=name)
    if any(len(value) > MAX_VALUE_LENGTH or not value.isprintable() for value in values):
        raise InvalidRequest(f"`{name}` holds what is in no log.", param=name)
    return values or None
